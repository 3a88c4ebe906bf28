"""What is wrong with a set of images: junk, duplicates, suspect labels."""

from folds.audit.audit import audit
from folds.audit.findings import Findings

__all__ = ["Findings", "audit"]

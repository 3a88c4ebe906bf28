"""Where crossfold keeps files of its own on a machine."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """``crossfold`` in the user's cache: in ``XDG_CACHE_HOME``, or else in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "crossfold"

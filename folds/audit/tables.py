"""Findings and suspect labels as CSV tables, for spreadsheets and other programs."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from folds.audit.findings import AuditedImages, Findings
from folds.audit.suspects import Suspects
from folds.files import output_file
from folds.images import ImageSet


def write_findings(path: Path, images: ImageSet | AuditedImages, findings: Findings) -> None:
    """Write a line an image: what it is, and whether it is junk or has duplicates."""
    junk = findings.junk
    rows = (
        [
            images.ids[row], label, images.class_names[label], int(junk[row]),
            f"{findings.score[row]:.4f}", findings.reasons[row], images.ids[findings.cluster[row]],
            int(findings.exact[row]),
        ]
        for row, label in enumerate(images.labels.tolist())
    )  # fmt: skip
    head = ["id", "label", "class", "junk", "score", "reason", "cluster", "exact"]
    _write(path, head, rows)


def write_suspects(path: Path, suspects: Suspects) -> None:
    """Write a line for each suspect label, the most suspect first."""
    _write(path, ["id", "given", "suggested", "quality"], suspect_rows(suspects))


def suspect_rows(suspects: Suspects) -> Iterable[list[str]]:
    """Id, given class, suggested class and quality of each suspect label."""
    names = suspects.class_names
    for i, given, suggested, quality in zip(
        suspects.ids.tolist(), suspects.given.tolist(), suspects.suggested.tolist(),
        suspects.quality.tolist(), strict=True,
    ):  # fmt: skip
        yield [i, names[given], names[suggested], f"{quality:.4f}"]


def _write(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with output_file(path) as scratch, scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)

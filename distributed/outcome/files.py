"""The files of a finished run, for ``--output`` and for the parent run in MLflow."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distributed.outcome.candidates import Candidate
from distributed.outcome.pooling import Pooled, oof_arrays, shift_arrays
from distributed.run import Run
from folds.audit.tables import write_findings
from folds.files import check_folder
from tracking.summary import Summary


def check_output(output: str | None) -> None:
    """Refuse a place for the files that cannot be written to, before anything is trained.

    Raises
    ------
    UserError
        It is a file, or lies where folders may not be made.
    """
    if output is not None:
        check_folder(f"--output {output}", Path(output))


def output_folder(run: Run) -> Path:
    """Make the folder that files are written to: the output, or else in the workspace."""
    folder = Path(run.config.tracking.output or run.space.folder / "output")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_files(
    run: Run, folder: Path, summary: Summary, pooled: Pooled, candidates: Sequence[Candidate]
) -> list[Path]:
    """Write the summary, the splits and all arrays.

    Returns
    -------
    list of Path
        summary.json, splits.json, oof.npz; where there are such, shift.npz, holdout.npz,
        external-NAME.npz and audit.csv.
    """
    problem = run.prepared.problem
    text = json.dumps(summary.model_dump(mode="json"), indent=2)
    (folder / "summary.json").write_text(text + "\n", encoding="utf-8")
    problem.splits.write(folder / "splits.json")
    arrays: dict[str, dict[str, Any]] = {"oof": oof_arrays(pooled)}
    if pooled.shift.cases:
        arrays["shift"] = shift_arrays(run.prepared, pooled.shift)
    if pooled.holdout is not None:
        answers = {c.kind: c.holdout for c in candidates if c.holdout is not None}
        arrays["holdout"] = asdict(pooled.holdout) | {
            "candidates": np.array(list(answers)),
            "candidate_probabilities": np.stack(list(answers.values())),
        }
    for name, unseen in pooled.external.items():
        arrays[f"external-{name}"] = asdict(unseen) | {
            "candidates": np.array([candidate.kind for candidate in candidates]),
            "candidate_probabilities": np.stack([c.external[name] for c in candidates]),
        }
    for name, content in arrays.items():
        np.savez(folder / f"{name}.npz", **content)
    names = ["summary.json", "splits.json", *(f"{n}.npz" for n in arrays)]
    if (audit := run.prepared.audit) is not None:
        write_findings(folder / "audit.csv", audit, audit.findings)
        names.append("audit.csv")
    return [folder / name for name in names]

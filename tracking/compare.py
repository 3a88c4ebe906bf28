"""``python -m tracking.compare``: whether one run is better than another by more than noise."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import Screen, parse, run
from folds.config.scores import SCORES
from folds.errors import UserError, nearest
from folds.files import check_file


@dataclass
class Options:
    """Which runs, by which score."""

    runs: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN [RUN...]", help_behavior_hint=""),
    ]
    """Parent runs, each by its id, the beginning of it (6 letters), its name, models:/NAME/VERSION
    or models:/NAME@ALIAS. All are compared with the first."""
    metric: str = "macro_f1"
    """Score that decides: accuracy, balanced_accuracy, macro_f1, roc_auc, log_loss, brier, ece."""
    confidence: float = 0.95
    """Of intervals, and of what is called more than noise."""
    html: Path | None = None
    """Page to write, self-contained."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Compare runs."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.compare", description=__doc__)
    _check(options)
    from tracking import store
    from tracking.comparison.compare import compare
    from tracking.comparison.evidence import read_evidence
    from tracking.comparison.runs import find_run
    from tracking.comparison.table import show

    store.connect(options.tracking_uri)
    runs = [find_run(word) for word in options.runs]
    if len({parent.info.run_id for parent in runs}) < len(runs):
        raise UserError(f"RUN {' '.join(options.runs)}: the same run twice; give different ones")
    evidence = [read_evidence(parent) for parent in runs]
    comparisons = compare(evidence, options.metric, options.confidence)
    if options.html is not None:
        from tracking.comparison.page import write_page

        write_page(options.html, comparisons)
    show(Screen(), comparisons)


def _check(options: Options) -> None:
    if len(options.runs) < 2:
        given = " ".join(options.runs) or "none"
        raise UserError(f"RUN {given}: give at least two runs to compare")
    if options.metric not in SCORES:
        near = nearest(options.metric, SCORES)
        raise UserError(
            f"--metric {options.metric}: no such score{near or '; ' + ', '.join(SCORES)}"
        )
    if not 0.5 < options.confidence < 1:
        raise UserError(f"--confidence {options.confidence}: must be between 0.5 and 1, as 0.95")
    if options.html is not None:
        check_file("--html", options.html)


if __name__ == "__main__":
    sys.exit(run(main))

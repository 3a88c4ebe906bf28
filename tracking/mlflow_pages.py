"""What MLflow's pages say of a run: Markdown with links to other pages and a table of scores."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from folds.config.scores import TITLES

_TITLES = {**TITLES, "roc_auc": "AUC"}
SHOWN = {name: _TITLES[name] for name in ("accuracy", "macro_f1", "roc_auc", "log_loss")}
_ML = "workflowType=machine_learning"  # or else the page shows MLflow's tools for chats
CHOSEN_BY = "chosen_by.score"
"""An epoch's value of ``--select-by``. MLflow shows charts by the alphabet, those of names with a
dot first: this one before those of external and corrupted images and of all folds."""


@dataclass(frozen=True)
class Pages:
    """Addresses within MLflow's UI, wherever it is served.

    Parameters
    ----------
    experiment, parent : str
        Ids of the experiment and of the parent run.
    """

    experiment: str
    parent: str

    def run(self, run: str, file: str = "") -> str:
        """Where a run is shown, or a file among its artifacts."""
        tail = f"/artifacts/{quote(file)}" if file else ""
        return f"#/experiments/{self.experiment}/runs/{run}{tail}?{_ML}"

    @property
    def folds(self) -> str:
        """Charts of the parent's folds; ordered by a tag, MLflow lists them without the parent."""
        only = quote(f"tags.`mlflow.parentRunId` = '{self.parent}'")
        order = quote("tags.`mlflow.runName`")
        return (
            f"#/experiments/{self.experiment}/runs?compareRunsMode=CHART&searchFilter={only}"
            f"&orderByKey={order}&orderByAsc=true&{_ML}"
        )

    @property
    def links(self) -> str:
        """To the report and to the folds."""
        report = self.run(self.parent, "report.html")
        return f"[report]({report}) · [folds side by side]({self.folds})"


def fold_note(
    pages: Pages, run: str, kept_epoch: str, scores: Mapping[str, float], pictures: Sequence[str]
) -> str:
    """Description of a fold's run.

    Parameters
    ----------
    run : str
        Its id.
    kept_epoch : str
        As ``3 of 8``.
    scores : mapping
        Of the epoch that was kept, by the names of ``--select-by``; those in other views begin with
        ``tta_`` or ``augmented_``.
    pictures : sequence of str
        Names of its files that are pictures.
    """
    links = [f"[whole run]({pages.run(pages.parent)})", pages.links]
    links += [f"[{name.partition('.')[0]}]({pages.run(run, name)})" for name in pictures]
    rows = [
        [title, *(figure(scores.get(start + n)) for n in SHOWN)] for title, start in _sets(scores)
    ]
    scored = table(["images", *SHOWN.values()], rows) if rows else ""
    return "\n\n".join([" · ".join(links), scored, f"Epoch {kept_epoch} was kept."])


def _sets(scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """What was scored, and how the names of its scores begin."""
    sets = [
        ("validation", ""),
        ("validation, TTA", "tta_"),
        ("validation, adapted", "adapted_"),
        ("validation, augmented", "augmented_"),
        ("validation, corrupted", "shift."),
    ]
    others = dict.fromkeys(
        name.rpartition(".")[0] for name in scores if name.startswith("external.")
    )
    sets += [(name.replace(".", " ", 1), f"{name}.") for name in others]
    return [(title, start) for title, start in sets if f"{start}accuracy" in scores]


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown of a table of a name and figures a row."""
    marks = [":--", *["--:"] * (len(titles) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (titles, marks, *rows))


def figure(value: float | None) -> str:
    """A score with three digits, or a dash where it is not defined."""
    return "-" if value is None or math.isnan(value) else f"{value:.3f}"

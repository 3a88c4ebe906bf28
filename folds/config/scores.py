"""The scores of predictions by name: which there are, their titles, and which are losses."""

from collections.abc import Mapping
from types import MappingProxyType

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "accuracy",
        "balanced_accuracy": "balanced accuracy",
        "macro_f1": "macro-F1",
        "roc_auc": "ROC AUC",
        "log_loss": "log loss",
        "brier": "Brier score",
        "ece": "calibration error",
    }
)
"""How people read each score, in the order of tables; a narrow table shortens some."""

SCORES = tuple(TITLES)
LOSSES = frozenset({"log_loss", "brier", "ece"})
"""The scores that are better when smaller."""


def sign(name: str) -> int:
    """The direction in which a score is better: -1 for a loss, else 1.

    Parameters
    ----------
    name : str
        As ``--select-by`` has it; what stands before its last dot says of which images it is.

    Examples
    --------
    >>> sign("macro_f1"), sign("external.lab2.log_loss")
    (1, -1)
    """
    return -1 if name.rsplit(".", 1)[-1] in LOSSES else 1

"""Scores of predictions: of an epoch, of a fold, of all folds pooled."""

from collections.abc import Callable, Sequence

import numpy as np
import scipy.special
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
)

from folds.arrays import Doubles, Floats, Ints
from folds.config.scores import SCORES
from folds.evaluation.calibration import brier, expected_calibration_error


def softmax(logits: Floats) -> Floats:
    """Probabilities (N, C) of logits (N, C), in float64 inside."""
    probabilities: Doubles = scipy.special.softmax(logits.astype(np.float64), axis=1)
    return probabilities.astype(np.float32)


def quick_scores(labels: Ints, logits: Floats) -> dict[str, float]:
    """The scores of every epoch: accuracy, macro_f1 and loss (cross-entropy, no smoothing).

    They are not a number where there is no image.
    """
    if not len(labels):
        return dict.fromkeys(("accuracy", "macro_f1", "loss"), float("nan"))
    predicted = logits.argmax(axis=1)
    logs = scipy.special.log_softmax(logits.astype(np.float64), axis=1)
    return {
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": macro_f1(labels, predicted),
        # they are 0 or less; a minus would say -0 of a perfect model
        "loss": float(np.abs(logs[np.arange(len(labels)), labels]).mean()),
    }


def scores(labels: Ints, probabilities: Floats, names: Sequence[str] = SCORES) -> dict[str, float]:
    """Scores of a set of predictions.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float32, shape (N, C)
        Rows sum to 1.
    names : sequence of str
        Which; default: all.

    Returns
    -------
    dict
        accuracy, balanced_accuracy (mean recall), macro_f1, roc_auc (one against rest), these
        three as means over the classes that are there; log_loss, brier (summed over classes, 0
        to 2), ece (expected calibration error, 15 bins).
    """
    predicted, sure = probabilities.argmax(axis=1), probabilities.astype(np.float64)
    score_of: dict[str, Callable[[], float]] = {
        "accuracy": lambda: float(accuracy_score(labels, predicted)),
        "balanced_accuracy": lambda: _balanced_accuracy(labels, predicted),
        "macro_f1": lambda: macro_f1(labels, predicted),
        "roc_auc": lambda: _roc_auc(labels, sure),
        "log_loss": lambda: _log_loss(labels, sure),
        "brier": lambda: brier(labels, sure),
        "ece": lambda: expected_calibration_error(labels, sure),
    }
    return {name: score_of[name]() for name in names}


def confusion(labels: Ints, probabilities: Floats) -> Ints:
    """Counts (C, C): rows are the true classes, columns the predicted ones."""
    classes = range(probabilities.shape[1])
    counts: Ints = confusion_matrix(labels, probabilities.argmax(axis=1), labels=classes)
    return counts


def odd_initial_loss(first_loss: float, classes: int) -> str | None:
    """Check the first loss of a fresh head: it should be near log(classes), knowing nothing yet.

    Returns
    -------
    str or None
        What is odd about it, if it is more than a fifth off.
    """
    expected = float(np.log(classes))
    if abs(first_loss - expected) <= 0.2 * expected:
        return None
    return (
        f"the first loss is {first_loss:.3g}, a fresh head over {classes} classes should give "
        f"about {expected:.3g}: check the weights and that the images are what you expect"
    )


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def macro_f1(labels: Ints, predicted: Ints) -> float:
    """Mean F1 of the classes that are among the labels."""
    there = np.unique(labels)
    return float(f1_score(labels, predicted, labels=there, average="macro", zero_division=0.0))


def _balanced_accuracy(labels: Ints, predicted: Ints) -> float:
    there = np.unique(labels)
    return float(recall_score(labels, predicted, labels=there, average="macro", zero_division=0.0))


def _log_loss(labels: Ints, probabilities: Doubles) -> float:
    classes = range(probabilities.shape[1])
    sums = probabilities.sum(axis=1, keepdims=True)
    return float(log_loss(labels, probabilities / sums, labels=classes))


def _roc_auc(labels: Ints, probabilities: NDArray[np.float64]) -> float:
    present = np.unique(labels)
    each = [
        roc_auc_score(labels == label, probabilities[:, label])
        for label in present
        if 0 < (labels == label).sum() < len(labels)
    ]
    return float(np.mean(each)) if each else float("nan")

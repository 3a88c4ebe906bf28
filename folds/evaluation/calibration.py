"""Whether probabilities mean what they say, and the temperature that mends them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax

from folds.arrays import AnyFloats, Doubles, Floats, Ints

BINS = 15
_TEMPERATURES = (0.05, 20.0)  # bounds: certainties alone would have a temperature of 0 or infinity
_LEAST = 1e-12  # probability, where a logarithm is taken


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram of the most probable class, in B bins of equal width.

    Parameters
    ----------
    edges : ndarray of float64, shape (B + 1,)
        From 0 to 1.
    confidence, accuracy : ndarray of float64, shape (B,)
        Means over the images of a bin; NaN where it is empty.
    counts : ndarray of int64, shape (B,)
    """

    edges: Doubles
    confidence: Doubles
    accuracy: Doubles
    counts: Ints


def bins_of(confidence: AnyFloats, bins: int) -> Ints:
    """Number of the bin ``(i/bins, (i+1)/bins]`` that each confidence is in."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def reliability(labels: Ints, probabilities: AnyFloats, bins: int = BINS) -> Reliability:
    """How often the most probable class is right, by its probability.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    probabilities : ndarray of float, shape (N, C)
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    hit = probabilities.argmax(axis=1) == labels
    number = bins_of(confidence, bins)
    counts = np.bincount(number, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence = np.bincount(number, confidence, bins) / counts
        accuracy = np.bincount(number, hit, bins) / counts
    return Reliability(np.linspace(0, 1, bins + 1), mean_confidence, accuracy, counts)


def expected_calibration_error(labels: Ints, probabilities: AnyFloats, bins: int = BINS) -> float:
    """Mean distance between confidence and accuracy, over bins of confidence, 0 to 1.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017.
    """
    diagram = reliability(labels, probabilities, bins)
    gaps = np.abs(diagram.accuracy - diagram.confidence)
    return float(np.nansum(gaps * diagram.counts) / len(labels))


def brier_of_each(labels: Ints, probabilities: AnyFloats) -> Doubles:
    """Squared distance (N,) of each row of probabilities (N, C) to the truth, 0 to 2."""
    truth = np.eye(probabilities.shape[1])[labels]
    return ((probabilities - truth) ** 2).sum(axis=1)


def brier(labels: Ints, probabilities: AnyFloats) -> float:
    """Brier score summed over classes, 0 (certain and right) to 2 (certain and wrong).

    Notes
    -----
    To rounding it is scikit-learn's ``brier_score_loss(..., scale_by_half=False)``, which takes no
    probability of a single class, none that rounding has put above 1, warns of rows of float32
    that sum to 1 in float32 only, and has no value for each image, which the bootstrap needs.

    References
    ----------
    Brier: Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78, 1950.
    """
    return float(brier_of_each(labels, probabilities).mean())


def tempered(probabilities: AnyFloats, temperature: float) -> NDArray[np.float32]:
    """Probabilities (N, C) whose logits are divided by a temperature; above 1 is less sure."""
    calibrated: Doubles = softmax(_logits(probabilities) / temperature, axis=1)
    return calibrated.astype(np.float32)


def served(members: Sequence[AnyFloats], temperature: float) -> Floats:
    """Probabilities (N, C) that a model of one or more members gives, from its members' own.

    The members' tempered probabilities are averaged, as `folds.model.ensemble.Ensemble` does when
    it is used: what a candidate is judged by is what it will answer.

    Parameters
    ----------
    members : sequence of ndarray of float, shape (N, C)
        Before temperature, averaged over the views of ``--tta``.
    """
    each = [tempered(probabilities, temperature) for probabilities in members]
    return np.mean(each, axis=0, dtype=np.float32)


def fit_temperature(labels: Ints, *members: AnyFloats) -> float:
    """The temperature, 0.05 to 20, of least log loss (temperature scaling).

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    members : ndarray of float, shape (N, C)
        Probabilities of a model's members, one or more: it is what `served` makes of them that
        shall fit. Members that are each calibrated are not sure enough together.

    Notes
    -----
    - Targets are smoothed: of N images, (N + 1) / (N + 2) for the label, the rest even over the
      other classes. So predictions that happen to be right every time do not become certainties:
      100 of probability 0.9 are taken for 0.99 and no more.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017; Platt:
    Probabilistic Outputs for Support Vector Machines, 1999, for the targets; Rahaman, Thiery:
    Uncertainty Quantification and Deep Ensembles, NeurIPS 2021, for members.
    """
    logits = np.stack([_logits(member) for member in members])
    _, count, classes = logits.shape
    rows, rest = np.arange(count), 1 / (count + 2)

    def loss(log_temperature: float) -> float:
        each = log_softmax(logits / np.exp(log_temperature), axis=2)
        log_probabilities = logsumexp(each, axis=0) - np.log(len(each))
        label = log_probabilities[rows, labels]
        others = (log_probabilities.sum(axis=1) - label) / max(classes - 1, 1)
        return -float(((1 - rest) * label + rest * others).mean())

    bounds = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def out_of_fold_temperature(
    labels: Ints, members: Sequence[AnyFloats], fold: Ints, images: NDArray
) -> tuple[Floats, float]:
    """Calibrate each fold's rows by a temperature that the other folds' rows give.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    members : sequence of ndarray of float, shape (N, C)
        Probabilities of one model, or of several that answer together, see `served`.
    fold : ndarray of int64, shape (N,)
        With repeats a number for each fold of each repeat, see `Predictions.folds`.
    images : ndarray, shape (N,)
        What the rows are of, as ids: with repeats an image has a row in each, none of which may
        calibrate another.

    Returns
    -------
    calibrated : ndarray of float32, shape (N, C)
        As `served`; a single fold's are as they were.
    temperature : float
        Of all rows, for a model that is to be used.
    """
    calibrated: Floats = np.stack(members).mean(axis=0, dtype=np.float32)
    numbers = np.unique(fold)
    for number in numbers if len(numbers) > 1 else ():
        mine = fold == number
        others = ~np.isin(images, images[mine])
        temperature = fit_temperature(labels[others], *(member[others] for member in members))
        calibrated[mine] = served([member[mine] for member in members], temperature)
    return calibrated, fit_temperature(labels, *members)


def _logits(probabilities: AnyFloats) -> Doubles:
    """Logits (N, C) that give these probabilities; a softmax takes them up to a constant a row."""
    return np.log(np.maximum(probabilities.astype(np.float64), _LEAST))

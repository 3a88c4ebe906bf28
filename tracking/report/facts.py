"""What a page of a run tells: plain data, each part of which may be absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A score with its 95% interval, or without one.

    Parameters
    ----------
    value : float
        As a share (0.95, not 95); NaN where it is not defined.
    low, high : float, optional
    """

    value: float
    low: float | None = None
    high: float | None = None


Scores = Mapping[str, Estimate]
"""Estimates by the scores' names: accuracy, balanced_accuracy, macro_f1, roc_auc, log_loss, brier,
ece; those that are missing are not shown."""


@dataclass(frozen=True)
class Run:
    """What was run.

    Parameters
    ----------
    name, source, backbone, date : str
        As they are to be read; the source as the user said it.
    images : int
    class_names : tuple of str
    folds, repeats : int
    notices : sequence of str
        What the run replaced or left out.
    scored : int, optional
        Images that were validated; default: all.
    """

    name: str
    source: str
    images: int
    class_names: tuple[str, ...]
    backbone: str
    folds: int
    date: str
    repeats: int = 1
    notices: Sequence[str] = ()
    scored: int | None = None


@dataclass(frozen=True)
class ScoreRow:
    """Scores of other predictions: of a hold-out, an external set, another view of the images.

    Parameters
    ----------
    name, model : str
        What was predicted and by what, such as ``hold-out`` and ``best fold``.
    images : int
    """

    name: str
    model: str
    images: int
    scores: Scores


@dataclass(frozen=True)
class Gap:
    """What choosing the best epoch gains on the images that it was chosen by; means over folds.

    Parameters
    ----------
    metric : str
        By which epochs were chosen.
    best, last : float
        Of the best and of the last epoch.
    """

    metric: str
    best: float
    last: float


@dataclass(frozen=True)
class Candidate:
    """A model that could have been registered.

    Parameters
    ----------
    kind : str
        best-fold, ensemble, soup or refit.
    scores : mapping of str to Estimate
    evidence : str
        What the scores were measured on, such as ``out of fold``.
    """

    kind: str
    scores: Scores
    evidence: str


@dataclass(frozen=True)
class Registered:
    """The model that was registered.

    Parameters
    ----------
    kind : str
        That of one of the candidates.
    name, version : str
        In the registry.
    why : str
        A sentence: why this one.
    """

    kind: str
    name: str
    version: str
    why: str = ""


@dataclass(frozen=True)
class Fold:
    """One trained fold.

    Parameters
    ----------
    name : str
        As it is to be read, such as ``fold 3``.
    best_epoch, epochs : int
        From 1, and how many were trained.
    scores : mapping of str to float
        Of the best epoch, on the fold's validation part.
    seconds : float
    history : sequence of mappings
        The fields of `folds.training.checkpoint.EpochReport`, an epoch each.
    """

    name: str
    best_epoch: int
    epochs: int
    scores: Mapping[str, float]
    seconds: float
    history: Sequence[Mapping[str, float | None]] = ()


@dataclass(frozen=True)
class Bins:
    """Predictions by confidence, for a reliability diagram of B bins.

    Parameters
    ----------
    edges : ndarray of float64, shape (B + 1,)
        Ascending, 0 to 1.
    confidence, accuracy : ndarray of float64, shape (B,)
        Means over a bin's predictions; ignored where there are none.
    counts : ndarray of int64, shape (B,)
    """

    edges: NDArray[np.float64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class Calibration:
    """How far probabilities can be believed, before and after temperature scaling.

    Parameters
    ----------
    temperature : float
        That of the registered model.
    after : Bins, optional
    scores : mapping of str to Estimate
        After temperature: those that it changes (log_loss, brier, ece, ...).
    """

    temperature: float
    before: Bins
    after: Bins | None = None
    scores: Scores = field(default_factory=dict)


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class.

    Parameters
    ----------
    support : int
        Predictions whose true class it is.
    """

    name: str
    support: int
    precision: Estimate
    recall: Estimate
    f1: Estimate


@dataclass(frozen=True)
class ShiftCase:
    """Scores under one corruption at one severity."""

    corruption: str
    severity: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Shift:
    """Scores under corruptions.

    Parameters
    ----------
    images : int
        That were corrupted.
    clean : mapping of str to float
        accuracy and macro_f1 of the same images as they are.
    mean : mapping of str to Estimate
        The same over all corruptions.
    cases : sequence of ShiftCase
        In any order, at least one.
    """

    images: int
    clean: Mapping[str, float]
    mean: Scores
    cases: Sequence[ShiftCase]


@dataclass(frozen=True)
class Tile:
    """An image with what was predicted for it.

    Parameters
    ----------
    picture : str
        Data URI.
    true, predicted : str
        Names of classes.
    confidence : float
        Probability of the predicted class.
    second, second_confidence : str, float
        The class that came next.
    """

    id: str
    picture: str
    true: str
    predicted: str
    confidence: float
    second: str
    second_confidence: float


@dataclass(frozen=True)
class Gallery:
    """Some images out of `total`.

    Parameters
    ----------
    total : int
        How many images there were to choose from.
    """

    tiles: Sequence[Tile]
    total: int


@dataclass(frozen=True)
class FeatureMap:
    """Images as points in the plane.

    Parameters
    ----------
    places : ndarray of float32, shape (M, 2)
    labels : ndarray of int64, shape (M,)
    wrong : ndarray of bool, shape (M,), optional
        Which of them were predicted wrongly.
    """

    places: NDArray[np.float32]
    labels: NDArray[np.int64]
    wrong: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Origin:
    """How the run came about, by names.

    Parameters
    ----------
    command : str
        That does the run again.
    config, versions, digests, hardware, seconds : mapping
        Settings by flag; packages; data, splits, configuration; device, precision and so on; wall
        time by phase.
    """

    command: str = ""
    config: Mapping[str, object] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """All that a page tells of a run; what is None or empty is left out.

    Parameters
    ----------
    scores : mapping of str to Estimate
        Of all out-of-fold predictions pooled.
    over_folds : mapping of str to (float, float)
        Mean and standard deviation over the folds.
    elsewhere : sequence of ScoreRow
        Hold-out, external sets, other views.
    confusion : ndarray of int64, shape (C, C), optional
        Pooled counts; rows are true classes.
    mistakes, unsure : Gallery, optional
        As `confident_mistakes` and `least_certain` make them.
    augmentation : Path or bytes, optional
        A picture of what augmentation does.
    """

    run: Run
    scores: Scores
    over_folds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    gap: Gap | None = None
    elsewhere: Sequence[ScoreRow] = ()
    candidates: Sequence[Candidate] = ()
    registered: Registered | None = None
    folds: Sequence[Fold] = ()
    confusion: NDArray[np.int64] | None = None
    calibration: Calibration | None = None
    classes: Sequence[ClassScores] = ()
    shift: Shift | None = None
    mistakes: Gallery | None = None
    unsure: Gallery | None = None
    augmentation: Path | bytes | None = None
    map: FeatureMap | None = None
    origin: Origin = Origin()

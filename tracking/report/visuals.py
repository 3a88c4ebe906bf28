"""What a page draws of a run that a `Summary` cannot hold: arrays and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.arrays import Ints
from folds.evaluation.calibration import Reliability
from folds.evaluation.tradeoffs import Tradeoff
from folds.training.outcome import EpochReport
from tracking.report.gallery import Gallery


@dataclass(frozen=True)
class FeatureMap:
    """Images as points in the plane, those that the network finds alike near each other.

    Parameters
    ----------
    places : ndarray of float32, shape (M, 2)
    labels : ndarray of int64, shape (M,)
    wrong : ndarray of bool, shape (M,)
        Which of them were predicted wrongly.
    """

    places: NDArray[np.float32]
    labels: Ints
    wrong: NDArray[np.bool_]


@dataclass(frozen=True)
class Visuals:
    """What is drawn on a page beside the figures of its `Summary`.

    Parameters
    ----------
    histories : sequence of sequences of EpochReport
        All epochs of each fold, in the order of the summary's folds.
    confusion : ndarray of int64, shape (C, C)
        Pooled out-of-fold counts; rows are true classes.
    trained, tempered : Reliability
        Of the out-of-fold predictions, in the view that the registered model has: as they are, and
        each fold's with the temperature that the others give.
    tradeoffs : sequence of Tradeoff or None
        Of the classes, out of fold.
    mistakes, unsure : Gallery
        As `confident_mistakes` and `least_certain` make them; without tiles they are not shown.
    augmentation : PIL.Image.Image
        What augmentation does, RGB, see `folds.augment.sheet.sheet`.
    map : FeatureMap, optional
        Without one none is shown.
    """

    histories: Sequence[Sequence[EpochReport]]
    confusion: Ints
    trained: Reliability
    tempered: Reliability
    tradeoffs: Sequence[Tradeoff | None]
    mistakes: Gallery
    unsure: Gallery
    augmentation: Image.Image
    map: FeatureMap | None

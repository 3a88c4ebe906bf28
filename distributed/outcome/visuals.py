"""What the page of a run draws, from its predictions and images."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from distributed.outcome.assessment import Assessment
from distributed.outcome.pooling import Pooled, Results
from folds.arrays import Ints
from folds.audit.embedding import tsne
from folds.evaluation.calibration import reliability
from folds.evaluation.metrics import confusion
from folds.evaluation.tradeoffs import tradeoffs
from folds.images import ImageSet
from folds.training.outcome import FoldOutcome
from tracking.report import (
    FeatureMap,
    HeatMaps,
    Visuals,
    average_by_image,
    confident_mistakes,
    least_certain,
)


def make_visuals(
    images: ImageSet,
    results: Results,
    pooled: Pooled,
    assessment: Assessment,
    best: int,
    augmentation: Image.Image,
    heat: HeatMaps | None = None,
) -> Visuals:
    """Choose and arrange what is drawn of a run.

    Parameters
    ----------
    best : int
        Which of the results is the best fold's, whose images are mapped.
    augmentation : PIL.Image.Image
        What augmentation does.
    heat : callable, optional
        Gives heat maps of some rows of the pooled predictions.
    """
    oof = pooled.oof
    row_of = {name: row for row, name in enumerate(images.ids.tolist())}
    by_image = average_by_image(oof.labels, oof.probabilities, pooled.ids)

    def pixels(rows: Ints) -> NDArray[np.uint8]:
        return images.pixels[np.array([row_of[name] for name in pooled.ids[rows].tolist()])]

    return Visuals(
        histories=[result.history for result in results],
        confusion=confusion(oof.labels, oof.probabilities),
        trained=reliability(oof.labels, pooled.served),
        tempered=reliability(oof.labels, assessment.calibrated),
        tradeoffs=tradeoffs(oof.labels, oof.probabilities),
        mistakes=confident_mistakes(by_image, images.class_names, pixels, heat),
        unsure=least_certain(by_image, images.class_names, pixels, heat),
        augmentation=augmentation,
        map=_map(images.labels, results[best]),
    )


def _map(labels: Ints, fold: FoldOutcome) -> FeatureMap | None:
    """A fold's validation images by the features of its model, which has not seen them."""
    rows = fold.rows[: len(fold.features)]
    places = tsne(fold.features)
    if places is None:
        return None
    wrong = fold.probabilities[: len(rows)].argmax(axis=1) != labels[rows]
    return FeatureMap(places, labels[rows], wrong)

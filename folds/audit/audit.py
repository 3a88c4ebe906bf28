"""The audit of a set of images: duplicates first, then junk among what is different."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from folds.arrays import Floats
from folds.audit.describe import ImageDescriptors, describe
from folds.audit.duplicates import find_duplicates
from folds.audit.findings import Findings
from folds.audit.junk import OutlierScores, outlier_scores
from folds.images.imageset import ImageSet

LEAST = 30  # different pictures that junk can be told among
FEW = f"fewer than {LEAST} different images: junk was not looked for"
COMPONENTS = 32  # of a network's features


def audit(
    images: ImageSet, *, deep: Floats | None = None, rows: NDArray[np.int64] | None = None
) -> Findings:
    """Look for junk and duplicates.

    Parameters
    ----------
    images : ImageSet
        N images.
    deep : ndarray of float32, shape (N, E), optional
        Features of a network, to look for junk in as well; else only what the pixels tell.
    rows : ndarray of int64, shape (M,), optional
        Look at these images alone, as if there were no others; without `deep`.

    Returns
    -------
    Findings
        In all images, or in those of `rows`.

    Notes
    -----
    - what is found does not depend on the order of the images;
    - time and memory grow in proportion to N.
    """
    chosen = np.arange(len(images)) if rows is None else rows
    order = np.argsort(images.ids[chosen], kind="stable")  # which one is the first of its copies
    back = np.argsort(order)
    descriptors = describe(images.pixels).take(chosen[order])
    duplicates = find_duplicates(descriptors)
    # junk is told among different pictures, each once: a frame that is repeated a thousand times
    # would else be as dense as a class
    firsts = np.flatnonzero(duplicates.cluster == np.arange(len(order)))
    picture = np.searchsorted(firsts, duplicates.cluster)
    labels = images.labels[chosen[order]][firsts]
    outliers = [_outliers(descriptors.statistics[firsts], descriptors.tolerance, labels)]
    if deep is not None:
        outliers.append(_outliers(*_reduced(deep[order[firsts]]), labels))
    score = np.max([part.score for part in outliers], axis=0)
    oddest = _oddest_statistic(descriptors.take(firsts), score > 1)
    junk = (score > 1)[picture]
    proper = ~junk[duplicates.pairs[:, 0]]
    return Findings(
        score=score[picture][back],
        reasons=_reasons(score[picture], oddest[picture], np.bincount(picture)[picture], back),
        cluster=order[duplicates.cluster][back],
        exact=duplicates.exact[back],
        pairs=order[duplicates.pairs[proper]],
        similarity=duplicates.similarity[proper],
        features=outliers[-1].space[picture][back],
        notices=() if len(firsts) >= LEAST else (FEW,),
    )


def _reduced(deep: Floats) -> tuple[Floats, Floats]:
    """Principal components of a network's features, and differences of them that mean little."""
    parts = min(COMPONENTS, *deep.shape)
    components = PCA(parts, random_state=0).fit_transform(deep).astype(np.float32)
    return components, np.full(parts, 0.1 * components.std(), np.float32)


def _outliers(space: Floats, tolerance: Floats, labels: NDArray[np.int64]) -> OutlierScores:
    """How far pictures are from the core; 0 where there are too few pictures for a core."""
    if len(space) < LEAST:
        return OutlierScores(np.zeros(len(space), np.float32), space)
    return outlier_scores(space, tolerance, labels)


def _oddest_statistic(descriptors: ImageDescriptors, junk: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Name of the statistic by which each picture is farthest from the good ones."""
    good = descriptors.statistics[~junk]
    spread = np.hypot(good.std(0), descriptors.tolerance)
    away = np.abs(descriptors.statistics - np.median(good, axis=0)) / spread
    return np.array(descriptors.names)[away.argmax(1)]


def _reasons(
    score: Floats, oddest: NDArray[np.str_], copies: NDArray[np.int64], back: NDArray[np.int64]
) -> tuple[str, ...]:
    """Why an image is junk, in the order of `back`; empty for a good one."""
    return tuple(
        f"unlike every class, most of all in {oddest[row]}"
        + (f"; the same picture {copies[row]} times" if copies[row] > 1 else "")
        if score[row] > 1
        else ""
        for row in back.tolist()
    )

"""The audit of a set of images: duplicates first, then junk among what is different."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from folds.arrays import Floats
from folds.audit.describe import ImageDescriptors, describe
from folds.audit.duplicates import find_duplicates
from folds.audit.findings import Findings
from folds.audit.junk import Outlying, outlying
from folds.images.imageset import ImageSet

LEAST = 30  # different pictures that junk can be told among
FEW = f"fewer than {LEAST} different images: junk was not looked for"
COMPONENTS = 32  # of a network's features


def audit(images: ImageSet, *, deep: Floats | None = None) -> Findings:
    """Look for junk and duplicates.

    Parameters
    ----------
    images : ImageSet
        N images.
    deep : ndarray of float32, shape (N, E), optional
        Features of a network, to look for junk in as well; else only what the pixels tell.

    Returns
    -------
    Findings

    Notes
    -----
    - what is found does not depend on the order of the images;
    - time and memory grow in proportion to N.
    """
    order = np.argsort(images.ids, kind="stable")
    back = np.argsort(order)
    descriptors = describe(images.pixels).take(order)
    found = find_duplicates(descriptors)
    firsts = np.flatnonzero(found.cluster == np.arange(len(order)))
    number = np.searchsorted(firsts, found.cluster)
    labels = images.labels[order][firsts]
    statistics = descriptors.statistics[firsts]
    looks = [_look(statistics, descriptors.tolerance, labels)]
    if deep is not None:
        looks.append(_look(*_reduced(deep[order[firsts]]), labels))
    score = np.max([look.score for look in looks], axis=0)
    aspects = _aspects(descriptors.take(firsts), score > 1)
    junk = (score > 1)[number]
    proper = ~junk[found.pairs[:, 0]]
    return Findings(
        score=score[number][back],
        reasons=_reasons(score[number], aspects[number], np.bincount(number)[number], back),
        cluster=order[found.cluster][back],
        exact=found.exact[back],
        pairs=order[found.pairs[proper]],
        similarity=found.similarity[proper],
        features=looks[-1].space[number][back],
        notices=() if len(firsts) >= LEAST else (FEW,),
    )


def _reduced(deep: Floats) -> tuple[Floats, Floats]:
    """Principal components of a network's features, and differences of them that mean little."""
    parts = min(COMPONENTS, *deep.shape)
    found = PCA(parts, random_state=0).fit_transform(deep).astype(np.float32)
    return found, np.full(parts, 0.1 * found.std(), np.float32)


def _look(space: Floats, tolerance: Floats, labels: NDArray[np.int64]) -> Outlying:
    """Distances from the core, or none where there are too few pictures for a core."""
    if len(space) < LEAST:
        return Outlying(np.zeros(len(space), np.float32), space)
    return outlying(space, tolerance, labels)


def _aspects(descriptors: ImageDescriptors, junk: NDArray[np.bool_]) -> NDArray[np.str_]:
    """What about each picture is farthest from the good ones."""
    good = descriptors.statistics[~junk]
    spread = np.hypot(good.std(0), descriptors.tolerance)
    away = np.abs(descriptors.statistics - np.median(good, axis=0)) / spread
    return np.array(descriptors.names)[away.argmax(1)]


def _reasons(
    score: Floats, aspects: NDArray[np.str_], copies: NDArray[np.int64], back: NDArray[np.int64]
) -> tuple[str, ...]:
    """Why an image is junk, in the order of `back`; empty for a good one."""
    return tuple(
        f"unlike every class, most of all in {aspects[row]}"
        + (f"; the same picture {copies[row]} times" if copies[row] > 1 else "")
        if score[row] > 1
        else ""
        for row in back.tolist()
    )

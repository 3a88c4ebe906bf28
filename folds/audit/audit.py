"""The audit of a set of images: duplicates first, then junk among what is different."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from folds.audit.describe import describe
from folds.audit.duplicates import find_duplicates
from folds.audit.findings import Findings
from folds.audit.junk import Outlying, outlying
from folds.images.imageset import ImageSet

LEAST = 30  # different pictures that junk can be told among
FEW = f"fewer than {LEAST} different images: junk was not looked for"
SMALLEST = 0.02  # spread of a statistic

Floats = NDArray[np.float32]


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
    described = describe(images.pixels).take(order)
    found = find_duplicates(described)
    firsts = np.flatnonzero(found.cluster == np.arange(len(order)))
    number = np.searchsorted(firsts, found.cluster)
    labels = images.labels[order][firsts]
    statistics = described.statistics[firsts]
    looks = [_look(space, labels) for space in (statistics, *_rows(deep, order[firsts]))]
    score = np.max([look.score for look in looks], axis=0)
    aspects = _aspects(statistics, described.names, score > 1)
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


def _rows(deep: Floats | None, rows: NDArray[np.int64]) -> Sequence[Floats]:
    return () if deep is None else (deep[rows],)


def _look(space: Floats, labels: NDArray[np.int64]) -> Outlying:
    """Distances from the core, or none where there are too few pictures for a core."""
    if len(space) < LEAST:
        return Outlying(np.zeros(len(space), np.float32), space)
    return outlying(space, labels)


def _aspects(statistics: Floats, names: Sequence[str], junk: NDArray[np.bool_]) -> NDArray[np.str_]:
    """What about each picture is farthest from the good ones."""
    good = statistics[~junk]
    spread = np.maximum(good.std(0), SMALLEST)
    away = np.abs(statistics - np.median(good, axis=0)) / spread
    return np.array(names)[away.argmax(1)]


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

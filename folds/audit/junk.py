"""Junk: images that look like none of the classes.

The trusted core of a set are the images that hang together; what lies far from it, measured
against how far its own members lie from each other, is junk. Each picture counts once however
often it is repeated, so that a thousand copies of one frame do not become a class of their own.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.stats import binomtest
from sklearn.neighbors import (
    KNeighborsClassifier,
    LocalOutlierFactor,
    NearestNeighbors,
    kneighbors_graph,
)

from folds.arrays import Bools, Floats, Ints

SAMPLE = 4000  # pictures that the core is looked for in
NEIGHBOURS = 20  # that a picture's distance is measured by
_LINK = 10  # neighbours by which pictures hang together
_CUT = 2.5  # longest link, in units of the usual one
_CLEAR = 0.3  # agreement of labels, beyond chance, that makes a part of the set trusted
_FEW = 15  # pictures that are too few to judge by their own labels
_LEAST = 5  # pictures that are too few to judge at all
_ONE_CLASS = 0.8  # share of a part that makes it one class's
_UNLIKELY = 1e-3  # chance of labels that fit though they have nothing to do with the pictures
_BLUR = 0.05  # variance that is added in every direction
_TAIL = 5.0  # how far beyond the core's own spread the limit lies
_ROUNDS = 3


@dataclass(frozen=True)
class OutlierScores:
    """How far pictures are from the core of their set.

    Parameters
    ----------
    score : ndarray of float32, shape (R,)
        Multiples of the limit.
    space : ndarray of float32, shape (R, D)
        The coordinates that distances were measured in.
    """

    score: Floats
    space: Floats


def outlier_scores(
    features: Floats, tolerance: Floats, labels: Ints, *, seed: int = 0
) -> OutlierScores:
    """Score how far pictures are from every class.

    Parameters
    ----------
    features : ndarray of float32, shape (R, S)
        Of pictures that are all different.
    tolerance : ndarray of float32, shape (S,)
        Differences that mean little, above 0, in the features' units.
    labels : ndarray of int64, shape (R,)
        What they are said to be; some may be wrong.
    seed : int
        Of the sample.

    Returns
    -------
    OutlierScores

    Notes
    -----
    Distance: the local outlier factor (Breunig, Kriegel, Ng, Sander, SIGMOD 2000) of
    scikit-learn with respect to the core. The limit adapts to the core's own factors: their median
    and five times the spread of their upper half.
    """
    chosen = _sample(labels, seed)
    space = _standardised(features, tolerance)
    core = _core(space[chosen], labels[chosen])
    for _ in range(_ROUNDS):
        space = _whitened(features, tolerance, chosen[core])
        score = _score(space, chosen[core])
        core = score[chosen] <= 1
    return OutlierScores(score, space)


def _sample(labels: Ints, seed: int) -> Ints:
    """Rows of at most about `SAMPLE` pictures, an equal number of each class where there are."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(labels))
    if len(rows) <= SAMPLE:
        return np.sort(rows)
    classes = np.unique(labels)
    even = [rows[labels[rows] == label][: SAMPLE // 2 // len(classes)] for label in classes]
    return np.union1d(rows[: SAMPLE // 2], np.concatenate(even))


def _standardised(features: Floats, tolerance: Floats) -> Floats:
    """Features in units of their interquartile range, which junk hardly moves."""
    low, middle, high = np.quantile(features, [0.25, 0.5, 0.75], axis=0)
    return ((features - middle) / np.hypot((high - low) / 1.349, tolerance)).astype(np.float32)


def _whitened(features: Floats, tolerance: Floats, core: Ints) -> Floats:
    """Features in coordinates in which the core, blurred by the tolerance, spreads alike."""
    middle, scale = features[core].mean(0), np.hypot(features[core].std(0), tolerance)
    normal = (features - middle) / scale
    blurred = np.cov(normal[core].T) + np.diag((tolerance / scale) ** 2 + _BLUR)
    variance, axes = np.linalg.eigh(blurred)
    return (normal @ axes / np.sqrt(variance)).astype(np.float32)


def _core(space: Floats, labels: Ints) -> Bools:
    """Which pictures belong to the parts of the set that can be trusted.

    A part are pictures that hang together. It is trusted if it is most of the set, if it is a
    class, or if its labels have to do with what its pictures look like; and then also if those
    other parts predict its labels once its mean is shifted onto theirs: another microscope or
    another stain.
    """
    part = _parts(space)
    sizes = np.bincount(part)
    known = np.zeros(len(space), bool)
    for number in np.flatnonzero(sizes >= _FEW):
        members = part == number
        if sizes[number] > len(space) / 2 or _makes_sense(space[members], labels, members):
            known |= members
    if not known.any():
        known = part == sizes.argmax()
    shifted = [
        number
        for number in np.flatnonzero(sizes >= _LEAST)
        if not known[part == number].any() and _predicted(space, labels, part == number, known)
    ]
    return known | np.isin(part, shifted)


def _parts(space: Floats) -> Ints:
    """Number of each picture's part: pictures linked by short ways to near neighbours."""
    links = kneighbors_graph(space, min(_LINK, len(space) - 1), mode="distance")
    links.data[links.data > _CUT * np.median(links.data)] = 0
    mutual = links.minimum(links.T)
    mutual.eliminate_zeros()
    return connected_components(mutual, directed=False)[1]


def _makes_sense(space: Floats, labels: Ints, members: Bools) -> bool:
    """Whether a part is most of one class, or neighbours in it agree in their labels."""
    mine = labels[members]
    counts = np.bincount(mine)
    if counts.max() > _ONE_CLASS * len(mine):
        return counts.max() > (labels == counts.argmax()).sum() / 2
    search = NearestNeighbors(n_neighbors=_LINK).fit(space)
    agreement = (mine[search.kneighbors(return_distance=False)] == mine[:, None]).mean()
    chance = ((counts / len(mine)) ** 2).sum()
    return (agreement - chance) / (1 - chance) > _CLEAR


def _predicted(space: Floats, labels: Ints, members: Bools, known: Bools) -> bool:
    """Whether the labels of a part follow from those of others, up to a shift."""
    shifted = space[members] - space[members].mean(0) + space[known].mean(0)
    model = KNeighborsClassifier(min(_LINK, int(known.sum()))).fit(space[known], labels[known])
    guess, mine = model.predict(shifted), labels[members]
    count = labels.max() + 1
    shares = [np.bincount(names, minlength=count) / len(mine) for names in (guess, mine)]
    chance = float(shares[0] @ shares[1])
    return binomtest(int((guess == mine).sum()), len(mine), chance, "greater").pvalue < _UNLIKELY


def _score(space: Floats, core: Ints) -> Floats:
    """Local outlier factor with respect to the core, in units of the limit."""
    model = LocalOutlierFactor(min(NEIGHBOURS, len(core) - 1), novelty=True).fit(space[core])
    factor = -model.score_samples(space)
    factor[core] = -model.negative_outlier_factor_  # without themselves as neighbours
    middle, high = np.quantile(np.log(factor[core]), [0.5, 0.95])
    limit = middle + _TAIL * (high - middle) / 1.645
    return (factor / np.exp(limit)).astype(np.float32)

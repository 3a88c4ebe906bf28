"""Parts of a training part, for a learning curve: stratified, of whole units, each in the next."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.sampling import SUBSET, stream


def nested_subset(
    labels: Ints, units: NDArray[np.str_], share: float, *, key: Sequence[int]
) -> Ints:
    """Take a share of the images, so that a larger share holds a smaller one.

    A systematic sample: the units of a class stand in a random order one behind another on a line
    from 0 to 1, each as long as its share of their images, and each has a mark, in all units of the
    class at the same place. Those whose mark lies below `share` are taken. The marks of the
    smallest class are near the beginnings of its units and those of the largest near the ends, the
    others between: small classes are rounded up and all classes together have their share. A unit
    with images of several classes counts to that class of which it has the largest part.

    Parameters
    ----------
    labels : ndarray of int64, shape (T,)
    units : ndarray of str, shape (T,)
        Names of what stays whole: groups, or sites.
    share : float
        Above 0, at most 1; 1 takes all.
    key : sequence of int
        Seed, repeat and fold, of the order.

    Returns
    -------
    ndarray of int64
        Places in `labels`, ascending.

    Notes
    -----
    - no unit is cut, and the images' order changes nothing;
    - what a share takes, every larger one takes too;
    - where each image is its own unit, n images of a class give n times `share`, rounded up or
      down.
    """
    _, label = np.unique(labels, return_inverse=True)
    names, unit = np.unique(units, return_inverse=True)
    counts = np.zeros((len(names), label.max() + 1))
    np.add.at(counts, (unit, label), 1)
    main = (counts / counts.sum(axis=0)).argmax(axis=1)
    order = stream(key[0], SUBSET, *key[1:]).permutation(len(names))
    sizes, mark = counts.sum(axis=1), np.empty(len(names))
    strata = [order[main[order] == c] for c in np.unique(main)]
    for rank, own in enumerate(sorted(strata, key=lambda own: sizes[own].sum())):
        place = (rank + 0.5) / len(strata)
        ends = np.cumsum(sizes[own])
        mark[own] = (ends - (1 - place) * sizes[own]) / ends[-1]
    return np.flatnonzero(mark[unit] < share)

"""A map of the images: their features laid out in the plane."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from folds.arrays import Floats
from folds.audit.findings import Findings

MOST = 3000  # images on the map
_MOST_JUNK = 500
_LEAST = 10
_COMPONENTS = 50
_STEPS = 500  # half of what is usual: later ones move little


@dataclass(frozen=True)
class ImageMap:
    """Places in the plane of M images.

    Parameters
    ----------
    rows : ndarray of int64, shape (M,)
    places : ndarray of float32, shape (M, 2)
    """

    rows: NDArray[np.int64]
    places: NDArray[np.float32]


def image_map(findings: Findings, *, seed: int = 0) -> ImageMap | None:
    """Lay out at most `MOST` of the audited images, see `tsne`."""
    rows = _sample(findings.junk, np.random.default_rng(seed))
    places = tsne(findings.features[rows], seed=seed)
    return None if places is None else ImageMap(rows, places)


def tsne(features: Floats, *, seed: int = 0) -> Floats | None:
    """Lay out M images by t-SNE of their features' first principal components.

    Parameters
    ----------
    features : ndarray of float32, shape (M, D)

    Returns
    -------
    ndarray of float32, shape (M, 2), or None
        None where there are too few images for a map, or all look the same.

    References
    ----------
    van der Maaten, Hinton: Visualizing Data using t-SNE, JMLR 2008.
    """
    if len(features) < _LEAST or not np.ptp(features, axis=0).any():
        return None
    count = min(_COMPONENTS, *features.shape)
    reduced = PCA(count, random_state=seed).fit_transform(features)
    perplexity = min(30.0, (len(features) - 1) / 3)
    layout = TSNE(perplexity=perplexity, init=_start(reduced), max_iter=_STEPS, random_state=seed)
    with threadpool_limits(1):  # its threads wait for each other, for ever on a busy machine
        return layout.fit_transform(reduced).astype(np.float32)


def _start(reduced: NDArray[np.float32]) -> NDArray[np.float32]:
    """The first two components, as small as t-SNE wants its beginning."""
    plane = np.zeros((len(reduced), 2), dtype=np.float32)
    plane[:, : reduced.shape[1]] = reduced[:, :2]
    return plane / max(float(plane[:, 0].std()), 1e-12) * 1e-4


def _sample(junk: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.int64]:
    """Junk first, as much as is allowed of it, then good images, in ascending order."""
    bad = rng.permutation(np.flatnonzero(junk))[:_MOST_JUNK]
    good = rng.permutation(np.flatnonzero(~junk))[: MOST - len(bad)]
    return np.sort(np.concatenate([bad, good]))

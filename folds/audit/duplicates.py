"""Copies and near-duplicates: the same picture but for compression, brightness or a turn.

A cheap fingerprint proposes each image's nearest neighbours, a comparison of small versions in
all eight turns decides. Nothing of size N x N is ever made.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from folds.arrays import Floats
from folds.audit.describe import ImageDescriptors

NEIGHBOURS = 8  # of each image that are compared with it
MOST_NEIGHBOURS = 32  # where the nearest are copies for the most part
LIMIT = 0.03  # largest difference of near-duplicates
CLOSER = 8  # times closer than two different images of the set usually are
_SURE = 0.002  # a difference that only the same picture has
_EXACT_SEARCH = 50_000  # images up to which the search need not be approximate
_FOR_A_CELL, _VISITED = 40, 16  # vectors that place a cell, and cells that are searched
_AT_ONCE = 2048  # pairs that are compared together
_MAYBE = 0.25  # a difference that another light may explain
_LEAST_GAIN = 0.2  # of a light that leaves something of a picture
_BURNT = 0.96  # brightness above which a pixel may have been cut off
_NOISE = 2 / 255  # differences of grey that mean nothing
_TINT = 0.05  # how much the mean colour counts beside the picture
_ROUNDS = 5
_LEAST = 10  # different pictures that tell what is usual

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """Which images are the same picture.

    Parameters
    ----------
    cluster : ndarray of int64, shape (N,)
        Row of the cluster's first member, an image's own row if it is alone.
    exact : ndarray of bool, shape (N,)
        The pixels are those of an image before it.
    pairs : ndarray of int64, shape (P, 2)
        What joins the clusters, smaller row first.
    similarity : ndarray of float32, shape (P,)
        Correlation of each pair.
    """

    cluster: Rows
    exact: NDArray[np.bool_]
    pairs: Rows
    similarity: Floats


def find_duplicates(descriptors: ImageDescriptors) -> Duplicates:
    """Find the clusters of images that show the same picture.

    Parameters
    ----------
    descriptors : ImageDescriptors
        N images.

    Notes
    -----
    Two different pictures are about equally far from their nearest neighbours all over a set; how
    far is measured between clusters, and near-duplicates are several times closer. So it does not
    matter how many images have copies, or how many copies they have, up to about
    `MOST_NEIGHBOURS`. Images of few pixels, or of things that look alike, get a stricter limit.
    """
    first = _first_of_copies(descriptors.digest)
    copies = np.flatnonzero(first != np.arange(len(first)))
    pairs, similarity = [np.stack([first[copies], copies], 1)], [np.ones(len(copies), np.float32)]
    cluster = first
    for _ in range(_ROUNDS):
        rows = np.flatnonzero(cluster == np.arange(len(cluster)))
        candidates, difference = _candidates(descriptors, rows)
        near = difference <= _limit(rows, candidates, difference)
        if not near.any():
            break
        pairs.append(candidates[near])
        similarity.append(1 - difference[near])
        cluster = _joined(len(cluster), np.concatenate(pairs))
    joined = np.concatenate(pairs)
    return Duplicates(cluster, first != np.arange(len(first)), joined, np.concatenate(similarity))


def _first_of_copies(digest: NDArray[np.uint64]) -> Rows:
    """Row of the first image with the same pixels."""
    _, first, number = np.unique(digest, axis=0, return_index=True, return_inverse=True)
    return first[number.ravel()]


def _candidates(descriptors: ImageDescriptors, rows: Rows) -> tuple[Rows, Floats]:
    """Pairs (P, 2) that may be the same picture, and their differences.

    Neighbours are added until most pictures have one that is no copy.
    """
    count = NEIGHBOURS
    while True:
        pairs = _neighbours(descriptors.fingerprints, rows, count)
        difference = _differences(descriptors.thumbs, pairs)
        seen = _nearest_others(rows, pairs, difference, LIMIT) > 0
        if 2 * seen.sum() > len(seen) or count >= min(MOST_NEIGHBOURS, len(rows)):
            return pairs, difference
        count *= 2


def _neighbours(fingerprints: Floats, rows: Rows, count: int) -> Rows:
    """Pairs (P, 2) of images near in one of their fingerprints (N, K, F), each pair once."""
    count = min(count + 1, len(rows))
    one = np.repeat(np.arange(len(rows)), count)
    pairs = []
    for vectors in np.moveaxis(fingerprints[rows], 1, 0):
        other = _search(np.ascontiguousarray(vectors), count)
        pairs.append(np.stack([np.minimum(one, other), np.maximum(one, other)], 1))
    ordered = np.concatenate(pairs)
    ordered = ordered[(ordered[:, 0] >= 0) & (ordered[:, 0] < ordered[:, 1])]
    return rows[np.unique(ordered, axis=0)]


def _search(vectors: Floats, count: int) -> Rows:
    """Numbers of the nearest of M vectors to each, itself among them, shape (M * count,)."""
    numbers: Rows = _index(vectors).search(vectors, count)[1].ravel()
    return numbers


def _index(vectors: Floats) -> faiss.Index:
    """A search for neighbours: in all vectors, or in cells of them where they are many."""
    count, size = vectors.shape
    flat = faiss.IndexFlatL2(size)
    if count <= _EXACT_SEARCH:
        flat.add(vectors)
        return flat
    cells = int(count**0.5)
    index = faiss.IndexIVFFlat(flat, size, cells)
    index.train(vectors[:: max(1, count // (_FOR_A_CELL * cells))])
    index.nprobe = _VISITED
    index.add(vectors)
    return index


def _differences(thumbs: NDArray[np.uint8], pairs: Rows) -> Floats:
    """One minus the correlation of each pair in the turn that fits best, shape (P,)."""
    parts = [
        _difference(thumbs[piece[:, 0]], thumbs[piece[:, 1]])
        for piece in np.array_split(pairs, max(1, len(pairs) // _AT_ONCE))
    ]
    return np.concatenate(parts)


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> Floats:
    a, b = (thumbs.astype(np.float32) / np.float32(255) for thumbs in (one, other))
    turns = np.stack([_correlation(a, turned) for turned in _turns(b)])
    difference: Floats = 1 - turns.max(axis=0)
    unsure = (difference > _SURE) & (difference < _MAYBE)
    best = turns.argmax(axis=0)
    for number, turned in enumerate(_turns(b)):
        rows = np.flatnonzero(unsure & (best == number))
        relit = 1 - _relit_correlation(a[rows], turned[rows])
        difference[rows] = np.minimum(difference[rows], relit)
    return difference


def _correlation(a: Floats, b: Floats) -> Floats:
    """Correlation of images (B, S, S, C), less where flat ones differ in colour, shape (B,)."""
    means = [image.mean((1, 2), keepdims=True) for image in (a, b)]
    a, b = a - means[0], b - means[1]
    noise = _NOISE**2 * math.prod(a.shape[1:])
    sizes = [np.einsum("nhwc,nhwc->n", x, x) + noise for x in (a, b)]
    tint = _TINT**2 * np.square(means[0] - means[1]).sum((1, 2, 3)) * math.prod(a.shape[1:3])
    common = np.einsum("nhwc,nhwc->n", a, b) + noise - tint
    correlation: Floats = common / np.sqrt(sizes[0] * sizes[1])
    return correlation


def _relit_correlation(a: Floats, b: Floats) -> Floats:
    """Correlation after the darker image of each pair was given the light of the brighter.

    Light is a gain and an offset, fitted where the brighter image is not burnt out; what they
    lift above white is cut off, as it was in the brighter image.
    """
    swap = (a.mean((1, 2, 3)) > b.mean((1, 2, 3)))[:, None, None, None]
    dark, bright = np.where(swap, b, a), np.where(swap, a, b)
    seen = (bright < _BURNT).astype(np.float32)
    count = seen.sum((1, 2, 3)) + 1
    means = [(x * seen).sum((1, 2, 3)) / count for x in (dark, bright)]
    x, y = (v - m[:, None, None, None] for v, m in zip((dark, bright), means, strict=True))
    gain = (x * y * seen).sum((1, 2, 3)) / ((x * x * seen).sum((1, 2, 3)) + 1e-6)
    lit = gain[:, None, None, None] * x + means[1][:, None, None, None]
    return np.where(gain > _LEAST_GAIN, _correlation(lit.clip(0, 1), bright), 0)


def _turns(images: Floats) -> Iterator[Floats]:
    """The eight turns and mirror images of (B, S, S, C)."""
    for flipped in (images, images[:, :, ::-1]):
        for quarter in range(4):
            yield np.rot90(flipped, quarter, axes=(1, 2))


def _limit(rows: Rows, pairs: Rows, difference: Floats) -> float:
    """The difference below which a pair is the same picture.

    The greatest one that, were it the limit, left the clusters `CLOSER` times as far apart. Where
    copies are many, the distance to the nearest image is that to a copy and tells nothing.
    """
    limit = LIMIT
    while limit > _SURE:
        others = _nearest_others(rows, pairs, difference, limit)
        allowed = float(np.median(others)) / CLOSER if len(others) >= _LEAST else 0.0
        if allowed >= limit:
            return limit
        limit = allowed
    return _SURE


def _nearest_others(rows: Rows, pairs: Rows, difference: Floats, limit: float) -> Floats:
    """Difference of each cluster from the nearest other one; 0 where no other is a neighbour.

    Clusters are what pairs within a limit join among the images of `rows`.
    """
    numbers = np.searchsorted(rows, pairs)
    cluster = _joined(len(rows), numbers[difference <= limit])
    apart = cluster[numbers]
    between = apart[:, 0] != apart[:, 1]
    nearest = np.full(len(rows), np.inf, np.float32)
    for side in (0, 1):
        np.minimum.at(nearest, apart[between, side], difference[between])
    nearest = nearest[np.unique(cluster)]
    return np.where(np.isfinite(nearest), nearest, 0).astype(np.float32)


def _joined(count: int, pairs: Rows) -> Rows:
    """Row of the first member of each image's connected component."""
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    number = connected_components(graph, directed=False)[1]
    first = np.full(number.max() + 1, count, dtype=np.int64)
    np.minimum.at(first, number, np.arange(count))
    return first[number]

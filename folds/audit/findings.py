"""What an audit found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Findings:
    """What an audit found in N images.

    Parameters
    ----------
    score : ndarray of float32, shape (N,)
        How far an image is from every class, as multiple of the limit.
    reasons : tuple of str
        Why an image is junk, empty for the others.
    cluster : ndarray of int64, shape (N,)
        Row of the first member, by id, of the image's duplicate cluster; its own row if it is
        alone.
    exact : ndarray of bool, shape (N,)
        The image is the same, pixel for pixel, as one before it, by id.
    pairs : ndarray of int64, shape (P, 2)
        Near-duplicates and copies, the earlier id first: enough pairs to join each cluster.
    similarity : ndarray of float32, shape (P,)
        Correlation of each pair in its best turn; 1: the same.
    features : ndarray of float32, shape (N, D)
        Where distances were measured.
    notices : tuple of str
        What could not be looked at.

    Notes
    -----
    - the members of a cluster name the same first member, and this names itself;
    - an image that is an exact copy is in a cluster with another;
    - the members of a cluster are junk together, or none of them is.
    """

    score: NDArray[np.float32]
    reasons: tuple[str, ...]
    cluster: NDArray[np.int64]
    exact: NDArray[np.bool_]
    pairs: NDArray[np.int64]
    similarity: NDArray[np.float32]
    features: NDArray[np.float32]
    notices: tuple[str, ...] = ()

    @property
    def junk(self) -> NDArray[np.bool_]:
        """Which images are junk: those beyond the limit."""
        return self.score > 1

    def take(self, rows: NDArray[np.int64]) -> "Findings":
        """What was found in these images, among them the first member of each cluster."""
        place = np.full(len(self.cluster), -1)
        place[rows] = np.arange(len(rows))
        whole = (place[self.pairs] >= 0).all(1)
        return Findings(
            score=self.score[rows],
            reasons=tuple(self.reasons[row] for row in rows.tolist()),
            cluster=place[self.cluster[rows]],
            exact=self.exact[rows],
            pairs=place[self.pairs[whole]],
            similarity=self.similarity[whole],
            features=self.features[rows],
            notices=self.notices,
        )


@dataclass(frozen=True)
class AuditedImages:
    """What the table of findings says of all images, also of those that a run leaves out.

    Parameters
    ----------
    ids : ndarray of str, shape (N,)
    labels : ndarray of int64, shape (N,)
    class_names : tuple of str
    findings : Findings
    """

    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    findings: Findings

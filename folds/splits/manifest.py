"""Which fold validates which image, kept in a file with a digest."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from folds.documents import read_json_file
from folds.errors import UserError
from folds.images.imageset import ImageSet
from folds.text import shortened

FORMAT = "crossfold-splits/2"
HOLDOUT = -1  # in place of a fold
_MOST_LETTERS = 2**29  # of all ids, were each as long as the longest


@dataclass(frozen=True)
class SplitManifest:
    """Which fold validates which image.

    Parameters
    ----------
    ids, groups : ndarray of str, shape (N,)
        Names and groups of the images, in the order of the ids.
    fold : ndarray of int64, shape (repeats, N)
        The fold, 0 to k - 1, whose validation part holds the image; -1: it is in the hold-out.
    folds : int
        k, at least 2.
    method : str
        How the folds were made.
    data : dict of str to str
        Digests of what they were made of, see `fingerprint`.
    sites : ndarray of str, shape (N,), optional
        Where the images were taken, if each fold leaves whole sites out.

    Raises
    ------
    UserError
        A law below is broken.

    Notes
    -----
    - each image is validated exactly once a repeat, but for those of the hold-out, which no fold
      trains on or validates: they are the same in all repeats;
    - no group is in two folds of one repeat, or in the hold-out and a fold;
    - nor is a site, if there are any;
    - no fold is empty;
    - the manifest does not depend on the order of the images it was made from.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    fold: NDArray[np.int64]
    folds: int
    method: str
    data: dict[str, str]
    sites: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        if self.fold.ndim != 2 or not 2 <= self.folds <= max(len(self.ids), 2):
            raise UserError(f"splits: {self.folds} folds of {len(self.ids)} images; make new ones")
        if len(np.unique(self.ids)) != len(self.ids):
            raise UserError("splits: an id stands in two parts; keep one line an image")
        held_out = self.fold == HOLDOUT
        if (held_out.any(axis=0) != held_out.all(axis=0)).any():
            raise UserError(
                "splits: an image is in the hold-out of one repeat and in a fold of another; keep "
                "it in one of them"
            )
        for number in self.fold:
            if set(np.unique(number).tolist()) - {HOLDOUT} != set(range(self.folds)):
                raise UserError(
                    f"splits: the folds are not 0 to {self.folds - 1}, all of them used"
                )
            for what, names in (("group", self.groups), ("site", self.sites)):
                if names is not None and _cuts(number, names):
                    raise UserError(
                        f"splits: a {what} stands in two folds, or in the hold-out and a fold; "
                        f"keep each {what} in one"
                    )

    @property
    def repeats(self) -> int:
        """Number of repetitions."""
        return len(self.fold)

    @property
    def digest(self) -> str:
        """SHA-256 of who is validated where, first 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self._assignments()).encode()).hexdigest()[:16]

    def parts(self, repeat: int, fold: int, ids: NDArray[np.str_]) -> tuple[NDArray, NDArray]:
        """Rows of the training and the validation part, within images of these ids.

        Returns
        -------
        train, validation : ndarray of int64
            Disjoint; together every row once, but for the hold-out.
        """
        number = self.of(ids)[repeat]
        held_out = number == fold
        return np.flatnonzero(~held_out & (number != HOLDOUT)), np.flatnonzero(held_out)

    def holdout(self, ids: NDArray[np.str_]) -> NDArray[np.int64]:
        """Rows of the hold-out, within images of these ids."""
        return np.flatnonzero(self.of(ids)[0] == HOLDOUT)

    def of(self, ids: NDArray[np.str_]) -> NDArray[np.int64]:
        """`fold`, in the order of these ids."""
        order = np.argsort(self.ids, kind="stable")
        return self.fold[:, order[np.searchsorted(self.ids[order], ids)]]

    def write(self, path: Path) -> None:
        """Write ``splits.json``."""
        head = {
            "format": FORMAT, "digest": self.digest, "folds": self.folds,
            "repeats": self.repeats, "method": self.method, "data": self.data,
        }  # fmt: skip
        rows = ",\n  ".join(json.dumps(row) for row in self._assignments())
        path.write_text(json.dumps(head)[:-1] + f', "images": [\n  {rows}\n]}}\n', encoding="utf-8")

    @classmethod
    def read(cls, path: str) -> Self:
        """Read ``splits.json``.

        Raises
        ------
        UserError
            The file is missing, damaged or breaks a law of the class.
        """
        try:
            content: dict[str, Any] = read_json_file(Path(path))
            if (kind := content["format"]) != FORMAT:
                raise UserError(f"--splits {path}: is {kind!r}, not {FORMAT!r}; make a new one")
            rows = content["images"]
            manifest = cls(
                _texts([row["id"] for row in rows]),
                _texts([row["group"] for row in rows]),
                np.array([row["fold"] for row in rows], dtype=np.int64).T,
                int(content["folds"]),
                str(content["method"]),
                {str(name): str(digest) for name, digest in content["data"].items()},
                _texts([row["site"] for row in rows]) if rows and "site" in rows[0] else None,
            )
            stored = content["digest"]
        except OSError as error:
            raise UserError(f"--splits {path}: {error.strerror}; give a splits.json") from None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            why = shortened(repr(error))
            raise UserError(
                f"--splits {path}: not a splits.json of crossfold ({why}); make a new one"
            ) from None
        if manifest.digest != stored:
            raise UserError(
                f"--splits {path}: its digest does not fit; the file was changed by hand"
            )
        return manifest

    def _assignments(self) -> list[dict[str, Any]]:
        columns = {"id": self.ids, "group": self.groups}
        columns |= {} if self.sites is None else {"site": self.sites}
        values = zip(*(own.tolist() for own in (*columns.values(), self.fold.T)), strict=True)
        return [dict(zip((*columns, "fold"), row, strict=True)) for row in values]


def _cuts(fold: NDArray[np.int64], names: NDArray[np.str_]) -> bool:
    """Whether images of one name are in several parts."""
    pairs = set(zip(names.tolist(), fold.tolist(), strict=True))
    return len(pairs) != len(set(names.tolist()))


def _texts(values: list[Any]) -> NDArray[np.str_]:
    """Texts as an array, which has room for the longest in each row.

    Raises
    ------
    ValueError
        One is none, or so long that the array would not fit into memory.
    """
    if not all(isinstance(value, str) for value in values):
        raise ValueError("an id, group or site is no text")
    longest = max(map(len, values), default=0)
    if longest * len(values) > _MOST_LETTERS:
        raise ValueError(f"an id, group or site has {longest:,} characters")
    return np.array(values, dtype=np.str_)


def fingerprint(images: ImageSet) -> dict[str, str]:
    """Digests of images whatever their order: of the labels, and of all at their size in pixels.

    Two image sets of the same files agree in all names that both have, though they may have been
    decoded to different sizes for different networks.
    """
    order = np.argsort(images.ids, kind="stable")
    classes = [images.class_names[label] for label in images.labels[order].tolist()]
    lines = json.dumps([images.ids[order].tolist(), classes])
    height, width = images.pixels.shape[1:3]
    return {
        "labels": hashlib.sha256(lines.encode()).hexdigest()[:16],
        f"{height}x{width}": images.digest,
    }

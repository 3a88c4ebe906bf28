"""Stratified folds that never cut a group, kept in a file with a digest."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from folds.config import SplitConfig
from folds.errors import UserError, listed
from folds.images.imageset import ImageSet

FORMAT = "crossfold-splits/1"


@dataclass(frozen=True)
class SplitManifest:
    """Which fold validates which image.

    Parameters
    ----------
    ids, groups : ndarray of str, shape (N,)
        Names and groups of the images, in the order of the ids.
    fold : ndarray of int64, shape (repeats, N)
        The fold, 0 to k - 1, whose validation part holds the image.
    folds : int
        k, at least 2.
    method : str
        How the folds were made.

    Raises
    ------
    UserError
        A law below is broken.

    Notes
    -----
    - each image is validated exactly once a repeat;
    - no group is in two folds of one repeat;
    - no fold is empty;
    - the manifest does not depend on the order of the images it was made from.
    """

    ids: NDArray[np.str_]
    groups: NDArray[np.str_]
    fold: NDArray[np.int64]
    folds: int
    method: str

    def __post_init__(self) -> None:
        if len(np.unique(self.ids)) != len(self.ids):
            raise UserError("splits: an id stands in two parts; keep one line an image")
        for number in self.fold:
            if set(np.unique(number).tolist()) != set(range(self.folds)):
                raise UserError(
                    f"splits: the folds are not 0 to {self.folds - 1}, all of them used"
                )
            pairs = {
                (group, f) for group, f in zip(self.groups.tolist(), number.tolist(), strict=True)
            }
            if len(pairs) != len(set(self.groups.tolist())):
                raise UserError("splits: a group stands in two folds; keep each group in one")

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
            Disjoint; together every row once.
        """
        row = np.argsort(self.ids, kind="stable")[np.searchsorted(np.sort(self.ids), ids)]
        held_out = self.fold[repeat][row] == fold
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def write(self, path: Path) -> None:
        """Write ``splits.json``."""
        head = {
            "format": FORMAT, "digest": self.digest, "folds": self.folds,
            "repeats": self.repeats, "method": self.method,
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
            content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = content["images"]
            manifest = cls(
                np.array([row["id"] for row in rows], dtype=np.str_),
                np.array([row["group"] for row in rows], dtype=np.str_),
                np.array([row["fold"] for row in rows], dtype=np.int64).T,
                int(content["folds"]),
                str(content["method"]),
            )
            stored, kind = content["digest"], content["format"]
        except OSError as error:
            raise UserError(f"--splits {path}: {error.strerror}; give a splits.json") from None
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise UserError(
                f"--splits {path}: not a splits.json of crossfold ({error!r}); make a new one"
            ) from None
        if kind != FORMAT:
            raise UserError(f"--splits {path}: is {kind!r}, not {FORMAT!r}; make a new one")
        if manifest.digest != stored:
            raise UserError(
                f"--splits {path}: its digest does not fit; the file was changed by hand"
            )
        return manifest

    def _assignments(self) -> list[dict[str, Any]]:
        columns = zip(self.ids.tolist(), self.groups.tolist(), self.fold.T.tolist(), strict=True)
        return [{"id": i, "group": g, "fold": f} for i, g, f in columns]


def make_splits(images: ImageSet, config: SplitConfig) -> SplitManifest:
    """Divide images into stratified folds, or take the folds of ``config.splits``.

    Returns
    -------
    SplitManifest
        scikit-learn's StratifiedKFold where every image is its own group, else its
        StratifiedGroupKFold; repeat r is shuffled with seed + r.

    Raises
    ------
    UserError
        A class has fewer images (or groups) than folds, or the file does not match.

    Notes
    -----
    Without groups each class's count differs by at most one between folds.
    """
    if config.splits is not None:
        return _matching(SplitManifest.read(config.splits), images, config)
    order = np.argsort(images.ids, kind="stable")
    ids, groups, labels = images.ids[order], images.groups[order], images.labels[order]
    grouped = len(np.unique(groups)) < len(groups)
    _check_counts(images, labels, groups, config.folds)
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    fold = np.empty((config.repeats, len(ids)), dtype=np.int64)
    for repeat in range(config.repeats):
        splitter = kind(config.folds, shuffle=True, random_state=config.seed + repeat)
        for number, (_, held_out) in enumerate(
            splitter.split(labels, labels, groups if grouped else None)
        ):
            fold[repeat, held_out] = number
    method = f"{kind.__name__}(shuffle, seed {config.seed})"
    return SplitManifest(ids, groups, fold, config.folds, method)


def tasks(manifest: SplitManifest) -> Iterator[tuple[int, int]]:
    """Every (repeat, fold) to train, in order."""
    return ((r, f) for r in range(manifest.repeats) for f in range(manifest.folds))


def _check_counts(images: ImageSet, labels: NDArray, groups: NDArray, folds: int) -> None:
    for label, name in enumerate(images.class_names):
        count = len(np.unique(groups[labels == label]))
        if count < folds:
            what = "image" if count == 1 else "images"
            raise UserError(
                f"class {name!r} has {count} {what} (groups counted once), fewer than --folds "
                f"{folds}: add images, lower --folds, or leave the class out"
            )


def _matching(manifest: SplitManifest, images: ImageSet, config: SplitConfig) -> SplitManifest:
    """Refuse a manifest that was made for other images or another number of folds."""
    missing = np.setdiff1d(images.ids, manifest.ids)
    unknown = np.setdiff1d(manifest.ids, images.ids)
    if len(missing) or len(unknown):
        raise UserError(
            f"--splits {config.splits}: does not match the images: {len(missing)} images are not "
            f"in it and {len(unknown)} of its ids are not in --data "
            f"({listed([*missing, *unknown])}); use the data it was made from"
        )
    place = {name: row for row, name in enumerate(images.ids.tolist())}
    groups = images.groups[[place[name] for name in manifest.ids.tolist()]]
    replace(manifest, groups=groups)  # refuses folds that cut a group of the images
    if (manifest.folds, manifest.repeats) != (config.folds, config.repeats):
        raise UserError(
            f"--splits {config.splits}: holds {manifest.folds} folds, {manifest.repeats} repeats; "
            f"pass --folds {manifest.folds} --repeats {manifest.repeats}"
        )
    return manifest

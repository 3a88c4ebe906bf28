"""Reading a folder of class folders, and loose image files for prediction."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, counted, listed
from folds.images.imageset import singletons, stratified
from folds.images.listing import Listing, Unlabelled, decode_unlabelled, listing
from folds.images.survey import Target
from folds.images.walk import READ, Passed, class_folders, images_below

# what people call parts of a data set, such as ``train``, ``Validation``, ``test_set``, ``fold3``
_PART = re.compile(
    r"(train|training|val|valid|validation|test|testing|dev|eval|evaluation|hold-?out"
    r"|fold|split|subset|part)"
    r"[-_ ]?(set|data|images|\d+)?",
    re.IGNORECASE,
)


def survey(root: Path, target: Target, *, limit: int | None = None, seed: int = 0) -> Listing:
    """List ``root/CLASS/.../image``; the classes are the sub-folders in the order of their names.

    Parameters
    ----------
    root : Path
        The folder.
    target : Target
        What the files are decoded to.
    limit, seed : int
        List no more files than this, a stratified choice. Broken files count.

    Raises
    ------
    UserError
        No class folders, or one without images; or they are parts of a data set that hold the
        class folders.
    """
    files, labels, names, notices = _class_files(root)
    rows = stratified(labels, names, limit, seed=seed)
    ids = _relative([files[row] for row in rows.tolist()], root)
    return listing(root, root, ids, labels[rows], singletons(ids), names, target, notices)


def load_unlabelled(root: Path, target: Target, *, skip_broken: bool) -> Unlabelled:
    """Read every image file below a folder, named by its path in it."""
    ids, notices = list_unlabelled(root)
    return decode_unlabelled(root, root, ids, target, notices, skip_broken=skip_broken)


def list_unlabelled(root: Path) -> tuple[NDArray[np.str_], list[str]]:
    """Paths of every image file below a folder, in it; and what was passed over."""
    files, passed = images_below(root, root)
    if not files:
        there = f": {passed.told}" if passed.kinds else ""
        raise UserError(f"--data {root}: no image files ({READ}) in it{there}")
    return _relative(files, root), passed.notices


def _relative(files: Sequence[Path], root: Path) -> NDArray[np.str_]:
    return np.array([file.relative_to(root).as_posix() for file in files], dtype=np.str_)


def _class_files(root: Path) -> tuple[list[Path], NDArray[np.int64], tuple[str, ...], list[str]]:
    """All image files of all classes, sorted; what was passed over is counted in notices."""
    classes, passed, loose = class_folders(root)
    if not classes:
        raise UserError(f"--data {root}: no class folders in it; put each class in a folder")
    _refuse_parts(root, classes)
    files: list[Path] = []
    labels: list[int] = []
    inner: list[set[str]] = []
    for number, path in enumerate(classes):
        images, others = images_below(path, root)
        if not images:
            raise UserError(f"--data {root}: class folder {path.name!r} {_without(others)}")
        labels += [number] * len(images)
        files += images
        inner.append(_inner(path, images))
        passed.add(others)
    notices = passed.notices
    if loose:
        notices.append(f"{counted(loose, 'image')} beside the class folders skipped")
    names = tuple(path.name for path in classes)
    if len(inner[0]) > 1 and len(inner) > 1 and all(folders == inner[0] for folders in inner):
        notices.append(
            f"each class folder ({listed(names)}) holds the same folders "
            f"({listed(sorted(inner[0]))}); if those are the classes, name one folder, "
            f"as in --data {classes[0]}"
        )
    return files, np.array(labels, dtype=np.int64), names, notices


def _inner(root: Path, files: Sequence[Path]) -> set[str]:
    """The folders right in a folder in which all of its images are; empty if some are in none."""
    if any(file.parent == root for file in files):
        return set()
    return {file.relative_to(root).parts[0] for file in files}


def _without(passed: Passed) -> str:
    """Why a class folder has no images, and what to do."""
    if passed.kinds:
        return f"has no images: {passed.told}; save them as one of {READ}, or remove the folder"
    if passed.links:
        reasons = " and ".join(sorted(passed.links))
        return f"has no images but links that are not followed ({reasons}); mend them"
    return "has no images; remove it"


def _refuse_parts(root: Path, folders: list[Path]) -> None:
    """Refuse a folder around the class folders, or train, val and test that each hold them."""
    inner: dict[Path, set[str]] = {}
    for folder in folders:
        if _PART.fullmatch(folder.name) or len(folders) == 1:
            below, _, loose = class_folders(folder)
            inner[folder] = set() if loose else {path.name for path in below}
    parts = [path.name for path, names in inner.items() if len(names) > 1]
    shared = set.intersection(*inner.values()) if inner else set()
    if shared and (len(parts) > 1 or len(parts) == len(folders)):
        first = next((n for n in parts if n.lower().startswith("train")), parts[0])
        classes = listed(sorted(shared))
        if len(folders) == 1:
            raise UserError(
                f"--data {root}: its only folder, {first}, holds the class folders ({classes}); "
                f"name that, as in --data {root / first}"
            )
        raise UserError(
            f"--data {root}: its folders {listed(parts)} are parts that each hold the classes "
            f"({classes}); name one of them, as in --data {root / first}"
        )

"""Labels that somebody has corrected, in a table beside the images, which are never changed."""

import csv
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.errors import UserError, counted, listed, nearest, reason
from folds.images.imageset import ImageSet
from folds.text import shortened

COLUMNS = ("id", "label", "was")
_REMEDY = "give the file that the page of python -m folds.inspect --oof saves"


@dataclass(frozen=True)
class NewLabel:
    """What an image is: a class's name, empty where it is left out; and what it was before."""

    label: str
    was: str


@dataclass(frozen=True)
class Relabelling:
    """What a file of new labels says.

    Parameters
    ----------
    path : str
        As messages name it.
    digest : str
        SHA-256 of the file, first 16 hexadecimal digits.
    labels : dict of str to NewLabel
        By the images' ids, in the order of the file.
    """

    path: str
    digest: str
    labels: dict[str, NewLabel]


@dataclass(frozen=True)
class Relabelled:
    """What a file of new labels has done to images.

    Parameters
    ----------
    by : Relabelling
    rows : ndarray of int64, shape (N,)
        Of the images that are left, among those before; ascending.
    changed, left_out : int
        Images.
    """

    by: Relabelling
    rows: NDArray[np.int64]
    changed: int
    left_out: int


def read_relabelling(path: str) -> Relabelling:
    """Read a CSV file of new labels: columns ``id``, ``label``, ``was``; others are skipped.

    Raises
    ------
    UserError
        The file cannot be read, lacks a column or a cell, or names an image twice.
    """
    flag = f"--relabel {path}"
    try:
        content = Path(path).read_bytes()
        table = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        lines = [(table.line_num, line) for line in table]
    except OSError as error:
        raise UserError(f"{flag}: {error.strerror}; {_REMEDY}") from None
    except (ValueError, csv.Error) as error:  # of a name that is no path, too
        raise UserError(f"{flag}: not a CSV file in UTF-8 ({reason(error)}); {_REMEDY}") from None
    if missing := [name for name in COLUMNS if name not in (table.fieldnames or ())]:
        raise UserError(
            f"{flag}: has no column {missing[0]!r}; its columns are {','.join(COLUMNS)}, between "
            "commas"
        )
    labels: dict[str, NewLabel] = {}
    for number, line in lines:
        if None in line or None in line.values():
            raise UserError(f"{flag}: line {number} has not as many cells as the first; mend it")
        if line["id"] in labels:
            twice = listed([line["id"]])
            raise UserError(f"{flag}: names image {twice} twice; keep one line an image")
        labels[line["id"]] = NewLabel(line["label"], line["was"])
    return Relabelling(path, hashlib.sha256(content).hexdigest()[:16], labels)


def relabelled(
    images: ImageSet, path: str | None, *, limited: bool = False
) -> tuple[ImageSet, Relabelled | None]:
    """Give images the labels that a file has for them, and leave out those that it leaves out.

    Parameters
    ----------
    images : ImageSet
    path : str, optional
        See `read_relabelling`. None: nothing changes.
    limited : bool
        Whether the images are a subset, so that the file may name others.

    Raises
    ------
    UserError
        As `read_relabelling`; or an image or a class is none of these, an image's label is not what
        the file says that it was, or a class would be left without images.
    """
    if path is None:
        return images, None
    by = read_relabelling(path)
    row_of = {name: row for row, name in enumerate(images.ids.tolist())}
    elsewhere = [name for name in by.labels if name not in row_of]
    if elsewhere and not limited:
        raise UserError(
            f"--relabel {path}: names {counted(len(elsewhere), 'image')} that --data has not "
            f"({listed(elsewhere)}); give the --data that it was made for"
        )
    here = {row_of[name]: new for name, new in by.labels.items() if name in row_of}
    labels, left = _applied(images, here, path)
    rows = np.flatnonzero(left)
    done = Relabelled(by, rows, int((labels != images.labels)[rows].sum()), int((~left).sum()))
    _check_classes(images, labels[rows], path)
    told = (*images.notices, _notice(done, len(elsewhere)))
    images = replace(images, labels=labels, notices=told)
    return images if left.all() else images.kept(rows), done


def _applied(
    images: ImageSet, new: dict[int, NewLabel], path: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The labels (N,) of images by rows that have new ones, and which images are left."""
    number = {name: label for label, name in enumerate(images.class_names)}
    labels, left = images.labels.copy(), np.ones(len(images), dtype=bool)
    others = []
    for row, one in new.items():
        now = images.class_names[images.labels[row]]
        if one.was != now:
            others.append(f"{images.ids[row]}: {now}, not {one.was}")
        elif not one.label:
            left[row] = False
        elif one.label in number:
            labels[row] = number[one.label]
        else:
            near = nearest(one.label, number) or f"; there are: {listed(number, most=8)}"
            raise UserError(
                f"--relabel {path}: image {listed([str(images.ids[row])])}: "
                f"{shortened(repr(one.label))} is no class of --data{near}"
            )
    if others:
        raise UserError(
            f"--relabel {path}: was made for other labels than --data has of "
            f"{counted(len(others), 'image')} ({listed(others)}); make it anew"
        )
    return labels, left


def _check_classes(images: ImageSet, labels: NDArray[np.int64], path: str) -> None:
    """Refuse labels that leave a class without images."""
    counts = np.bincount(labels, minlength=len(images.class_names))
    if not counts.all():
        raise UserError(
            f"--relabel {path}: leaves no image of class {images.class_names[counts.argmin()]!r}; "
            "keep some, or take the class out of --data"
        )


def _notice(done: Relabelled, elsewhere: int) -> str:
    beside = f"; --limit leaves out {counted(elsewhere, 'image')} of it"
    return (
        f"{counted(done.changed, 'label')} changed, {counted(done.left_out, 'image')} left out by "
        f"--relabel {done.by.path}{beside if elsewhere else ''}"
    )

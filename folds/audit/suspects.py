"""Labels that are likely wrong, by what models said of images they had not seen."""

import json
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from folds.archives import read_arrays
from folds.arrays import Ints
from folds.errors import UserError, listed, reason
from folds.evaluation.predictions import sum_by_image
from folds.files import is_file, is_folder
from folds.images import ImageSet

_ARRAYS = {"ids": "U", "labels": "iu", "probabilities": "f"}


@dataclass(frozen=True)
class RunPredictions:
    """What the models of a run said of M images, once for each.

    Parameters
    ----------
    source : str
        As messages name it.
    ids : ndarray of str, shape (M,)
        Sorted, each once.
    labels : ndarray of int64, shape (M,)
        The labels the run was given.
    probabilities : ndarray of float64, shape (M, C)
        Mean over the run's repeats; rows sum to 1.
    class_names : tuple of str
        C names, of the run or else the numbers.
    """

    source: str
    ids: NDArray[np.str_]
    labels: Ints
    probabilities: NDArray[np.float64]
    class_names: tuple[str, ...]


@dataclass(frozen=True)
class Suspects:
    """S images whose labels are likely wrong, the most suspect first.

    Parameters
    ----------
    ids : ndarray of str, shape (S,)
    given, suggested : ndarray of int64, shape (S,)
        Index of the class that the label says, and of the most probable class.
    quality : ndarray of float64, shape (S,)
        Probability of the given class, ascending.
    confidence : ndarray of float64, shape (S,)
        Probability of the suggested class.
    class_names : tuple of str
    """

    ids: NDArray[np.str_]
    given: Ints
    suggested: Ints
    quality: NDArray[np.float64]
    confidence: NDArray[np.float64]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def read_predictions(source: Path) -> RunPredictions:
    """Read the out-of-fold predictions of a run.

    Parameters
    ----------
    source : Path
        An ``oof.npz``, or the output folder that holds one. Class names are taken from
        ``summary.json`` beside it.

    Raises
    ------
    UserError
        There is none, or it is damaged.
    """
    path = source / "oof.npz" if is_folder(source) else source
    if not is_file(path):
        raise UserError(f"--oof {source}: no {path}; give an oof.npz or a run's --output folder")
    try:
        ids, labels, probabilities = read_arrays(path, *_ARRAYS).values()
    except (OSError, ValueError) as error:
        raise UserError(f"--oof {source}: not a readable oof.npz ({reason(error)})") from None
    _check(source, ids, labels, probabilities)
    images = sum_by_image(ids, probabilities)
    given = labels[images.first]
    if (given[images.image] != labels).any():
        raise UserError(f"--oof {source}: an id has two labels; the file was changed by hand")
    mean = images.sums / images.sums.sum(axis=1, keepdims=True)
    names = _class_names(path.with_name("summary.json"), mean.shape[1])
    return RunPredictions(str(source), images.ids, given.astype(np.int64), mean, names)


def _check(source: Path, ids: NDArray, labels: NDArray, probabilities: NDArray) -> None:
    """Refuse arrays that are no out-of-fold predictions."""
    problem = None
    arrays = {"ids": ids, "labels": labels, "probabilities": probabilities}
    for name, array in arrays.items():
        if array.dtype.kind not in _ARRAYS[name]:
            problem = f"{name} has dtype {array.dtype}"
    shapes = [array.shape for array in arrays.values()]
    if [len(shape) for shape in shapes] != [1, 1, 2] or len({shape[0] for shape in shapes}) > 1:
        problem = f"ids, labels, probabilities have shapes {', '.join(map(str, shapes))}"
    elif not len(ids) or probabilities.shape[1] < 2:
        problem = "no predictions of at least two classes"
    elif problem is None:
        if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
            problem = f"a label is not among its {probabilities.shape[1]} classes"
        elif not np.isfinite(probabilities).all() or probabilities.min() < 0:
            problem = "a probability is negative or not a number"
        elif not (probabilities.sum(axis=1) > 0).all():
            problem = "the probabilities of an image are all 0"
    if problem:
        raise UserError(f"--oof {source}: {problem}; give the oof.npz that a run wrote")


def _class_names(summary: Path, count: int) -> tuple[str, ...]:
    """Names from a run's summary, or the numbers."""
    try:
        names = json.loads(summary.read_text(encoding="utf-8"))["class_names"]
        if len(names) == count:
            return tuple(str(name) for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return tuple(str(number) for number in range(count))


def match(predictions: RunPredictions, images: ImageSet) -> RunPredictions:
    """Take the class names of the images that the predictions are about.

    Raises
    ------
    UserError
        Ids, labels or classes are not those of the images.
    """
    where = f"--oof {predictions.source}"
    remedy = "pass the --data, and the --relabel, that the run was made with"
    unknown = np.setdiff1d(predictions.ids, images.ids)
    if len(unknown):
        raise UserError(
            f"{where}: {len(unknown)} of its {len(predictions.ids)} ids are not in --data "
            f"({listed(unknown)}); {remedy}"
        )
    if len(images.class_names) != predictions.probabilities.shape[1]:
        raise UserError(
            f"{where}: {predictions.probabilities.shape[1]} classes, --data has "
            f"{len(images.class_names)}; {remedy}"
        )
    changed = predictions.ids[images.labels[rows_of(predictions.ids, images)] != predictions.labels]
    if len(changed):
        raise UserError(
            f"{where}: {len(changed)} labels differ from those in --data ({listed(changed)}); "
            f"{remedy}"
        )
    return replace(predictions, class_names=images.class_names)


def rows_of(ids: NDArray[np.str_], images: ImageSet) -> Ints:
    """Rows of images by their ids, all of which must be there."""
    order = np.argsort(images.ids)
    return order[np.searchsorted(images.ids, ids, sorter=order)]


def find_suspects(predictions: RunPredictions) -> Suspects:
    """Rank the labels that confident learning calls wrong.

    Returns
    -------
    Suspects
        What `cleanlab.filter.find_label_issues` finds, by the label's self-confidence.

    References
    ----------
    Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR
    2021.
    """
    from cleanlab.filter import find_label_issues  # slow to import
    from cleanlab.rank import get_label_quality_scores

    labels, probabilities = predictions.labels, predictions.probabilities
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # classes that no label names
        wrong = np.flatnonzero(find_label_issues(labels, probabilities, n_jobs=1))
    wrong = wrong[np.argsort(quality[wrong], kind="stable")]
    suggested = probabilities[wrong].argmax(axis=1)
    return Suspects(
        predictions.ids[wrong],
        labels[wrong],
        suggested,
        quality[wrong],
        probabilities[wrong, suggested],
        predictions.class_names,
    )

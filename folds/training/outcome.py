"""What a finished fold leaves behind beside its model: plain values and arrays, without torch.

Workers make it, the ledger (whose process imports no torch) keeps it in the run's folder, and what
follows the last fold reads it from there.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from folds.archives import read_arrays
from folds.arrays import Floats, Ints
from folds.evaluation.predictions import CorruptedPredictions
from folds.files import DamagedError, digest, opened_json, output_file, sealed_json

ARRAYS, VALUES = "result.npz", "result.json"  # the second is written last

_ARRAYS = ("rows", "probabilities", "holdout", "features", "epoch_logits")
_ARRAYS_BY_NAME = ("other_views", "external")
_CORRUPTED = ("rows", "predicted", "probabilities")
_VALUES = ("repeat", "fold", "kept_epoch", "averaged", "scores", "other_view_scores", "measured")


@dataclass(frozen=True)
class EpochReport:
    """What one epoch of a fold gave.

    Parameters
    ----------
    epoch, stage : int
        From 0.
    train_loss, first_loss : float
        Mean over the epoch, and of its first batch (with label smoothing and class weights, on
        augmented images).
    val_loss, val_accuracy, val_macro_f1 : float
        On the validation part in its plain view.
    ema_loss, ema_accuracy, ema_macro_f1 : float, optional
        The same of the averaged weights, with ``--ema``.
    learning_rate : float
        Of the first step.
    images_per_second : float
        Training alone, all workers of the fold together.
    seconds : float
        Training and validation.
    score : float
        Value of ``--select-by``, larger being better: that of the weights or of their average,
        whichever is greater.
    averaged : bool
        Whether it is that of the average.
    """

    epoch: int
    stage: int
    train_loss: float
    first_loss: float
    val_loss: float
    val_accuracy: float
    val_macro_f1: float
    learning_rate: float
    images_per_second: float
    seconds: float
    score: float
    averaged: bool = False
    ema_loss: float | None = None
    ema_accuracy: float | None = None
    ema_macro_f1: float | None = None


def best_epoch(history: Sequence[EpochReport]) -> int:
    """Number of the epoch of the highest score, from 0; of equals the first."""
    return max(range(len(history)), key=lambda epoch: history[epoch].score)


@dataclass(frozen=True)
class FoldOutcome:
    """A finished fold, all but its model.

    One that trains on all images has no validation part: V is 0, and there are no scores of it.

    Parameters
    ----------
    repeat, fold : int
        Which one.
    rows : ndarray of int64, shape (V,)
        Images of the validation part, ascending.
    probabilities : ndarray of float32, shape (V, C)
        Of the kept model.
    history : tuple of EpochReport
        All epochs, in order.
    kept_epoch : int
        From 0; the epoch whose model was kept (``--choose-epoch``).
    averaged : bool
        Whether that model is the moving average of the weights (``--ema``).
    scores : dict
        `folds.evaluation.metrics.scores` of the probabilities.
    holdout : ndarray of float32, shape (H, C)
        Probabilities of the test part (as ``--tta`` says), by the kept model; H is 0
        without one.
    other_views : dict of str to ndarray of float32, shape (V, C)
        As `probabilities`, of other views: ``tta`` averaged over those of ``--tta``, ``augmented``
        of the images as ``--val-augment`` makes them; empty without both.
    other_view_scores : dict of str to dict
        Their scores.
    corrupted : CorruptedPredictions
        What the kept model makes of corrupted validation images (``--shift``).
    external : dict of str to ndarray of float32, shape (E, C)
        Its probabilities of external images (as ``--tta`` says), by their sets' names.
    measured : dict of str to float
        `scores`, and those of corrupted and of external images, by the names of ``--select-by``.
    features : ndarray of float32, shape (min(V, 1000), F)
        Pooled features of the first of `rows`, for a map.
    epoch_logits : ndarray of float16, shape (E, V, C)
        Logits of the validation part after each epoch, with ``--choose-epoch crossfit``; else E is
        0.
    """

    repeat: int
    fold: int
    rows: Ints
    probabilities: Floats
    history: tuple[EpochReport, ...]
    kept_epoch: int
    averaged: bool
    scores: dict[str, float]
    holdout: Floats
    other_views: dict[str, Floats]
    other_view_scores: dict[str, dict[str, float]]
    corrupted: CorruptedPredictions
    external: dict[str, Floats]
    measured: dict[str, float]
    features: Floats
    epoch_logits: NDArray[np.float16]

    @property
    def best(self) -> EpochReport:
        """The best epoch by ``--select-by``."""
        return self.history[best_epoch(self.history)]

    @property
    def kept(self) -> EpochReport:
        """The epoch whose model was kept."""
        return self.history[self.kept_epoch]

    def write(self, folder: Path, beside: Mapping[str, bytes] | None = None) -> None:
        """Write it into a folder; a folder that has `VALUES` has all of it.

        Parameters
        ----------
        beside : mapping of str to bytes, optional
            Other files that belong to it and are there already, by their names in the folder;
            `read` checks them, too.

        Raises
        ------
        RunError
            There is no room.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        for group in _ARRAYS_BY_NAME:
            arrays |= {f"{group}/{name}": array for name, array in getattr(self, group).items()}
        arrays |= {f"corrupted/{name}": getattr(self.corrupted, name) for name in _CORRUPTED}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        with output_file(folder / ARRAYS) as scratch:
            scratch.write_bytes(buffer.getvalue())
        files = {**(beside or {}), ARRAYS: buffer.getvalue()}
        values = {name: getattr(self, name) for name in _VALUES}
        values["digests"] = {name: digest(content) for name, content in files.items()}
        values["history"] = [asdict(report) for report in self.history]
        values["cases"] = self.corrupted.cases
        with output_file(folder / VALUES) as scratch:
            scratch.write_text(sealed_json(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        DamagedError
            It, or a file beside it, is not what was written.
        """
        values = opened_json((folder / VALUES).read_bytes(), folder / VALUES)
        contents = {name: _checked(folder / name, own) for name, own in values["digests"].items()}
        arrays: dict[str, Any] = read_arrays(io.BytesIO(contents[ARRAYS]))

        def group(name: str) -> dict[str, Any]:
            start = f"{name}/"
            return {n.removeprefix(start): arrays[n] for n in arrays if n.startswith(start)}

        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            other_views=group("other_views"),
            external=group("external"),
            **{name: values[name] for name in _VALUES},
            corrupted=CorruptedPredictions(
                cases=tuple((name, severity) for name, severity in values["cases"]),
                **group("corrupted"),
            ),
            history=tuple(EpochReport(**report) for report in values["history"]),
        )


def _checked(path: Path, expected: str) -> bytes:
    """Content of a file whose digest is known."""
    content = path.read_bytes() if path.exists() else b""
    if digest(content) != expected:
        raise DamagedError(f"{path}: damaged, its checksum is another")
    return content

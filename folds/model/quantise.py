"""An ONNX file in eight bits: smaller and, where a processor has such arithmetic, faster."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.errors import RunError, reason
from folds.files import output_file

_CALIBRATED, _BATCH = 200, 32
_OPERATIONS = ["Conv", "Gemm", "MatMul"]  # nearly all of the arithmetic; the rest stays as it was

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Loss:
    """What eight bits cost.

    Parameters
    ----------
    images : int
        Labelled ones, none of which the ranges of values were taken from.
    before, after : float
        Accuracies on them.
    sizes : tuple of int
        Bytes of both files.
    """

    images: int
    before: float
    after: float
    sizes: tuple[int, int]


def quantise(source: Path, target: Path, images: Pixels, labels: Ints) -> Loss:
    """Write an ONNX file of `folds.model.export` anew in eight bits, and compare the two.

    Parameters
    ----------
    source, target : Path
        `target` is replaced if it is there.
    images : ndarray of uint8, shape (N, size, size, 3)
        Up to 200, at most half of them, say which values occur within the network.
    labels : ndarray of int64, shape (N,)
        By the model's classes.

    Raises
    ------
    RunError
        The network cannot be quantised, or the file cannot be written.

    References
    ----------
    onnxruntime's static quantisation (``quantize_static``), weights by channel.
    """
    order = np.random.default_rng(0).permutation(len(images))
    count = min(_CALIBRATED, len(images) // 2)
    seen, unseen = order[:count], np.sort(order[count:])
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "int8.onnx"
        try:
            _write(source, made, images[seen])
            after = _accuracy(made, images[unseen], labels[unseen])
        except Exception as error:  # whatever a network of a thousand may raise
            raise RunError(f"--int8: the network cannot be quantised ({reason(error)})") from None
        with output_file(target) as place:
            place.write_bytes(made.read_bytes())
    before = _accuracy(source, images[unseen], labels[unseen])
    return Loss(len(unseen), before, after, (source.stat().st_size, target.stat().st_size))


def _write(source: Path, target: Path, images: Pixels) -> None:
    import onnx  # an optional package, see `folds.model.export.check_target`
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        """Gives images in batches, and None in the end."""

        def __init__(self) -> None:
            self._batches = iter(_batches(images))

        def get_next(self) -> dict[str, Pixels] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"images": batch}

    prepared = target.with_name("prepared.onnx")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(
        prepared, target, Reader(), op_types_to_quantize=_OPERATIONS, per_channel=True,
        activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
    )  # fmt: skip
    model, told = onnx.load(target), onnx.load(source).metadata_props
    del model.metadata_props[:]
    model.metadata_props.extend(told)
    onnx.save(model, target)


def _accuracy(file: Path, images: Pixels, labels: Ints) -> float:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    found = [session.run(["probabilities"], {"images": own})[0] for own in _batches(images)]
    return float((np.concatenate(found).argmax(axis=1) == labels).mean())


def _batches(images: Pixels) -> Iterator[Pixels]:
    return (images[first : first + _BATCH] for first in range(0, len(images), _BATCH))

"""A bundle as one file that runs without crossfold: ONNX, or torch's pt2."""

import importlib.util
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from folds.errors import RunError, UserError, reason
from folds.files import output_file
from folds.model.decision import Decision
from folds.model.mixture import MixturePredictor, open_bundle
from folds.model.predictor import Predictor

Target = Literal["onnx", "pt2"]
TOLERANCE = 1e-4
_STEP = 0.02  # of typicality, which has steps: as few images as that decide it
PREPROCESSING = (
    "First page or frame; upright by EXIF; RGB on white where transparent. More than 8 bits a "
    "channel: round(255 * value / levels), clipped; levels null: the greatest value of the type, 1 "
    "of floating-point numbers. The centre square, whose side is the shorter side, resampled to "
    "(size, size) by Pillow's BICUBIC with reducing_gap=3.0, in one step; uint8. The network "
    "divides by 255 and normalises by itself."
)
_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_LARGEST = 2**31 - 2**20  # bytes of weights in one ONNX file

Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]


def check_target(target: Target) -> None:
    """Refuse a kind of file whose packages are not there.

    Raises
    ------
    UserError
        Names them and the remedy.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if target == "onnx" and missing:
        raise UserError(
            f"--to onnx: needs {', '.join(missing)}; pip install 'crossfold[export]', "
            "or use --to pt2"
        )


def export(bundle: Path, target: Target, path: Path) -> float:
    """Write a bundle as one file, and compare what it says with the bundle.

    Parameters
    ----------
    bundle : Path
        See `folds.model.bundle`.
    target : {"onnx", "pt2"}
    path : Path
        Replaced if it is there.

    Returns
    -------
    float
        The greatest difference of a probability between the file and the bundle.

    Raises
    ------
    UserError
        ONNX: a package is missing, or the weights are too many for one file; or the bundle's parts
        take images of different sizes.
    RunError
        The network cannot be exported, the difference is above `TOLERANCE`, or the file cannot be
        written.

    Notes
    -----
    The file takes uint8 images (N, size, size, 3), any N, and gives float32 probabilities (N, C)
    and, where the bundle knows it, typicality (N,), see `folds.model.typicality`; normalisation,
    views, members and temperature are in it. What is in ``model.json`` goes with it: in ONNX as
    metadata, all but texts as JSON; in pt2 as the extra file ``model.json``; so does a bundle's
    `Decision`, as ``decision``. Beside it stands `PREPROCESSING`, which says how a file
    becomes such an image.
    """
    check_target(target)
    predictor = open_bundle(bundle, "cpu")
    _check_one_input(predictor, target)
    card = json.loads((bundle / "model.json").read_text(encoding="utf-8"))
    decision = Decision.read(bundle, predictor.card.class_names)
    told = {} if decision is None else {"decision": asdict(decision)}
    about = json.dumps({**card, **told, "preprocessing": PREPROCESSING}, indent=2)
    rng, size = np.random.default_rng(0), predictor.card.size
    images = rng.integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    content, run = (_onnx if target == "onnx" else _pt2)(_program(predictor), about)
    said, (found, *typical) = predictor.answer(images), run(images)
    difference = float(np.abs(found - said.probabilities).max())
    step = 0.0 if said.typicality is None else float(np.abs(typical[0] - said.typicality).max())
    if not (difference <= TOLERANCE and step <= _STEP):
        raise RunError(f"--to {target}: its probabilities are off by {difference:.2g}; use another")
    with output_file(path) as scratch:
        scratch.write_bytes(content)
    return difference


def _check_one_input(predictor: Predictor | MixturePredictor, target: Target) -> None:
    """Refuse models that want the same file in different sizes: the file takes one."""
    if isinstance(predictor, MixturePredictor) and len(predictor.card.inputs) > 1:
        sizes = " and ".join(f"{size} px" for size, _ in predictor.card.inputs)
        raise UserError(
            f"--to {target}: this ensemble's runs take images of {sizes}, one file takes one kind; "
            "export a model of each run (models:/NAME/VERSION)"
        )


class _Known(nn.Module):
    """A network of `Outputs` that gives what it knows: probabilities, or with typicality a pair."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Tensors (B, C) and (B,)."""
        probabilities, typicality = self.model(pixels)
        return probabilities if typicality is None else (probabilities, typicality)


def _program(predictor: Predictor | MixturePredictor) -> torch.export.ExportedProgram:
    """Trace a bundle's network for any number of images."""
    side, backbone = predictor.card.size, predictor.card.backbone
    pixels = torch.zeros(2, side, side, 3, dtype=torch.uint8)
    model = _Known(predictor.model).to(memory_format=torch.contiguous_format)
    try:
        with torch.no_grad():
            return torch.export.export(
                model, (pixels,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},)
            )
    except Exception as error:  # whatever a model of a thousand may raise
        raise RunError(f"{backbone}: torch.export cannot export it ({reason(error)})") from None


def _pt2(program: torch.export.ExportedProgram, about: str) -> tuple[bytes, Run]:
    """The file's content, and what it says of images when it is loaded from that."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"model.json": about})
    module: Any = torch.export.load(io.BytesIO(file.getvalue())).module()

    def run(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        outputs = module(torch.from_numpy(images))
        each = outputs if isinstance(outputs, tuple) else (outputs,)
        return [output.detach().numpy() for output in each]

    return file.getvalue(), run


def _onnx(program: torch.export.ExportedProgram, about: str) -> tuple[bytes, Run]:
    """As `_pt2`."""
    import onnxruntime  # an optional package, see `check_target`

    bulk = sum(tensor.nbytes for tensor in program.state_dict.values())
    if bulk > _LARGEST:
        raise UserError(
            f"--to onnx: {bulk / 2**30:.1f} GiB of weights are too many for one ONNX file; "
            "use --to pt2"
        )
    outputs = ["probabilities", "typicality"][: len(program.graph_signature.user_outputs)]
    names: dict[str, Any] = {"input_names": ["images"], "output_names": outputs}
    try:
        made: Any = torch.onnx.export(program, verbose=False, **names)
    except Exception as error:  # an operation that ONNX has not got
        raise RunError(f"--to onnx: {reason(error)}; use --to pt2") from None
    for name, value in json.loads(about).items():
        made.model.metadata_props[name] = value if isinstance(value, str) else json.dumps(value)
    content = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda images: session.run(None, {"images": images})

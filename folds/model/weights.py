"""Pretrained weights: from the hub, a file, the demo's own, or a plain word that there are none."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from folds.documents import read_json
from folds.errors import UserError, listed, nearest, reason
from folds.files import expanded, is_file
from folds.model.hub import asking_hub
from folds.model.layouts import fitting, unwrapped
from folds.model.names import FOLDER, HUB, Architecture, is_elsewhere, resolve

State = dict[str, Tensor]
DEMO_BACKBONE = "test_byobnet"
DEMO_WEIGHTS = Path(__file__).with_name("demo.safetensors")  # by `folds.demo_weights`
_WORDS = ("auto", "hub", "none", "demo")
TRAINED_ON = "trained_on"  # key of a safetensors file's metadata: digests of images, as JSON


@dataclass(frozen=True)
class Pretrained:
    """Where the backbone's first weights come from.

    Parameters
    ----------
    state : dict of str to Tensor, or None
        Backbone without classifier; None: random weights.
    source : str
        ``"hub:NAME"``, ``"file:NAME:DIGEST"``, ``"demo:DIGEST"`` or ``"random"``; kept as a tag
        of the run.
    notice : str or None
        What the user must be told.
    trained_on : dict of str to str
        Digests of the images that a model of crossfold was trained on, where its file tells.
    """

    state: State | None
    source: str
    notice: str | None = None
    trained_on: dict[str, str] = field(default_factory=dict)

    def saw(self, images: Mapping[str, str]) -> bool:
        """Whether the weights come from these very images.

        Parameters
        ----------
        images : mapping of str to str
            Their digests; those under names that both have must be the same.
        """
        common = self.trained_on.keys() & images.keys()
        return bool(common) and all(self.trained_on[name] == images[name] for name in common)


def load_pretrained(backbone: str, weights: str) -> Pretrained:
    """Fetch the backbone's first weights.

    Parameters
    ----------
    backbone : str
        A timm model, or where one lies, see `folds.model.names.resolve`.
    weights : str
        ``auto``, ``hub``, ``none``, ``demo`` or a file, see ``--weights``.

    Raises
    ------
    UserError
        The file is missing, damaged or fits another model, ``demo`` is asked for another backbone
        than the demo's, or there are none under ``hub`` or where the backbone lies.
    """
    if weights == "none":
        return Pretrained(None, "random")
    if weights == "demo":
        if backbone != DEMO_BACKBONE:
            raise UserError(
                f"--weights demo: they are {DEMO_BACKBONE}'s, not {backbone}'s; "
                f"use --backbone {DEMO_BACKBONE}, or other weights"
            )
        state = _from_file(backbone, str(DEMO_WEIGHTS))
        return Pretrained(state, f"demo:{_digest(state)}", trained_on=_trained_on(DEMO_WEIGHTS))
    if weights not in ("auto", "hub"):
        state = _from_file(backbone, weights)
        source = f"file:{Path(weights).name}:{_digest(state)}"
        return Pretrained(state, source, trained_on=_trained_on(expanded(weights)))
    try:
        return _from_where_it_lies(backbone)
    except Exception as error:  # the hub's client raises dozens of types, its own and httpx's
        why = reason(error)
        if weights == "hub" or is_elsewhere(backbone):
            raise UserError(
                f"--weights {weights}: no pretrained {backbone} ({why}); "
                "check the network, or pass a file or 'none'"
            ) from None
    return Pretrained(
        None,
        "random",
        f"no pretrained weights for {backbone} from the hub ({why}): starting from random "
        "weights, everything unfrozen; --weights FILE uses a local file",
    )


def _from_where_it_lies(backbone: str) -> Pretrained:
    """Let timm fetch the weights, from the hub or a folder."""
    if backbone.startswith(FOLDER):
        state = _made_with_weights(backbone)
        folder = Path(backbone.removeprefix(FOLDER)).resolve().name
        return Pretrained(state, f"file:{folder}:{_digest(state)}")
    if not is_elsewhere(backbone) and not timm.is_model_pretrained(backbone):
        raise LookupError("timm lists no weights for it")
    with asking_hub():
        return Pretrained(_made_with_weights(backbone), f"hub:{backbone.removeprefix(HUB)}")


def _made_with_weights(backbone: str) -> State:
    return dict(timm.create_model(backbone, pretrained=True, num_classes=0).state_dict())


def _from_file(backbone: str, weights: str) -> State:
    """Read a file's weights, and check that they are all of a backbone's and no others."""
    path = expanded(weights)
    if not is_file(path):
        near = nearest(weights, _WORDS)
        words = ", ".join(_WORDS)
        raise UserError(f"--weights {weights}: no such file; give one, or {words}{near}")
    state, model = fitting(_read(path), Architecture.of(resolve(backbone)))
    wanted = model.state_dict()
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    wrong = [f"{name} is missing" for name in wanted if name not in state and name not in optional]
    wrong += [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    wrong += [f"{name} is not part of it" for name in state if name not in wanted]
    if wrong:
        raise UserError(
            f"--weights {weights}: does not fit {backbone}: {listed(wrong)}; "
            "name the backbone that the file was made for"
        )
    return {name: state.get(name, tensor).to(tensor.dtype) for name, tensor in wanted.items()}


def _read(path: Path) -> State:
    """Read tensors only: nothing in the file is executed."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _check_size(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"--weights {path}: cannot be read ({reason(error)})") from None
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle may raise
        raise UserError(
            f"--weights {path}: holds more than tensors, or is damaged ({type(error).__name__}); "
            "save a plain state_dict or a .safetensors file"
        ) from None
    content = unwrapped(content)
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and _plain(tensor) for name, tensor in content.items()
    ):
        raise UserError(f"--weights {path}: not a state_dict; save model.state_dict()")
    return {name: tensor.detach() for name, tensor in content.items()}


def _check_size(path: Path) -> None:
    """Refuse a file of torch's that would grow when it is read: torch compresses nothing."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > path.stat().st_size:
            raise ValueError(f"would grow to {size:,} bytes; save it by torch.save")


def _plain(tensor: object) -> bool:
    """Whether it is a tensor that holds its numbers one after another."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
    )


def _trained_on(path: Path) -> dict[str, str]:
    """Digests that crossfold wrote beside the weights; none in another's file, or one of before."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(TRAINED_ON, "{}")
    try:
        content = read_json(text)
    except ValueError:
        return {}
    return {str(n): str(d) for n, d in content.items()} if isinstance(content, dict) else {}


def _digest(state: State) -> str:
    """The half of `state_digest` that people see."""
    return state_digest(state)[:8]


def state_digest(state: State) -> str:
    """SHA-256 over names and values, first 16 hexadecimal digits."""
    hasher = hashlib.sha256()
    for name in sorted(state):
        hasher.update(name.encode())
        hasher.update(state[name].contiguous().numpy().tobytes())
    return hasher.hexdigest()[:16]

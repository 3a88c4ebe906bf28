"""Pretrained weights: from the hub, a file, the demo's own, or a plain word that there are none."""

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import timm
import torch
from huggingface_hub import constants
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from folds.errors import UserError, listed, nearest, reason

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


def check_backbone(name: str) -> None:
    """Refuse a backbone that timm does not have.

    Raises
    ------
    UserError
        Names the nearest models.
    """
    if not timm.is_model(name.split(".")[0]):
        near = nearest(name, timm.list_models()) or "; `timm.list_models()` lists them"
        raise UserError(f"--backbone {name}: timm has no such model{near}")


def load_pretrained(backbone: str, weights: str) -> Pretrained:
    """Fetch the backbone's first weights.

    Parameters
    ----------
    backbone : str
        A timm model.
    weights : str
        ``auto``, ``hub``, ``none``, ``demo`` or a file, see ``--weights``.

    Raises
    ------
    UserError
        The file is missing, damaged or fits another model, ``demo`` is asked for another backbone
        than the demo's, or the hub failed under ``hub``.
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
        return Pretrained(state, source, trained_on=_trained_on(Path(weights).expanduser()))
    try:
        return Pretrained(_from_hub(backbone), f"hub:{backbone}")
    except Exception as error:  # the hub's client raises dozens of types, its own and httpx's
        why = reason(error)
        if weights == "hub":
            raise UserError(
                f"--weights hub: no pretrained {backbone} from the hub ({why}); "
                "check the network, or pass a file or 'none'"
            ) from None
    return Pretrained(
        None,
        "random",
        f"no pretrained weights for {backbone} from the hub ({why}): starting from random "
        "weights, everything unfrozen; --weights FILE uses a local file",
    )


def _from_hub(backbone: str) -> State:
    """Let timm fetch the weights; without a network only the hub's cache on disk is asked."""
    if not timm.is_model_pretrained(backbone):
        raise LookupError("timm lists no weights for it")
    offline = not _hub_answers()
    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, offline or constants.HF_HUB_OFFLINE
    try:
        model = timm.create_model(backbone, pretrained=True, num_classes=0)
    except Exception as error:
        if offline:
            raise ConnectionError("it cannot be reached") from error
        raise
    finally:
        constants.HF_HUB_OFFLINE = before
    return dict(model.state_dict())


def _hub_answers() -> bool:
    """Whether the hub's host takes a connection; its client would try for a minute."""
    if any(name in os.environ for name in ("HTTPS_PROXY", "https_proxy")):
        return True
    address = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((address.hostname, address.port or 443), timeout=5):
            return True
    except OSError:
        return False


def _from_file(backbone: str, weights: str) -> State:
    """Read a file's weights, and check that they are all of a backbone's and no others."""
    path = Path(weights).expanduser()
    if not path.is_file():
        near = nearest(weights, _WORDS)
        words = ", ".join(_WORDS)
        raise UserError(f"--weights {weights}: no such file; give one, or {words}{near}")
    model = timm.create_model(backbone, pretrained=False, num_classes=0)
    state = _without_head(_read(path), model)
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
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise UserError(f"--weights {path}: cannot be read ({reason(error)})") from None
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle may raise
        raise UserError(
            f"--weights {path}: holds more than tensors, or is damaged ({type(error).__name__}); "
            "save a plain state_dict or a .safetensors file"
        ) from None
    for key in ("state_dict", "model"):
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise UserError(f"--weights {path}: not a state_dict; save model.state_dict()")
    return content


def _trained_on(path: Path) -> dict[str, str]:
    """Digests that crossfold wrote beside the weights; none in another's file, or one of before."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get(TRAINED_ON, "{}")
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return {str(n): str(d) for n, d in content.items()} if isinstance(content, dict) else {}


def _digest(state: State) -> str:
    """SHA-256 over names and values, first 8 hexadecimal digits."""
    hasher = hashlib.sha256()
    for name in sorted(state):
        hasher.update(name.encode())
        hasher.update(state[name].contiguous().numpy().tobytes())
    return hasher.hexdigest()[:8]


def _without_head(state: State, model: nn.Module) -> State:
    """Drop classifiers, Inception's auxiliary one too, and the prefixes of DDP and of crossfold."""
    state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    if any(name.startswith("backbone.") for name in state):
        state = {
            n.removeprefix("backbone."): t for n, t in state.items() if n.startswith("backbone.")
        }
    classifier: Any = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    heads = ("AuxLogits", *((classifier,) if isinstance(classifier, str) else classifier))
    return {n: t for n, t in state.items() if not any(n.startswith(f"{head}.") for head in heads)}

"""The backbone's layer groups: what a stage unfreezes, and how fast each of them learns."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from folds.config import Config
from folds.config.stages import Stage, StagePosition, lr_scale
from folds.model.backbone import Classifier
from folds.model.blocks import layer_groups
from folds.model.lora import freeze_adapted

BatchNorm = nn.modules.batchnorm._BatchNorm


def trained_groups(model: Classifier, stage: Stage) -> list[list[nn.Parameter]]:
    """The last layer groups of the backbone, those that a stage unfreezes."""
    groups = layer_groups(model.backbone)
    return groups[len(groups) - stage.unfrozen(len(groups)) :]


def unfreeze(model: Classifier, stage: Stage) -> int:
    """Let the head and the last layer groups train, and no others; of these adapters, if any.

    Parameters
    ----------
    stage : Stage
        How many layer groups; and whether their batch norm stays frozen.

    Returns
    -------
    int
        Trainable parameters (numbers, not tensors).
    """
    model.backbone.requires_grad_(False)
    for group in trained_groups(model, stage):
        for parameter in group:
            parameter.requires_grad_(True)
    freeze_adapted(model.backbone)
    if stage.norm == "frozen":
        for norm in _norms(model.backbone):
            norm.requires_grad_(False)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def train_mode(model: Classifier, stage: Stage, frozen_norm: str) -> None:
    """Set layers to training mode, frozen ones to evaluation.

    Parameters
    ----------
    stage : Stage
        Its ``norm``, if it has one, overrules `frozen_norm`.
    frozen_norm : {"frozen", "train"}
        Whether batch norm in frozen layers keeps its statistics or updates them.

    Notes
    -----
    - A module trains if a parameter in it does, however deep; one without parameters does as the
      module around it. So a layer's mode does not depend on what else is frozen beside it.
    """
    model.train()
    _rest(model.backbone)
    for norm in _norms(model.backbone):
        if stage.norm or frozen_norm == "train":
            norm.train((stage.norm or frozen_norm) == "train")


def _rest(module: nn.Module) -> None:
    """Set the largest modules that are frozen as a whole to evaluation, with all in them.

    By their own method, in which some of timm's prepare what they need in evaluation.
    """
    parameters = list(module.parameters())
    if any(parameter.requires_grad for parameter in parameters):
        for child in module.children():
            _rest(child)
    elif parameters:
        module.eval()


def _norms(backbone: nn.Module) -> list[nn.Module]:
    return [module for module in backbone.modules() if isinstance(module, BatchNorm)]


def parameter_groups(model: Classifier, config: Config) -> list[dict[str, Any]]:
    """All parameters as an optimizer takes them, in as few groups as the settings allow.

    Returns
    -------
    list of dict
        With ``params``; ``name``; ``weight_decay``: for weights, and with ``--head-l2`` more for
        the head's, for vectors (norms and biases) 0; ``depth``: 0 for the head, 1 for the layer
        group before it and so on to the stem, or 0 for all if they learn alike; ``scale``: the
        factor of the learning rate, see `set_scales`; ``use_fallback``: whether Muon, which makes
        matrices orthogonal, leaves them to AdamW.
    """
    train = config.train
    parts = [("head", 0, list(model.head.parameters()))]
    if train.layer_decay < 1 or train.warmup > 0:
        layers = layer_groups(model.backbone)
        depths = range(len(layers), 0, -1)
        parts += [(f"backbone.{i}", depths[i], layer) for i, layer in enumerate(layers)]
    else:
        parts += [("backbone", 0, list(model.backbone.parameters()))]
    groups = []
    for part, depth, parameters in parts:
        head = part == "head"
        decay = train.weight_decay + (config.model.head_l2 if head else 0.0)
        for vectors in (False, True):
            group = {
                "params": [p for p in parameters if (p.ndim <= 1) == vectors],
                "name": f"{part}.{'vectors' if vectors else 'weights'}",
                "weight_decay": 0.0 if vectors else decay,
                "depth": depth,
                "scale": 1.0,
                "use_fallback": vectors or head,
            }
            groups.append(group)
    return [group for group in groups if group["params"]]


def set_scales(
    optimizer: torch.optim.Optimizer,
    groups: int,
    stages: Sequence[Stage],
    position: StagePosition,
    done: float,
    config: Config,
) -> None:
    """Set the factor ``scale`` of each parameter group for the next step.

    Parameters
    ----------
    groups : int
        Number of the backbone's layer groups.
    done : float
        Epochs of the stage that will be done after the step, in parts of an epoch.
    """
    for group in optimizer.param_groups:
        group["scale"] = lr_scale(
            group["depth"], groups, stages, position.index, done,
            decay=config.train.layer_decay, warmup=config.train.warmup,
        )  # fmt: skip


def forget_frozen(optimizer: torch.optim.Optimizer) -> None:
    """Drop the moments and step counts of frozen parameters.

    So a parameter begins anew when it is unfrozen, also for the second time, and what went on
    being trained keeps what it has.
    """
    for parameter in list(optimizer.state):
        if not parameter.requires_grad:
            del optimizer.state[parameter]

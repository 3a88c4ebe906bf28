"""How a fold is trained: batches, stages of unfreezing, unequal classes, augmentation."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer

from folds.config.policies import canonical
from folds.config.section import Section
from folds.config.stages import Stage

Method = Literal["none", "weights", "effective", "oversample", "undersample", "hybrid"]
_PAIR = re.compile(r"(.+?)=([^,=]*)(?:,|$)")  # the name may hold commas and equals signs


def parse_weights(value: Any) -> dict[str, float]:
    """Read ``NAME=W,NAME=W``, or a mapping of names to weights.

    Raises
    ------
    ValueError
        The text has another form, a name comes twice, or a weight is not above 0.
    """
    weights: dict[str, float] = {}
    for name, text in _pairs(value):
        try:
            weight = float(text)
        except (TypeError, ValueError):
            raise ValueError(f"the weight of {name}, {text!r}, is not a number") from None
        if not 0 < weight < math.inf:
            raise ValueError(f"the weight of {name}, {text}, must be above 0")
        if name in weights:
            raise ValueError(f"{name} has two weights; give it one")
        weights[name] = weight
    return weights


def _pairs(value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(name), weight) for name, weight in value.items()]
    if isinstance(value, str) and not _PAIR.sub("", value):
        return [(name.strip(), text) for name, text in _PAIR.findall(value)]
    raise ValueError("must be NAME=W,NAME=W, such as basophil=2.5,eosinophil=0.5")


Stages = Annotated[
    tuple[Annotated[Stage, BeforeValidator(Stage.parse), PlainSerializer(str)], ...],
    Field(min_length=1),
]
ClassWeights = Annotated[dict[str, float], BeforeValidator(parse_weights)]


class TrainConfig(Section):
    """How a fold is trained."""

    batch_size: int = Field(
        32, ge=2, description="Global batch in images, whatever the number of workers."
    )
    stages: Stages = Field(
        (Stage(0.0, 3, 1e-3), Stage(0.5, 3, 3e-4), Stage(1.0, 6, 1e-4)),
        description="Gradual unfreezing, a stage each: unfrozen share of the backbone from its "
        "head (0 to 1) or its last blocks (3blocks), epochs, learning rate; then, if you like, "
        ":bn=frozen or :bn=train for all batch norm of the backbone.",
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor of the learning rate from a block of the backbone to the one below "
        "it, the head having 1.",
    )
    warmup: float = Field(
        0.0,
        ge=0,
        description="Epochs in which blocks that a stage unfreezes rise to its learning rate.",
    )
    weight_decay: float = Field(
        0.05,
        ge=0,
        description="Weight decay: decoupled in adamw, lion, muon and others, L2 in adam and sgd.",
    )
    label_smoothing: float = Field(
        0.1, ge=0, lt=1, description="Share of the target spread over all classes."
    )
    balance: Method = Field(
        "none",
        description="For unequal classes. In the loss: weights (n / k n_c) or effective (number of "
        "samples). In an epoch: oversample to the largest class, undersample to the smallest, or "
        "hybrid, both to the median one.",
    )
    class_weights: ClassWeights = Field(
        {},
        description="Weights of classes in the loss by hand, as NAME=W,NAME=W; the others have 1.",
    )
    patience: int = Field(
        10, ge=1, description="Stop after this many epochs of the last stage without improvement."
    )
    frozen_norm: Literal["frozen", "train"] = Field(
        "frozen", description="Batch norm of frozen layers: keep its statistics, or update them."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto",
        description="Arithmetic of the network, of fp16 with scaled gradients; auto: the fastest "
        "here, measured in a few steps.",
    )
    augment: Annotated[str, BeforeValidator(canonical)] = Field(
        "light",
        description="Augmentation of training images: none, light, rand, trivial, augmix, strong; "
        "names joined by +; a .yaml file or a list of operations, see docs/how-to/augmentation.md.",
    )
    val_augment: Annotated[str, BeforeValidator(canonical)] = Field(
        "none",
        description="Augmentation of validation images, as --augment but never mixed: scored "
        "beside the clean ones once a fold is finished, and never used for choosing.",
    )

    @pydantic.field_validator("class_weights")
    @classmethod
    def _given_or_computed(
        cls, given: dict[str, float], info: pydantic.ValidationInfo
    ) -> dict[str, float]:
        method = info.data.get("balance")
        if given and method in ("weights", "effective"):
            raise ValueError(f"--balance {method} computes weights; leave one of the two out")
        return given

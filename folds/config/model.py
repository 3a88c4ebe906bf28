"""The network: backbone, first weights, head, and the views of an image that it is asked for."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from folds.config.adaptation import check_adapt
from folds.config.head import (
    MOST_LAYERS,
    MOST_WIDTH,
    Activation,
    HeadShape,
    Norm,
    Pooling,
    check_tta,
)
from folds.config.lora import FULL, LoraShape, check_tune
from folds.config.named import words
from folds.config.section import Section

Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_WIDTH)], ...],
    Field(max_length=MOST_LAYERS),
    BeforeValidator(words),
]


class ModelConfig(Section):
    """The network."""

    backbone: str = Field(
        "resnet10t",
        description="Name of a timm classifier, hf-hub:ORG/MODEL, or local-dir:FOLDER with the "
        "config.json and model.safetensors of one.",
    )
    weights: str = Field(
        "auto",
        description="Pretrained weights: auto (the hub if it answers, else random), hub, none, "
        "demo (of rendered cells, for test_byobnet), or a .safetensors or torch file, also one of "
        "DINOv2 or DinoBloom.",
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout before the head (probability).")
    drop_path: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Stochastic depth: probability that an image passes by the backbone's last "
        "block while that trains; of the blocks before it evenly less, of the first 0.",
    )
    tune: Annotated[str, BeforeValidator(check_tune)] = Field(
        FULL,
        description="What a stage trains of the backbone's blocks. full: their weights; "
        "lora:r=8,alpha=16: low-rank adapters of their attention instead (vision transformers), "
        "merged into the weights at the end; alpha is 2 r if left out. Needs crossfold[lora].",
    )
    pool: Pooling = Field(
        "auto",
        description="From the backbone's map to features; auto: the backbone's own, avgmax: both "
        "side by side, attention: a learned weight of each place.",
    )
    head_layers: Widths = Field(
        (), description="Widths of hidden layers in the head, as 512,128; default: none."
    )
    head_activation: Activation = Field("relu", description="After each hidden layer.")
    head_norm: Norm = Field("none", description="Between a hidden layer and its activation.")
    head_dropout: float = Field(
        0.0, ge=0, lt=1, description="Dropout after each hidden layer (probability)."
    )
    head_l2: float = Field(
        0.0, ge=0, description="Weight decay of the head's weights alone, added to --weight-decay."
    )
    common_head: bool = Field(
        False,
        description="All folds of a repeat begin with the same random weights, as a soup of them "
        "needs; without it each has a head of its own.",
    )
    tta: Annotated[str, BeforeValidator(check_tta)] = Field(
        "none",
        description="Test-time augmentation: probabilities averaged over flips (4 views), d4 (8), "
        "or a number of light random views; scored beside the plain prediction, and what the "
        "registered model then does.",
    )

    adapt: Annotated[str, BeforeValidator(check_adapt)] = Field(
        "none",
        description="What the registered model does where images are unlike training's. colour, "
        "framing: brings each such image's colours, and the size of its object, to training's; bn: "
        "batch norm's statistics of the images that are predicted together, 32 or more; prior: "
        "their class shares, found without labels; joined by +. auto: all of these, where most "
        "images are unlike training's. Scored clean, corrupted and elsewhere.",
    )

    @property
    def lora(self) -> LoraShape | None:
        """The adapters that are trained instead of the backbone's weights, if any."""
        return None if self.tune == FULL else LoraShape.parse(self.tune)

    @property
    def head(self) -> HeadShape:
        """What the head is made of."""
        return HeadShape(
            self.pool, self.head_layers, self.head_activation, self.head_norm, self.head_dropout
        )

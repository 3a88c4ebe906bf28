"""What is minimised and how: the loss, the optimizer, the learning rate's course within a stage.

How high the learning rate is belongs to the stages, see `folds.config.train`.
"""

from typing import Literal

import pydantic
from pydantic import Field

from folds.config.section import Section

Loss = Literal["ce", "focal"]
Schedule = Literal["cosine", "constant", "restarts", "plateau", "onecycle"]


class OptimConfig(Section):
    """What is minimised, and how."""

    loss: Loss = Field(
        "ce", description="Cross-entropy, or focal: images that are already right count less."
    )
    focal_gamma: float = Field(
        2.0, ge=0, le=10, description="How much less: exponent of the focal loss."
    )
    triplet: float = Field(
        0.0,
        ge=0,
        description="Weight of a batch-hard triplet term on the pooled features, wherever the "
        "backbone trains; 0: none.",
    )
    consistency: float = Field(
        0.0,
        ge=0,
        description="Weight of a term that asks for one answer to three views of an image, plain "
        "and augmented twice (Jensen-Shannon, AugMix), wherever the backbone trains; such epochs "
        "take three times as long. 0: none; AugMix has 12.",
    )
    optimizer: str = Field(
        "adamw", description="One of timm's optimizers: adamw, adam, lion, sgd, muon, ..."
    )
    schedule: Schedule = Field(
        "cosine",
        description="Learning rate within a stage: cosine to 0, constant, restarts (cosine anew "
        "every few epochs), plateau (reduced when --select-by stands still), or onecycle (up for "
        "three tenths of the stage, then down).",
    )
    restart_epochs: int = Field(
        3,
        ge=1,
        description="Epochs between restarts, with --schedule restarts; from the last one to the "
        "end of the stage a little fewer or more, so that the rate ends at its bottom.",
    )
    plateau_patience: int = Field(
        2, ge=1, description="Epochs without improvement before --schedule plateau reduces."
    )
    plateau_factor: float = Field(
        0.1, gt=0, lt=1, description="Factor of each reduction of --schedule plateau."
    )
    clip_grad: float = Field(
        0.0, ge=0, description="Largest norm of the whole gradient; 0: any norm."
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="Parts of each batch that are computed one after another and make one step: "
        "less memory. Batch norm that trains sees one part at a time.",
    )
    ema: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of an exponential moving average of the weights, which is validated "
        "each epoch beside them; the better of both is kept. 0: none; try 0.999.",
    )
    sam: float = Field(
        0.0,
        ge=0,
        description="Sharpness-aware minimisation: each step goes by the gradient of the steepest "
        "place so far from the weights (norm over all of them). Twice the time. 0: off; try 0.05.",
    )
    wise_ft: float = Field(
        1.0,
        ge=0,
        le=1,
        description="WiSE-FT: share of the trained weights in the model that is validated and "
        "kept; the rest are those from before the backbone was unfrozen, with the head of that "
        "time. 1: all; try 0.5 for images from elsewhere.",
    )

    @pydantic.field_validator("accumulate")
    @classmethod
    def _whole_batches(cls, parts: int, info: pydantic.ValidationInfo) -> int:
        if parts > 1 and info.data.get("triplet"):
            raise ValueError("--triplet looks for triplets in whole batches; leave one of them out")
        return parts

"""What ``--shift`` measures: corruptions by name, without torch; `folds.corruptions` does them."""

from typing import Literal

CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "defocus", "motion_blur",
    "zoom_blur", "glass_blur", "brightness", "contrast", "saturation", "hue", "stain", "elastic",
    "pixelate", "jpeg", "rotation", "scale", "occlusion",
)  # fmt: skip
SEVERITIES = (1, 2, 3, 4, 5)

Shift = Literal["off", "fast", "full"]
Case = tuple[str, int]  # a corruption and its severity


def suite(kind: Shift) -> list[Case]:
    """Corruptions and severities to score: ``fast`` all at severity 3, ``full`` at all of them."""
    severities: tuple[int, ...] = {"off": (), "fast": (3,), "full": SEVERITIES}[kind]
    return [(name, severity) for name in CORRUPTIONS for severity in severities]

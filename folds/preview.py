"""See what a policy does before paying for it: ``python -m folds.preview --augment POLICY``.

A row for each class: an image as the network sees it when it is validated, and beside it the same
image in several epochs of training.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds import cli
from folds.augment.sheet import sheet
from folds.config import Config
from folds.config.policies import canonical
from folds.errors import UserError
from folds.files import check_file, output_file
from folds.images import load

LARGEST = 224  # side in pixels to which larger image files are reduced


@dataclass
class Options:
    """Which images, which policy, which file."""

    data: tuple[str, ...] = ("demo",)
    """Images: what --data of distributed.cv takes."""
    augment: str = "light"
    """Policy: none, light, rand, trivial, augmix, strong, several names joined by +, a .yaml file
    or a list of operations."""
    out: Path = Path("sheet.png")
    """Picture to write (.png or .jpg)."""
    rows: int = 1
    """Images of each class."""
    columns: int = 8
    """Augmented images beside each original."""
    seed: int = 0
    """Seed of the images and of the augmentation."""
    limit: int | None = None
    """Use a stratified subset of this many images."""
    levels: float | None = None
    """What --levels of distributed.cv takes."""
    skip_broken: bool = False
    """Leave out image files that cannot be read."""


def main() -> None:
    """Write one picture."""
    options = cli.parse(Options, sys.argv[1:], prog="python -m folds.preview", description=__doc__)
    for name in ("rows", "columns"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: must be 1 or more")
    if options.out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UserError(f"--out {options.out}: give a file that ends in .png or .jpg")
    check_file("--out", options.out)
    try:
        policy = canonical(options.augment)
    except ValueError as error:
        raise UserError(f"--augment {options.augment!r}: {error}") from None
    settings = {
        "data": options.data, "limit": options.limit, "levels": options.levels,
        "skip_broken": options.skip_broken,
    }  # fmt: skip
    images = load(Config.from_flat(settings).data, seed=options.seed, largest=LARGEST)
    for notice in images.notices:
        cli.tell(f"notice: {notice}")
    size = min(LARGEST, *images.pixels.shape[1:3])
    picture = sheet(
        images, policy, size=size, rows=options.rows, columns=options.columns, seed=options.seed
    )
    kind = "PNG" if options.out.suffix.lower() == ".png" else "JPEG"
    with output_file(options.out) as scratch:
        picture.save(scratch, kind)
    print(f"{picture.width} x {picture.height} pixels are in {options.out}")


if __name__ == "__main__":
    sys.exit(cli.run(main))

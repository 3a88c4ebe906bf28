"""See what a policy does: a sheet of images and of what training makes of them.

A row for each class: an image as the network sees it when it is validated, and beside it the same
image in several epochs of training.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from folds.arrays import Ints
from folds.augment import Policy, augment, make_policy, to_input
from folds.images import ImageSet
from folds.sampling import stream, uniform_table
from folds.text import shortened

MOST_CLASSES = 24  # that a sheet shows
_BATCH = 64  # images among which partners are found for mixing
_SHOWN = 9  # stream of a seed, beside those of `folds.sampling`
_CELL, _GAP, _MARGIN, _TEXT = 112, 6, 16, 14
_LETTERS = 60  # of a class's name
_PAPER, _INK, _SOFT = "#ffffff", "#1f2430", "#6b7280"


def sheet(
    images: ImageSet, policy: str, *, size: int, rows: int = 1, columns: int = 8, seed: int = 0
) -> Image.Image:
    """Draw some images of each class, each beside its augmentations.

    Parameters
    ----------
    images : ImageSet
        Where from.
    policy : str
        As `folds.config.policies.canonical` has written it.
    size : int
        Side of the network's input in pixels.
    rows, columns : int
        Images of each class, and epochs that are shown; at least 1.
    seed : int
        Of the choice of images and of the table of random numbers.

    Returns
    -------
    PIL.Image.Image
        RGB. Of more than `MOST_CLASSES` classes the first are shown.

    Notes
    -----
    The epochs' tables are those of training with the same seed. Partners for mixing are found
    among 64 images, so they are not those of a training batch.
    """
    chosen, count = _choose(images, rows, seed)
    pixels = torch.from_numpy(np.ascontiguousarray(images.pixels[chosen]))
    pictures = [to_input(pixels[:count], size)]
    labels, made = images.labels[chosen], make_policy(policy)
    for epoch in range(columns):
        table = uniform_table(seed, epoch, len(images), made.columns)[chosen]
        pictures.append(_as_trained(pixels, table, labels, made, size)[:count])
    names = [images.class_names[label] for label in labels[:count]]
    left = len(images.class_names) - len(set(names))
    policy = policy if len(policy) <= 90 else policy[:87] + "..."
    title = f"policy {policy}" + (f", {left} more classes" if left else "")
    heads = ["original", *(f"epoch {epoch}" for epoch in range(1, columns + 1))]
    return contact_sheet(pictures, names, heads, title)


def _choose(images: ImageSet, rows: int, seed: int) -> tuple[Ints, int]:
    """Rows to augment, and how many of them, from the first, are shown."""
    order = stream(seed, _SHOWN).permutation(len(images))
    shown: list[int] = []
    for label in range(min(len(images.class_names), MOST_CLASSES)):
        shown += order[images.labels[order] == label][:rows].tolist()
    others = order[~np.isin(order, shown)]
    chosen = np.concatenate([shown, others[: max(_BATCH - len(shown), 0)]]).astype(np.int64)
    return chosen, len(shown)


@torch.no_grad()
def _as_trained(
    pixels: Tensor, table: NDArray[np.float32], labels: Ints, policy: Policy, size: int
) -> Tensor:
    """Images as a training step gets them."""
    image = augment(pixels, table, policy, size)
    if not policy.mixes:
        return image
    mixing = policy.mixing(table, labels)
    return policy.mix(image, image[torch.from_numpy(mixing.partners)], mixing)[0]


def contact_sheet(
    pictures: Sequence[Tensor], names: Sequence[str], heads: Sequence[str], title: str
) -> Image.Image:
    """Arrange images in columns, the first of them set apart.

    Parameters
    ----------
    pictures : sequence of Tensor of float32, shape (rows, 3, S, S)
        The columns, in [0, 1].
    names : sequence of str
        Of the rows; where several in succession are equal, the first is written.
    heads : sequence of str
        Of the columns.
    title : str
        Above it all.
    """
    names, title = [shortened(name, _LETTERS) for name in names], shortened(title)
    side = max(_CELL, pictures[0].shape[-1])
    font, small = ImageFont.load_default(_TEXT), ImageFont.load_default(_TEXT - 2)
    label = int(max(font.getlength(name) for name in names)) + _GAP
    top = _MARGIN + 3 * _TEXT + 2 * _GAP
    width = 2 * _MARGIN + label + len(pictures) * (side + _GAP) + _GAP
    width = max(width, 2 * _MARGIN + int(font.getlength(title)) + 80)
    paper = Image.new("RGB", (width, top + len(names) * (side + _GAP) + _MARGIN), _PAPER)
    pen = ImageDraw.Draw(paper)
    pen.text((_MARGIN, _MARGIN), title, _INK, font)
    for column, shown in enumerate(pictures):
        left = _MARGIN + label + column * (side + _GAP) + (_GAP if column else 0)
        pen.text((left, top - _TEXT - _GAP), heads[column], _SOFT, small)
        for row, image in enumerate(shown):
            cell = Image.fromarray(_bytes(image)).resize((side, side), Image.Resampling.BICUBIC)
            paper.paste(cell, (left, top + row * (side + _GAP)))
    for row, name in enumerate(names):
        if row == 0 or names[row - 1] != name:
            pen.text(
                (_MARGIN, top + row * (side + _GAP) + side // 2 - _TEXT // 2), name, _INK, font
            )
    return paper


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    """An image (3, S, S) in [0, 1] as uint8 (S, S, 3)."""
    return (image * 255).round().byte().permute(1, 2, 0).contiguous().numpy()

"""Asking a network for predictions: what every pass without gradients has in common."""

from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import to_input
from folds.augment.tta import mean_probabilities
from folds.model.backbone import Classifier
from folds.training.context import Place
from folds.training.frozen import WIDER
from folds.training.loader import Gather

Images = Callable[[Tensor], Tensor]


def seen(place: Place, model: Classifier) -> Images:
    """The model as a function from images (B, 3, S, S) to logits (B, C) in the run's precision."""

    def logits(images: Tensor) -> Tensor:
        with place.runtime.autocast():
            return cast(Tensor, model(images))

    return logits


def without_gradients(place: Place, rows: Ints) -> list[Ints]:
    """This worker's part of some rows, in batches."""
    mine = place.team.slice(rows)
    batch = max(WIDER * place.problem.config.train.batch_size // place.team.size, 1)
    return [mine[first : first + batch] for first in range(0, len(mine), batch)]


@torch.inference_mode()
def predicted(
    place: Place, model: Classifier, pixels: Gather, rows: Ints, tta: str = "none"
) -> Floats:
    """Probabilities (n, C) of rows of any images, the work shared by the team.

    Parameters
    ----------
    tta : str
        Views that are averaged, see `folds.augment.tta.views`.
    """
    model.eval()
    see, size = seen(place, model), place.problem.size
    batches = pixels.batches(without_gradients(place, rows))
    outputs = (mean_probabilities(see, to_input(found, size), tta) for _, found in batches)
    return gathered(place, outputs, len(rows)).numpy()


@torch.inference_mode()
def features_of(place: Place, model: Classifier, rows: Ints) -> Floats:
    """Pooled features (n, F) of rows of the images in their plain view."""
    model.eval()
    size, outputs = place.problem.size, []
    for _, found in place.pixels.batches(without_gradients(place, rows)):
        with place.runtime.autocast():
            _, features = model(to_input(found, size), with_features=True)
        outputs.append(features.float())
    return gathered(place, outputs, len(rows), model.head.features).numpy()


def gathered(place: Place, outputs: Iterable[Tensor], count: int, columns: int = 0) -> Tensor:
    """What the whole team found (count, columns), from each worker's batches; on the CPU.

    Parameters
    ----------
    count : int
        Rows in all.
    columns : int
        Default: as many as classes.
    """
    width = columns or len(place.problem.images.class_names)
    parts = list(outputs)
    kind = parts[0].dtype if parts else torch.float32
    none = torch.zeros(0, width, device=place.runtime.device, dtype=kind)
    return place.team.gather(torch.cat([none, *parts]), count).cpu()

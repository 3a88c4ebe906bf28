"""The frozen front of a backbone: while it does not change, its outputs can be kept and shared.

In every fold of every repeat the front gives the same output for image i in the view of epoch e,
because the view is a function of row i of the epoch's table (`folds.sampling`). So it is computed
once for all folds, and they train what comes behind it. Exact up to rounding, not an approximation.

A frozen epoch then costs one forward pass through the front for all folds together, and bytes for
one output an image; each fold's steps pass only through the rest, often the head alone.
"""

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from folds.arrays import Floats, Ints
from folds.augment import augment, to_input
from folds.config.stages import Stage
from folds.model.backbone import Classifier, build
from folds.model.folding import predicting
from folds.model.layer_groups import BatchNorm, trained_groups
from folds.runtime.device import Runtime, as_tensor
from folds.runtime.memory import Pieces
from folds.sampling import uniform_table
from folds.training.frozen_view import PLAIN, View
from folds.training.problem import Problem

# batches without gradients, as a multiple of training's; more is slower on a CPU
EVAL_BATCH_FACTOR = 2
FrozenFeatures = Callable[[View], Tensor | None]


def no_frozen_features(view: View) -> None:
    """Share no view: each fold passes its images through the whole network."""


def frozen_depth(model: Classifier, stages: Sequence[Stage], index: int, frozen_norm: str) -> int:
    """Parts of the chain that no stage up to one has trained or trains.

    Parameters
    ----------
    index : int
        The stage, from 0.
    frozen_norm : {"frozen", "train"}
        With ``train``, or in a stage that has it so, a part with batch norm changes though it is
        frozen.
    """
    so_far = stages[: index + 1]
    follows = any((stage.norm or frozen_norm) == "train" for stage in so_far)
    longest = max(so_far, key=lambda stage: stage.share)
    trained = {id(p) for group in trained_groups(model, longest) for p in group}
    for depth, part in enumerate(model.chain):
        moves = follows and any(isinstance(module, BatchNorm) for module in part.modules())
        if moves or any(id(parameter) in trained for parameter in part.parameters()):
            return depth
    return len(model.chain)


def shareable_views(problem: Problem, budget: int) -> list[View]:
    """List the views to be shared, the most useful first, as many as fit a budget.

    Parameters
    ----------
    budget : int
        Bytes for the outputs of all images in all these views.

    Returns
    -------
    list of View
        Without any where nothing is frozen, or where random weights differ between the folds.
    """
    if problem.pretrained is None:
        return []
    model, image = fresh_model(problem), torch.zeros(1, 3, problem.size, problem.size)
    views: list[View] = []
    first = 0
    for index, stage in enumerate(problem.stages):
        depth = frozen_depth(model, problem.stages, index, problem.config.train.frozen_norm)
        if depth:
            with torch.inference_mode():
                output = model.frozen_features(image, depth)
            each = output.numel() * 4 * len(problem.images)  # float32
            wanted = [View(PLAIN, depth)]
            if not problem.needs_images(stage):
                wanted += [View(first + epoch, depth) for epoch in range(stage.epochs)]
            new = [view for view in wanted if view not in views][: budget // each]
            budget -= each * len(new)
            views += new
        first += stage.epochs
    return views


def fresh_model(problem: Problem, runtime: Runtime | None = None) -> Classifier:
    """The network before any training; its head means nothing."""
    model = build(
        problem.backbone,
        classes=len(problem.images.class_names),
        size=problem.size,
        dropout=0.0,
        pretrained=problem.pretrained,
        seed=0,
        head=problem.config.model.head,
    )
    if runtime is not None:
        runtime.place(model)
    return model.eval()


class FrozenFeatureExtractor:
    """Computes views, a piece of the images at a time.

    Parameters
    ----------
    problem : Problem
        What the folds share.
    runtime : Runtime
        Device and precision.
    batch : int, optional
        Images at a time; default: `EVAL_BATCH_FACTOR` of training's.
    """

    def __init__(self, problem: Problem, runtime: Runtime, batch: int | None = None) -> None:
        self._problem, self._runtime = problem, runtime
        self._batch = batch or EVAL_BATCH_FACTOR * problem.config.train.batch_size
        self._model = fresh_model(problem, runtime)
        self._pieces = Pieces()

    def outputs(self, view: View, first: int, last: int) -> Tensor:
        """Outputs of the front for a range of images, on the CPU.

        Parameters
        ----------
        first, last : int
            Rows ``first`` to ``last - 1``.

        Returns
        -------
        Tensor, shape (last - first, ...)
        """
        problem, table = self._problem, None
        if view.epoch != PLAIN:
            seed, columns = problem.config.split.seed, problem.policy.columns
            table = uniform_table(seed, view.epoch, last, columns)
        parts = []
        with predicting(self._model, view.depth):
            for rows in np.split(
                np.arange(first, last), range(self._batch, last - first, self._batch)
            ):
                output = partial(self._output, view, table, rows)
                parts.append(self._pieces(len(rows), output).cpu())
        return torch.cat(parts)

    def _output(self, view: View, table: Floats | None, rows: Ints, part: slice) -> Tensor:
        problem, some = self._problem, rows[part]
        pixels = as_tensor(problem.images.pixels[some]).to(self._runtime.device)
        if table is None:
            image = to_input(pixels, problem.size)
        else:
            image = augment(pixels, table[some], problem.policy, problem.size)
        with self._runtime.autocast():
            return self._model.frozen_features(image, view.depth)


def kept_in_memory(problem: Problem, runtime: Runtime, budget: int) -> FrozenFeatures:
    """Share views among folds that are trained one after another in this process.

    Parameters
    ----------
    budget : int
        Bytes for the outputs of all images in all views that are shared.

    Returns
    -------
    FrozenFeatures
        It computes each view when a fold first asks for it, and keeps it.
    """
    views = shareable_views(problem, budget)
    if not views:
        return no_frozen_features
    extractor = FrozenFeatureExtractor(problem, runtime)
    outputs = cache(lambda view: extractor.outputs(view, 0, len(problem.images)))
    return lambda view: outputs(view) if view in views else None


def to_array(output: Tensor) -> NDArray:
    """Outputs as an array, to be sent or kept: NumPy has no bfloat16, its bits become int16."""
    return (output.view(torch.int16) if output.dtype == torch.bfloat16 else output).numpy()


def to_tensor(array: NDArray) -> Tensor:
    """Outputs from what `to_array` made of them."""
    tensor = as_tensor(array)
    return tensor.view(torch.bfloat16) if array.dtype == np.int16 else tensor

"""Folds that train on less, for a learning curve: whether they can, and what they are asked."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from folds.errors import UserError
from folds.training.problem import Problem


def check_curve(problem: Problem, folds: Sequence[tuple[int, int]]) -> None:
    """Refuse a smallest share of ``--learning-curve`` that nothing can be learnt from.

    Parameters
    ----------
    folds : sequence of (repeat, fold)
        Those that are trained.

    Raises
    ------
    UserError
        It leaves out a class that the training part has, or fewer images than a batch.
    """
    shares = problem.config.tracking.learning_curve
    for repeat, fold in folds if shares else ():
        whole, _ = problem.parts(repeat, fold)
        train, _ = problem.parts(repeat, fold, shares[-1])
        here = f"--learning-curve {shares[-1]:g}: of {len(whole)} training images"
        labels, split = problem.images.labels, problem.config.split
        if len(lost := np.setdiff1d(labels[whole], labels[train])):
            name, images = problem.images.class_names[lost[0]], (labels[whole] == lost[0]).sum()
            raise UserError(
                f"{here} none of the {images} of class {name!r} is left (a {split.split_by} is "
                "taken whole); give larger shares"
            )
        images, batch = problem.balance(train).images, problem.config.train.batch_size
        if images < batch:
            raise UserError(
                f"{here} an epoch has {images} left, fewer than --batch-size {batch}; give larger "
                "shares, or lower it"
            )


def without_shift(problem: Problem) -> Problem:
    """The same, scored on the validation images alone unless ``--select-by`` asks for others."""
    asked, config = problem.select_by, problem.config
    evaluation = config.evaluation
    if not asked.corruptions:
        evaluation = evaluation.model_copy(update={"shift": "off"})
    config = config.model_copy(update={"evaluation": evaluation})
    return replace(problem, config=config, externals=problem.externals if asked.externals else ())

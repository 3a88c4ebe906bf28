"""What a finished fold predicts for its validation part in other views, beside the plain one."""

import torch

from folds.arrays import Floats
from folds.augment import augment, make_policy
from folds.model.backbone import Classifier
from folds.sampling import uniform_table
from folds.training.context import FoldContext
from folds.training.predict import all_gather, as_logits, eval_batches, predict

_EPOCH = 2**31  # of the table that augments validation images: no training epoch has this number


def predict_other_views(context: FoldContext, model: Classifier) -> dict[str, Floats]:
    """Probabilities (V, C) of the validation part in the views that were asked for.

    Returns
    -------
    dict
        ``tta``: averaged over the views of ``--tta``; ``augmented``: of each image as
        ``--val-augment`` makes it, the same in every fold and epoch.
    """
    config = context.problem.config
    model.eval()
    probabilities = {}
    if config.model.tta != "none":
        probabilities["tta"] = predict(
            context, model, context.pixels, context.held_out, config.model.tta
        )
    if config.train.val_augment != "none":
        probabilities["augmented"] = _augmented(context, model, config.train.val_augment)
    return probabilities


@torch.inference_mode()
def _augmented(context: FoldContext, model: Classifier, text: str) -> Floats:
    """Probabilities (V, C) of the validation part, each image as a policy makes it."""
    problem, policy = context.problem, make_policy(text)
    seed, count = problem.config.split.seed, len(problem.images)
    table = uniform_table(seed, _EPOCH, count, policy.columns)
    parts = eval_batches(context, context.held_out)
    images = (
        augment(pixels, table[part], policy, problem.size)
        for part, (_, pixels) in zip(parts, context.pixels.batches(parts), strict=True)
    )
    logits = as_logits(context, model)
    probabilities = (logits(batch).float().softmax(dim=1) for batch in images)
    return all_gather(context, probabilities, len(context.held_out)).numpy()

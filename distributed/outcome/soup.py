"""A soup of the folds' models, made and looked at by a worker, where the device is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import ray
from safetensors.torch import load

from distributed.data.localize import localize
from distributed.outcome.pooling import Results
from distributed.run import Run
from folds.arrays import Floats, Ints
from folds.corruptions import keys_of
from folds.evaluation.metrics import macro_f1
from folds.model.backbone import Classifier
from folds.model.bundle import ModelCard, joined_appearance
from folds.model.soup import Weights, greedy, moved_norms, renew, uniform
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.adapted import predict_served
from folds.training.context import fold_context
from folds.training.frozen import no_frozen_features
from folds.training.loader import BatchLoader
from folds.training.predict import predict, training_images
from folds.training.problem import Problem

ENOUGH = 2000  # images that a soup is looked at on


@dataclass(frozen=True)
class Soup:
    """A soup of the folds' models.

    Parameters
    ----------
    card : ModelCard
        With the mean of the folds' appearances.
    weights : dict of str to Tensor
    members : tuple of int
        Which of the results are of the folds in it.
    value, needed : float
        Macro-F1 on some images of the folds, which most of its members have trained on, and that
        of the out-of-fold predictions for them. A soup below that is broken: it is worse on images
        that it knows than its members are on those that they do not.
    external : dict of str to ndarray of float32, shape (E, C)
    holdout : ndarray of float32, shape (H, C)
    """

    card: ModelCard
    weights: Weights
    members: tuple[int, ...]
    value: float
    needed: float
    external: dict[str, Floats]
    holdout: Floats

    @property
    def good(self) -> bool:
        """Whether it is as good on images that it knows as it must be."""
        return self.value >= self.needed

    @property
    def flaw(self) -> str | None:
        """Why it is no candidate, in words; None where it is one."""
        if not self.good:
            return f"macro-F1 {self.value:.3f} on images it knows, {self.needed:.3f} out of fold"
        return "it is best with one fold alone" if len(self.members) == 1 else None


def make_soup(run: Run, results: Results) -> Soup:
    """Make the better of the uniform and the greedy soup, on a worker like those of the lanes."""
    problem, resources = run.prepared.problem, run.plan.resources_per_worker
    task = ray.remote(_cook).options(num_cpus=resources["CPU"], num_gpus=resources.get("GPU", 0))
    bundles = [run.space.bundle(task) for task in run.there]
    models = [(bundle / "model.safetensors").read_bytes() for bundle in bundles]
    cards = [ModelCard.read(bundle / "model.json") for bundle in bundles]
    card = joined_appearance(problem.card, cards)
    worth = [problem.select_by.value(result.measured) for result in results]
    order = sorted(range(len(worth)), key=lambda number: -worth[number])
    rows, right = _looked_at(problem, results)
    return ray.get(task.remote(problem, run.runtime, card, models, order, rows, right))


def _looked_at(problem: Problem, results: Results) -> tuple[Ints, float]:
    """Some images of the first repeat, and the macro-F1 of their out-of-fold predictions."""
    rows = np.concatenate([result.rows for result in results])
    predicted = np.concatenate([result.probabilities for result in results]).argmax(axis=1)
    _, first = np.unique(rows, return_index=True)
    # By a hash of the ids, so that what is looked at is not the beginning of a sorted set.
    keys = keys_of(problem.images.ids[rows[first]]).numpy()
    some = first[np.argsort(keys, kind="stable")[:ENOUGH]]
    return rows[some], macro_f1(problem.images.labels[rows[some]], predicted[some])


def _cook(
    problem: Problem,
    runtime: Runtime,
    card: ModelCard,
    models: Sequence[bytes],
    order: Sequence[int],
    rows: Ints,
    needed: float,
) -> Soup:
    problem = localize(problem)
    context = fold_context(problem, 0, problem.splits.folds, runtime, Workers(), no_frozen_features)
    weights = [load(model) for model in models]
    classes = len(card.class_names)
    network = Classifier(card.backbone, classes=classes, size=card.size, head=card.head)
    runtime.place(network)

    def mix(members: Sequence[Weights]) -> Weights:
        soup = uniform(members)
        if norms := moved_norms(members):
            network.load_state_dict(soup)
            with runtime.autocast():
                renew(network, norms, training_images(context))
            soup = {n: t.detach().to("cpu", copy=True) for n, t in network.state_dict().items()}
        return soup

    def score(mixed: Weights) -> float:
        network.load_state_dict(mixed)
        chosen = predict(context, network, context.pixels, rows).argmax(axis=1)
        return macro_f1(problem.images.labels[rows], chosen)

    whole = mix(weights)
    value, best = score(whole), greedy(weights, order, score, mix)
    members, soup = (best.members, best.weights) if best.score > value else (tuple(order), whole)
    network.load_state_dict(soup)
    appearance = card.appearance
    assert appearance is not None, "each fold's bundle has one"

    def answers(pixels: BatchLoader, rows: Ints) -> Floats:
        return predict_served(context, network, pixels, rows, lambda: appearance)

    return Soup(
        card,
        soup,
        tuple(sorted(members)),
        max(value, best.score),
        needed,
        {
            e.name: answers(context.externals[e.name], np.arange(len(e.images)))
            for e in problem.externals
        },
        answers(context.pixels, context.holdout),
    )

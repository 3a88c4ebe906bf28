"""Runs whose folds are finished, made without training: what comes after can be tested on them."""

import io
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from rich.console import Console

from distributed.planning.plan import Plan
from distributed.run import Run
from distributed.workspace import Workspace
from folds.adaptation import appearance_of
from folds.augment import to_input
from folds.config.corruptions import suite
from folds.evaluation.metrics import scores
from folds.evaluation.predictions import CorruptedPredictions
from folds.evaluation.shift import corrupted_scores
from folds.images.external import External
from folds.model.backbone import Classifier
from folds.model.bundle import bundle_files
from folds.prepare import Prepared
from folds.runtime.device import Runtime
from folds.splits.make import tasks
from folds.training.outcome import EpochReport
from folds.training.result import FoldResult
from folds.training.validate import external_scores
from tests.conftest import small_images, small_problem


def problem_of(images=None, *, externals=(), **settings):
    """A problem with external images of these names, and their sources in its settings."""
    settings = {"backbone": "test_resnet", **settings}
    sources = [f"{name}=there" for name in externals]
    plain = small_problem(images, external=sources, **settings)
    others = tuple(
        External(name, "there", small_images((8, 7, 6), seed=number + 1))
        for number, name in enumerate(externals)
    )
    return replace(plain, externals=others)


def weights_of(problem, seed=0):
    """A random network's."""
    torch.manual_seed(seed)
    card = problem.card
    network = Classifier(card.backbone, classes=len(card.class_names), size=32, head=card.head)
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def guesses(labels, classes, skill, rng):
    """Probabilities that are right about as often as `skill` says."""
    right = rng.random(len(labels)) < skill
    said = np.where(right, labels, rng.integers(0, classes, len(labels)))
    sure = rng.dirichlet(np.ones(classes), len(labels)) + 2 * np.eye(classes)[said]
    return (sure / sure.sum(axis=1, keepdims=True)).astype(np.float32)


def kept_of(problem, values):
    """The epoch that the settings keep."""
    last = problem.config.evaluation.choose_epoch == "last"
    return len(values) - 1 if last else int(np.argmax(values))


def epochs_of(problem, probabilities, epochs):
    """Logits after each epoch, less sure the earlier; of none but for ``crossfit``."""
    crossfit = problem.config.evaluation.choose_epoch == "crossfit"
    sure = [(epoch + 1) / epochs for epoch in range(epochs if crossfit else 0)]
    each = [factor * np.log(probabilities) for factor in sure]
    return np.array(each, np.float16).reshape(len(each), *probabilities.shape)


def history(values):
    """Epochs with these values of ``--select-by``."""
    return tuple(
        EpochReport(epoch, 0, 1.0, 1.1, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, value)
        for epoch, value in enumerate(values)
    )


def fold_of(problem, repeat, fold, *, skill=0.7, values=(0.5, 0.6, 0.4), weights=None):
    """The result of a fold; that of the number of folds is one on all images."""
    images, rng = problem.images, np.random.default_rng(100 * repeat + fold)
    classes, evaluation = len(images.class_names), problem.config.evaluation
    rows = problem.splits.parts(repeat, fold, images.ids)[1]
    true, held_out = images.labels[rows], problem.splits.holdout(images.ids)
    cases = tuple(suite(evaluation.shift))
    some = rows[: 1 + len(rows) // 2] if cases else rows[:0]
    wrong = rng.random((len(cases), len(some))) < 0.4
    corrupted = CorruptedPredictions(some, cases, (images.labels[some] + wrong) % classes)
    found = guesses(true, classes, skill, rng)
    other_views = {"tta": guesses(true, classes, skill, rng)} if problem.card.tta != "none" else {}
    external = {e.name: guesses(e.images.labels, classes, skill, rng) for e in problem.externals}
    own = scores(true, found) if len(rows) else {}
    measured = own | (corrupted_scores(images.labels, corrupted) if len(some) else {})
    for other in problem.externals:
        measured |= external_scores(other, external[other.name])
    inputs = to_input(torch.from_numpy(images.pixels[:40]), problem.size)
    return FoldResult(
        repeat=repeat, fold=fold, rows=rows, probabilities=found,
        weights=weights_of(problem, fold) if weights is None else weights,
        appearance=lambda: appearance_of([inputs], [1.0] * classes),
        typicality=lambda: None,
        history=history(values), kept_epoch=kept_of(problem, values), averaged=False, scores=own,
        holdout=guesses(images.labels[held_out], classes, skill, rng), other_views=other_views,
        other_view_scores={
            view: scores(true, seen) for view, seen in other_views.items() if len(rows)
        },
        corrupted=corrupted, external=external, measured=measured,
        features=rng.normal(size=(len(rows), 4)).astype(np.float32),
        epoch_logits=epochs_of(problem, found, len(values)),
    )  # fmt: skip


def finished_run(folder, problem, *, only=None, fold=fold_of, missing=None):
    """A run whose tasks have been trained, all but those in `missing`, by number with the cause.

    Returns
    -------
    Run, list of FoldOutcome
        The run, whose console writes to ``run.console.file``, and the results of its folds.
    """
    there = [task for task in tasks(problem.splits) if only is None or task[1] in only]
    prepared = Prepared(problem, there, "random", 1, ())
    space, names = Workspace(folder), prepared.names
    for number, (repeat, own) in enumerate(prepared.tasks):
        if number in (missing or {}):
            continue
        result = fold(problem, repeat, own)
        card = replace(problem.card, appearance=result.appearance())
        files = bundle_files(card, result.weights)
        space.write_outcome(number, result.outcome, files)
    ids = {str(number): f"run{number}" for number in range(len(names))}
    runs = SimpleNamespace(parent="parent", experiment_id="1", folds=ids)
    recorder = SimpleNamespace(runs=runs, store=SimpleNamespace(shown="sqlite:///x.db"))
    console = Console(file=io.StringIO(), width=200)
    plan = Plan("cpu", 1, 1, 1, len(there), cores=1)
    runtime = Runtime.choose("cpu", "fp32")
    run = Run(prepared, plan, runtime, space, recorder, console, missing=missing or {})
    return run, [space.read_outcome(number) for number in run.there]

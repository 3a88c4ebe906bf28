"""Which backbone to fine-tune: a linear probe of each on the same folds, and what each costs.

The networks are not trained. What a regression makes of their features tells backbones apart by
how they were pretrained in a minute; fine-tuning may change their order where scores are close.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.exceptions import RayError

from distributed.data.loader import LoadedOnce
from distributed.planning.plan import Plan
from distributed.search.backbones import named
from distributed.search.ranked import Ranked
from folds.arrays import Floats, Ints
from folds.config import Config
from folds.config.head import HeadShape
from folds.config.selection import SelectBy
from folds.config.stages import without_pretraining
from folds.errors import UserError, listed, reason
from folds.evaluation.gains import Rivals
from folds.evaluation.gate import beats
from folds.evaluation.intervals import intervals
from folds.evaluation.predictions import Predictions
from folds.images import ImageSet
from folds.model.backbone import build
from folds.model.weights import State
from folds.prepare import Loader, Prepared, prepare
from folds.runtime.device import Runtime
from folds.splits.manifest import HOLDOUT, SplitManifest
from folds.training.features import Cost, pooled_features
from folds.training.linear_probe import FEWEST_FOLDS, linear_probe
from folds.training.problem import Problem


@dataclass(frozen=True)
class _Work:
    """What a worker is asked: `fold` (N,) is -1 for images of the hold-out."""

    backbone: str
    size: int
    pretrained: State | None
    head: HeadShape
    fold: Ints
    precision: str


@dataclass(frozen=True)
class _Found:
    """What it makes of it: probabilities (M, C) of the images that are in folds, and the cost."""

    probabilities: Floats
    strengths: tuple[float, ...]
    features: int
    cost: Cost


@dataclass(frozen=True)
class _Entrant:
    """A backbone that is being computed; the arrays (M,) are of the images that are in folds."""

    name: str
    weights: str
    size: int
    splits: SplitManifest
    ids: NDArray[np.str_]
    labels: Ints
    groups: NDArray[np.str_]
    fold: Ints
    found: "ray.ObjectRef"

    def predictions(self, found: _Found) -> Predictions:
        """By the images' ids."""
        order = np.argsort(self.ids, kind="stable")
        fold = self.fold[order]
        return Predictions(
            self.labels[order], found.probabilities[order], self.groups[order], fold,
            np.zeros_like(fold), self.splits.folds,
        )  # fmt: skip


def rank(
    config: Config,
    backbones: Sequence[str],
    load: Loader,
    tell: Callable[[str], None],
    plan: Plan,
) -> list[Ranked]:
    """Compare backbones by a linear probe, on the cluster that Ray has joined.

    Parameters
    ----------
    config : Config
        The settings; of the backbone, its weights and its training none count. Where they say
        ``--weights auto``, weights come from the hub or not at all. With repeats the first counts.
    backbones : sequence of str
        See `distributed.search.backbones.read_backbones`.
    load : Loader
        Brings in the images; is called once for each size.
    tell : callable
        Is given lines for the user.
    plan : Plan
        Of which device, and cores or share of a GPU of a worker count.

    Returns
    -------
    list of Ranked
        The best first, by ``--select-by``.

    Raises
    ------
    UserError
        No backbone can be used; ``--select-by`` asks for what a probe is not scored on; there are
        too few folds; or the images of two backbones are divided differently.

    Notes
    -----
    - a backbone that cannot be used is told, and the others are ranked;
    - all are compared on the same images in the same folds.
    """
    select = _checked(config)
    entrants = _entered(config, backbones, LoadedOnce(load), tell, plan)
    scored = []
    for entrant in entrants:
        if (found := _result(entrant, tell)) is not None:
            predictions = entrant.predictions(found)
            scored.append((_ranked(entrant, found, predictions, select), predictions))
    if not scored:
        raise UserError("--backbones: none could be computed; lower their number or size")
    scored.sort(key=lambda pair: -pair[0].value)
    best, of_best = scored[0]
    return [best, *(_beside(one, best, (its, of_best), select) for one, its in scored[1:])]


def _checked(config: Config) -> SelectBy:
    """What backbones are ranked by."""
    select = SelectBy.parse(config.evaluation.select_by)
    if elsewhere := [name for name in select.names if "." in name]:
        raise UserError(
            f"--select-by {select}: a probe is scored on its own folds alone; leave out "
            f"{listed(elsewhere)}"
        )
    if config.split.folds < FEWEST_FOLDS and config.split.splits is None:
        raise UserError(_too_few(config.split.folds))
    return select


def _too_few(folds: int) -> str:
    return f"--folds {folds}: a probe chooses its penalty in the other folds; use {FEWEST_FOLDS}"


def _entered(
    config: Config,
    backbones: Sequence[str],
    load: Loader,
    tell: Callable[[str], None],
    plan: Plan,
) -> list[_Entrant]:
    """Send each backbone that can be used to a worker, while the next is prepared."""
    images: dict[str, ray.ObjectRef] = {}
    entrants: list[_Entrant] = []
    failed: dict[str, str] = {}
    told: set[str] = set()
    for entry in backbones:
        try:
            prepared = prepare(_settings(config, entry), load=load, test=False)
        except UserError as error:
            failed[entry] = str(error)
            continue
        _check_same(prepared.problem, entry, entrants)
        for notice in prepared.notices:
            if notice not in told:
                told.add(notice)
                tell(f"notice: {notice}")
        found = prepared.problem.images
        if found.digest not in images:
            images[found.digest] = ray.put(found)
        entrants.append(_entrant(entry, prepared, images[found.digest], plan))
    if not entrants:
        raise UserError(_none_of(failed))
    for entry, why in failed.items():
        tell(f"notice: {entry} is left out: {why}")
    return entrants


def _settings(config: Config, entry: str) -> Config:
    """The settings with a backbone, and without what a probe has no use for."""
    name, weights = named(entry)
    if weights is None:
        weights = "hub" if config.model.weights == "auto" else config.model.weights
    model = config.model.model_copy(update={"backbone": name, "weights": weights})
    evaluation = config.evaluation.model_copy(update={"external": ()})
    stages = without_pretraining(config.train.stages)  # nothing is trained: no word about that
    train = config.train.model_copy(update={"stages": stages})
    return config.model_copy(update={"model": model, "evaluation": evaluation, "train": train})


def _check_same(problem: Problem, entry: str, entrants: Sequence[_Entrant]) -> None:
    if problem.splits.folds < FEWEST_FOLDS:
        raise UserError(_too_few(problem.splits.folds))
    if not entrants:
        return
    first = entrants[0]
    if problem.splits.digest != first.splits.digest:
        raise UserError(
            f"--backbones: the images are divided differently for {entry} ({problem.size} px) and "
            f"{first.name} ({first.size} px), since near-duplicates were found "
            "at another size; give all of them one with --image-size"
        )


def _none_of(failed: dict[str, str]) -> str:
    """What went wrong, in one line: that of all where it is the same for all."""
    reasons = list(dict.fromkeys(failed.values()))
    if len(reasons) == 1:
        return reasons[0]
    return f"--backbones: none can be used: {listed(reasons, most=2)}"


def _entrant(entry: str, prepared: Prepared, images: "ray.ObjectRef", plan: Plan) -> _Entrant:
    """Send a backbone to a worker."""
    problem = prepared.problem
    fold = problem.splits.of(problem.images.ids)[0]
    head = HeadShape(problem.config.model.pool)
    precision = problem.config.train.precision
    work = _Work(problem.backbone, problem.size, problem.pretrained, head, fold, precision)
    resources = plan.resources_per_worker
    task = ray.remote(
        num_cpus=resources["CPU"],
        num_gpus=resources.get("GPU", 0),
        max_calls=1,  # its process ends, and frees what the device held
    )(_probed)
    mine, all_of_them = fold != HOLDOUT, problem.images
    return _Entrant(
        name=entry,
        weights=prepared.weights,
        size=problem.size,
        splits=problem.splits,
        ids=all_of_them.ids[mine],
        labels=all_of_them.labels[mine],
        groups=all_of_them.groups[mine],
        fold=fold[mine],
        found=task.remote(images, work, plan.device, plan.threads),
    )


def _probed(images: ImageSet, work: _Work, device: str, threads: int) -> _Found:
    """Features and probe of a backbone, on a worker."""
    torch.set_num_threads(threads)  # Ray leaves it one
    runtime = Runtime.choose(device, work.precision)
    classes = len(images.class_names)
    model = build(
        work.backbone, classes=classes, size=work.size, dropout=0.0, pretrained=work.pretrained,
        seed=0, head=work.head,
    )  # fmt: skip
    features, cost = pooled_features(images, model, runtime)
    mine = work.fold != HOLDOUT
    probe = linear_probe(
        features[mine], images.labels[mine], work.fold[mine], classes, device=runtime.device
    )
    return _Found(probe.probabilities, probe.strengths, features.shape[1], cost)


def _result(entrant: _Entrant, tell: Callable[[str], None]) -> _Found | None:
    try:
        return ray.get(entrant.found)
    except RayError as error:  # of one backbone, such as a device that is too small for it
        cause = getattr(error, "cause", None) or error
        tell(f"notice: {entrant.name} is left out: {reason(cause)}")
        return None


def _ranked(entrant: _Entrant, found: _Found, predictions: Predictions, select: SelectBy) -> Ranked:
    scores = intervals(predictions).pooled
    cost = found.cost
    return Ranked(
        name=entrant.name,
        weights=entrant.weights,
        by=str(select),
        value=select.value({name: score.value for name, score in scores.items()}),
        scores=scores,
        size=entrant.size,
        features=found.features,
        seconds=cost.seconds,
        parameters=cost.parameters,
        memory=cost.memory,
        strengths=found.strengths,
    )


def _beside(
    one: Ranked, best: Ranked, pair: tuple[Predictions, Predictions], select: SelectBy
) -> Ranked:
    """With what lies between it and the best."""
    check = beats(Rivals(pair), select)
    return replace(one, behind=best.value - one.value, tied=not check.passed, why=check.text)

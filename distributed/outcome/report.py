"""What the page of a run tells, from what the run has found."""

import importlib.metadata
import platform
import shlex
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distributed.outcome.assessment import Assessment
from distributed.outcome.candidates import Choice
from distributed.outcome.pooling import Pooled, Results
from distributed.run import Run
from folds.arrays import Ints
from folds.audit.embedding import in_the_plane
from folds.config import Config
from folds.config.scores import LOSSES
from folds.evaluation.calibration import reliability
from folds.evaluation.metrics import confusion, macro_f1
from folds.training.outcome import FoldOutcome
from tracking import summary as told
from tracking.report import average_by_image, confident_mistakes, facts, least_certain
from tracking.summary import Summary

_VERSIONS = ("crossfold", "torch", "timm", "kornia", "ray", "mlflow", "scikit-learn", "numpy")
_TITLES = {"tta": "out of fold, TTA", "augmented": "out of fold, augmented"}


def page_facts(
    run: Run,
    results: Results,
    pooled: Pooled,
    said: Assessment,
    choice: Choice,
    summary: Summary,
    sheet: Path,
) -> facts.Report:
    """Gather them.

    Parameters
    ----------
    sheet : Path
        The picture of what augmentation does.
    """
    images, oof = run.prepared.problem.images, pooled.oof
    row_of = {name: row for row, name in enumerate(images.ids.tolist())}
    seen = average_by_image(oof.labels, oof.probabilities, pooled.ids)

    def pixels(rows: Ints) -> NDArray[np.uint8]:
        return images.pixels[np.array([row_of[name] for name in pooled.ids[rows].tolist()])]

    return facts.Report(
        run=_head(run, summary, len(seen.rows)),
        scores=_estimates(summary.oof_intervals),
        over_folds={n: (s.mean, s.std) for n, s in summary.over_folds.items()},
        gap=_gap(summary.config["select_by"], summary.gap),
        elsewhere=_elsewhere(summary, len(seen.rows)),
        candidates=_candidates(summary),
        registered=facts.Registered(
            summary.registered.kind, summary.registered.name, summary.registered.version,
            summary.registered.why,
        ),
        folds=_folds(run, results, summary),
        confusion=confusion(oof.labels, oof.probabilities),
        calibration=_calibration(pooled, said),
        classes=[_class(found) for found in summary.classes],
        shift=_shift(images.labels, pooled, summary),
        mistakes=confident_mistakes(seen, images.class_names, pixels),
        unsure=least_certain(seen, images.class_names, pixels),
        augmentation=sheet,
        map=_map(images.labels, results[choice.best]),
        origin=_origin(run, summary),
    )  # fmt: skip


def _gap(metric: str, found: told.Gap) -> facts.Gap:
    """The gap in the score itself: the value of a loss alone is its negative."""
    turn = -1 if metric in LOSSES else 1
    return facts.Gap(metric, turn * found.best, turn * found.last)


def _head(run: Run, summary: Summary, scored: int) -> facts.Run:
    config, images = run.config, run.prepared.problem.images
    return facts.Run(
        name=summary.name,
        source=config.data.data,
        images=len(images),
        class_names=images.class_names,
        backbone=config.model.backbone,
        folds=len({fold.fold for fold in summary.folds}),
        date=time.strftime("%Y-%m-%d"),
        repeats=config.split.repeats,
        notices=summary.notices,
        scored=scored,
    )


def _estimate(found: told.Estimate) -> facts.Estimate:
    value = float("nan") if found.value is None else found.value
    return facts.Estimate(value, found.low, found.high)


def _estimates(found: dict[str, told.Estimate]) -> dict[str, facts.Estimate]:
    return {name: _estimate(one) for name, one in found.items()}


def _plain(found: told.Scores) -> dict[str, facts.Estimate]:
    """Scores without intervals; those that are not defined are left out."""
    return {name: facts.Estimate(value) for name, value in found if value is not None}


def _elsewhere(summary: Summary, scored: int) -> list[facts.ScoreRow]:
    rows = [
        facts.ScoreRow(_TITLES[view], "the folds", scored, _plain(found))
        for view, found in summary.oof_other_views.items()
    ]
    tests = dict(summary.external)
    if summary.holdout is not None:
        tests["hold-out"] = summary.holdout
    return rows + [
        facts.ScoreRow(name, kind.replace("-", " "), test.images, _plain(found))
        for name, test in tests.items()
        for kind, found in test.models.items()
    ]


def _candidates(summary: Summary) -> list[facts.Candidate]:
    return [
        facts.Candidate(found.kind, _plain(found.scores), found.evidence)
        for found in summary.candidates
    ]


def _folds(run: Run, results: Results, summary: Summary) -> list[facts.Fold]:
    return [
        facts.Fold(
            name, fold.best_epoch, fold.epochs,
            {n: v for n, v in fold.scores if v is not None},
            sum(fold.stage_seconds), [asdict(report) for report in result.history],
        )
        for name, fold, result in zip(run.prepared.names, summary.folds, results, strict=False)
    ]  # fmt: skip


def _calibration(pooled: Pooled, said: Assessment) -> facts.Calibration:
    labels = pooled.oof.labels
    before = pooled.other_views.get("tta", pooled.oof.probabilities)
    one, two = (facts.Bins(**vars(reliability(labels, p))) for p in (before, said.calibrated))
    after = {n: facts.Estimate(i.value, i.low, i.high) for n, i in said.after.pooled.items()}
    return facts.Calibration(said.temperature, one, two, after)


def _class(found: told.ClassSummary) -> facts.ClassScores:
    each = (_estimate(one) for one in (found.precision, found.recall, found.f1))
    return facts.ClassScores(found.name, found.images, *each)


def _shift(labels: Ints, pooled: Pooled, summary: Summary) -> facts.Shift | None:
    found, clean = summary.oof_shift, pooled.shift.clean
    if found is None:
        return None
    true = labels[pooled.shift.rows]
    names = {"accuracy": "shift.accuracy", "macro_f1": "shift.macro_f1"}
    return facts.Shift(
        images=found.images,
        clean={
            "accuracy": float((clean == true).mean()),
            "macro_f1": macro_f1(true, clean),
        },
        mean={name: _estimate(found.intervals[own]) for name, own in names.items()},
        cases=[facts.ShiftCase(**case.model_dump()) for case in found.cases],
    )


def _map(labels: Ints, best: FoldOutcome) -> facts.FeatureMap | None:
    """The best fold's validation images by the features of its model, which has not seen them."""
    rows = best.rows[: len(best.features)]
    places = in_the_plane(best.features)
    if places is None:
        return None
    wrong = best.probabilities[: len(rows)].argmax(axis=1) != labels[rows]
    return facts.FeatureMap(places, labels[rows], wrong)


def _origin(run: Run, summary: Summary) -> facts.Origin:
    return facts.Origin(
        command=reproduce(run.config),
        config=summary.config,
        versions={name: importlib.metadata.version(name) for name in _VERSIONS},
        digests={
            name: getattr(summary, name)
            for name in ("config_digest", "data_digest", "splits_digest", "weights")
        },
        hardware={
            "plan": summary.plan,
            "runtime": run.runtime.describe(),
            "driver": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
        },
        seconds=summary.seconds,
    )


def reproduce(config: Config) -> str:
    """The command that does a run again, with the settings that are not the defaults."""
    usual, words = Config().flat(), ["python", "-m", "distributed.cv"]
    for name, value in config.flat().items():
        if value != usual[name] and value is not None:
            words += _flag(f"--{name.replace('_', '-')}", value)
    return shlex.join(words)


def _flag(flag: str, value: Any) -> list[str]:
    """Words that the command line reads back as this value."""
    if value is True:
        return [flag]
    if flag == "--external":
        return [word for one in value for word in (flag, one)]
    if flag == "--head-layers":
        value = ",".join(map(str, value))
    if isinstance(value, dict):
        value = ",".join(f"{key}={number}" for key, number in value.items())
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [f"{flag}={value}"] if str(value).startswith("-") else [flag, str(value)]

"""A run that never was: predictions that are mostly right, and all that is told of them."""

import numpy as np
from PIL import Image

from folds.evaluation.calibration import reliability, tempered
from folds.evaluation.metrics import confusion
from folds.evaluation.tradeoffs import tradeoffs
from folds.model.decision import decision_of
from folds.training.outcome import EpochReport
from tests.tracking.conftest import FORMAT_1
from tracking.decisions import SetScores, describe_decision
from tracking.report.gallery import average_by_image, confident_mistakes, least_certain
from tracking.report.visuals import FeatureMap, Visuals
from tracking.summary_file import read_summary
from tracking.summary_parts import (
    Calibration,
    CandidateSummary,
    Case,
    ClassSummary,
    CleanScores,
    EpochChoice,
    Estimate,
    FoldSummary,
    Registered,
    ScoredOn,
    Scores,
    ShiftSummary,
    SlicesSummary,
    SliceSummary,
    Software,
    Spread,
)

CORRUPTIONS = ("gaussian_noise", "impulse_noise", "glass_blur", "stain", "jpeg", "occlusion")


def near(value, width=0.007):
    return Estimate(value=value, low=value - width, high=min(value + 0.9 * width, 1.0))


UNKNOWN = Estimate(value=None, low=None, high=None)


def scores(accuracy, **others):
    usual = {
        "balanced_accuracy": accuracy - 0.004, "macro_f1": accuracy - 0.005, "roc_auc": 0.997,
        "log_loss": 0.16, "brier": 0.08, "ece": 0.02,
    }  # fmt: skip
    return Scores(accuracy=accuracy, **usual | others)


def predictions(count, classes, rng):
    """Labels and probabilities of which about 95% are right, mistakes among neighbours."""
    labels = rng.integers(0, classes, count)
    logits = rng.normal(0, 1, (count, classes))
    logits[np.arange(count), labels] += 4.6
    logits[np.arange(count), (labels + 1) % classes] += 1.2
    odds = np.exp(logits * 1.3)
    return labels, (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def history(epochs, stages, rng):
    progress = np.linspace(0, 1, epochs)
    return [
        EpochReport(
            epoch=epoch,
            stage=epoch * stages // epochs,
            train_loss=0.55 + 1.4 * np.exp(-4 * at) + rng.normal(0, 0.02),
            first_loss=2.0,
            val_loss=0.16 + 1.2 * np.exp(-5 * at) + rng.normal(0, 0.02) + 0.05 * at,
            val_accuracy=0.955 - 0.5 * np.exp(-5 * at) + rng.normal(0, 0.006),
            val_macro_f1=0.95 - 0.55 * np.exp(-5 * at) + rng.normal(0, 0.006),
            learning_rate=1e-3,
            images_per_second=100.0,
            seconds=5.0,
            score=0.9,
        )
        for epoch, at in enumerate(progress)
    ]


def fold(number, reports, rng):
    best = int(np.argmax([report.val_macro_f1 for report in reports]))
    own = scores(reports[best].val_accuracy, macro_f1=reports[best].val_macro_f1)
    return FoldSummary(
        name=f"fold {number + 1}", repeat=0, fold=number, mlflow_run=f"run{number}",
        kept_epoch=best + 1, averaged=False, epochs=len(reports),
        stage_seconds=[float(rng.uniform(60, 90))], images_per_second=100.0, scores=own,
        other_views={}, measured={},
    )  # fmt: skip


def classes_of(counts, names):
    found = np.diag(counts)
    recall = found / np.maximum(counts.sum(axis=1), 1)
    precision = found / np.maximum(counts.sum(axis=0), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return [
        ClassSummary(
            name=name, images=int(support), precision=near(p, 0.02), recall=near(r, 0.03),
            f1=near(f, 0.02), roc_auc=near(0.99),
        )
        for name, support, p, r, f in zip(
            names, counts.sum(axis=1), precision, recall, f1, strict=True
        )
    ]  # fmt: skip


def cases_of(corruptions=CORRUPTIONS, severities=(3,)):
    drops = 0.02 + 0.5 * (np.arange(len(corruptions)) * 7 % len(corruptions)) / len(corruptions)
    return [
        Case(
            corruption=name, severity=s, accuracy=0.951 - drop * s / max(severities),
            macro_f1=0.946 - drop * s / max(severities),
        )
        for name, drop in zip(corruptions, drops, strict=True)
        for s in severities
    ]  # fmt: skip


def shift(corruptions=CORRUPTIONS, severities=(3,)):
    cases = cases_of(corruptions, severities)
    means = {
        score: float(np.mean([getattr(case, score) for case in cases]))
        for score in ("accuracy", "macro_f1")
    }
    return ShiftSummary(
        images=400, **means, worst=corruptions[0], worst_macro_f1=0.4, cases=cases,
        intervals={f"shift.{score}": near(mean, 0.012) for score, mean in means.items()},
        clean=CleanScores(accuracy=0.951, macro_f1=0.946),
    )  # fmt: skip


def sheet(width=900, height=300):
    pixels = np.random.default_rng(3).integers(0, 255, (height // 30, width // 30, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height))


def places(labels, rng):
    centres = rng.normal(0, 8, (labels.max() + 1, 2))
    return (centres[labels] + rng.normal(0, 1.8, (len(labels), 2))).astype(np.float32)


def noise(rows):
    return np.random.default_rng(len(rows)).integers(0, 255, (len(rows), 48, 48, 3), np.uint8)


def warm(rows, pixels, classes):
    return np.random.default_rng(len(rows)).normal(size=(len(rows), 8, 8)).astype(np.float32)


SCORES = {
    "accuracy": near(0.951),
    "balanced_accuracy": near(0.947),
    "macro_f1": near(0.946),
    "roc_auc": near(0.9972, 0.0008),
    "log_loss": near(0.162, 0.011),
    "brier": near(0.077, 0.006),
    "ece": near(0.021, 0.004),
}


def decision(names, labels, probabilities):
    """What is known of its answers, and nothing of other images."""
    rows = np.arange(len(labels))
    made = decision_of(
        names, labels, probabilities, rows, coverage=0.9, costs=None, evidence="out-of-fold"
    )
    return describe_decision(
        made, labels, probabilities, rows, rows % 5, elsewhere={},
        shift={"glass_blur": SetScores(images=400, coverage=0.4, size=1.2, single=0.5, empty=0.1)},
    )  # fmt: skip


def told(names=("a", "b"), **changed):
    """A summary of a run of classes with these names."""
    plain = read_summary(FORMAT_1)
    config = plain.config | {"data": "cells/", "backbone": "mobilenetv2_100"}
    after = {"log_loss": near(0.149, 0.004), "brier": near(0.075, 0.004), "ece": near(0.008, 0.004)}
    usual = {
        "name": "cells-strong",
        "date": "2026-11-21",
        "config": config,
        "images": 400,
        "scored": 400,
        "class_names": list(names),
        "class_images": dict.fromkeys(names, 40),
        "groups": 400,
        "software": Software(
            system="Linux", python="3.11", packages={"torch": "2.15.0", "crossfold": "0.1.0"}
        ),
        "over_folds": {
            "accuracy": Spread(mean=0.951, std=0.004), "macro_f1": Spread(mean=0.945, std=0.005)
        },
        "oof_intervals": SCORES,
        "calibration": Calibration(temperature=1.24, scores=SCORES | after),
        "epoch_choice": EpochChoice(rule="last", best=0.948, last=0.943, crossfit=0.944),
        "oof_other_views": {},
        "oof_shift": None,
        "holdout": ScoredOn(
            images=120, models={"best-fold": scores(0.942), "ensemble": scores(0.958)}
        ),
        "candidates": [
            CandidateSummary(
                kind=kind, members=1, evidence=evidence, scores=scores(0.95), value=0.9
            )
            for kind, evidence in (
                ("best-fold", "out of fold"), ("ensemble", "out of fold: a lower bound")
            )
        ],
        "registered": Registered(
            name="crossfold", version="3", alias="candidate", kind="ensemble",
            why="its macro-F1 is the best", fold=None, repeat=None,
        ),
        "notices": ["batch norm sees each worker's part of a batch only"],
    }  # fmt: skip
    return plain.model_copy(update=usual | changed)


def planted(classes=8, count=400, *, names=None, ids=None, severities=(3,),
            corruptions=CORRUPTIONS, folds=5, seed=0, **changed):  # fmt: skip
    """Everything that a page can tell: its summary, and what it draws."""
    rng = np.random.default_rng(seed)
    names = tuple(names or (f"class {number}" for number in range(classes)))
    labels, probabilities = predictions(count, classes, rng)
    ids = np.array([f"image{row:05d}" for row in range(count)]) if ids is None else ids
    by_image = average_by_image(labels, probabilities, ids)
    counts = confusion(labels, probabilities)
    histories = [history(18, 3, rng) for _ in range(folds)]
    summary = told(
        names,
        images=count,
        scored=count,
        folds=[fold(number, reports, rng) for number, reports in enumerate(histories)],
        classes=classes_of(counts, names),
        oof_shift=shift(corruptions, severities),
        **{"decision": decision(names, labels, probabilities)} | changed,
    )
    return summary, Visuals(
        histories=histories,
        confusion=counts,
        trained=reliability(labels, probabilities),
        tempered=reliability(labels, tempered(probabilities, 1.24)),
        tradeoffs=tradeoffs(labels, probabilities),
        mistakes=confident_mistakes(by_image, names, noise, warm),
        unsure=least_certain(by_image, names, noise),
        augmentation=sheet(),
        map=FeatureMap(places(labels, rng), labels, probabilities.argmax(axis=1) != labels),
    )


def slices(*values, worst=None):
    """Scores of a column's values, the first the best, of 40 images each but the last."""
    rows = [
        SliceSummary(
            value=value,
            images=40 if number < len(values) - 1 else 3,
            enough=number < len(values) - 1,
            accuracy=near(0.9 - number / 20),
            macro_f1=near(0.8 - number / 20),
        )
        for number, value in enumerate(values)
    ]
    return SlicesSummary(worst=worst, values=rows)

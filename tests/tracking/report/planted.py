"""A run that never was: predictions that are mostly right, and all that is told of them."""

import io

import numpy as np
from PIL import Image

from tracking.report.facts import (
    Bins,
    Calibration,
    Candidate,
    ClassScores,
    Estimate,
    FeatureMap,
    Fold,
    Gap,
    Origin,
    Registered,
    Report,
    Run,
    ScoreRow,
    Shift,
    ShiftCase,
)
from tracking.report.gallery import average_by_image, confident_mistakes, least_certain

CORRUPTIONS = ("gaussian_noise", "impulse_noise", "glass_blur", "stain", "jpeg", "occlusion")


def near(value, width=0.007):
    return Estimate(value, value - width, min(value + 0.9 * width, 1.0))


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
        {
            "epoch": epoch,
            "stage": epoch * stages // epochs,
            "train_loss": 0.55 + 1.4 * np.exp(-4 * at) + rng.normal(0, 0.02),
            "val_loss": 0.16 + 1.2 * np.exp(-5 * at) + rng.normal(0, 0.02) + 0.05 * at,
            "val_accuracy": 0.955 - 0.5 * np.exp(-5 * at) + rng.normal(0, 0.006),
            "val_macro_f1": 0.95 - 0.55 * np.exp(-5 * at) + rng.normal(0, 0.006),
            "ema_loss": None,
        }
        for epoch, at in enumerate(progress)
    ]


def fold(number, rng, epochs=18):
    reports = history(epochs, 3, rng)
    best = int(np.argmax([report["val_macro_f1"] for report in reports]))
    accuracy = reports[best]["val_accuracy"]
    scores = {
        "accuracy": accuracy,
        "balanced_accuracy": accuracy - 0.004,
        "macro_f1": reports[best]["val_macro_f1"],
        "roc_auc": 0.997,
        "log_loss": reports[best]["val_loss"],
    }
    seconds = float(rng.uniform(60, 90))
    return Fold(f"fold {number}", best + 1, epochs, scores, seconds, reports)


def bins(labels, probabilities, power=1.0):
    confidence = probabilities.max(axis=1) ** power
    right = probabilities.argmax(axis=1) == labels
    edges = np.linspace(0, 1, 16)
    place = np.clip(np.digitize(confidence, edges) - 1, 0, 14)
    counts = np.bincount(place, minlength=15)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(place, v, minlength=15) / counts for v in (confidence, right)]
    return Bins(edges, means[0], means[1], counts)


def classes_of(confusion, names):
    found = np.diag(confusion)
    recall = found / np.maximum(confusion.sum(axis=1), 1)
    precision = found / np.maximum(confusion.sum(axis=0), 1)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    return [
        ClassScores(name, int(support), near(p, 0.02), near(r, 0.03), near(f, 0.02))
        for name, support, p, r, f in zip(
            names, confusion.sum(axis=1), precision, recall, f1, strict=True
        )
    ]


def shift(corruptions=CORRUPTIONS, severities=(3,)):
    drops = 0.02 + 0.5 * (np.arange(len(corruptions)) * 7 % len(corruptions)) / len(corruptions)
    cases = [
        ShiftCase(name, s, 0.951 - drop * s / max(severities), 0.946 - drop * s / max(severities))
        for name, drop in zip(corruptions, drops, strict=True)
        for s in severities
    ]
    mean = {
        score: near(float(np.mean([getattr(case, score) for case in cases])), 0.012)
        for score in ("accuracy", "macro_f1")
    }
    return Shift(400, {"accuracy": 0.951, "macro_f1": 0.946}, mean, cases)


def sheet_bytes(width=900, height=300):
    pixels = np.random.default_rng(3).integers(0, 255, (height // 30, width // 30, 3), np.uint8)
    picture = Image.fromarray(pixels).resize((width, height))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def places(labels, rng):
    centres = rng.normal(0, 8, (labels.max() + 1, 2))
    return (centres[labels] + rng.normal(0, 1.8, (len(labels), 2))).astype(np.float32)


def noise(rows):
    return np.random.default_rng(len(rows)).integers(0, 255, (len(rows), 48, 48, 3), np.uint8)


SCORES = {
    "accuracy": near(0.951),
    "balanced_accuracy": near(0.947),
    "macro_f1": near(0.946),
    "roc_auc": near(0.9972, 0.0008),
    "log_loss": near(0.162, 0.011),
    "brier": near(0.077, 0.006),
    "ece": near(0.021, 0.004),
}


def planted(classes=8, count=400, *, names=None, ids=None, pixels=noise, severities=(3,),
            corruptions=CORRUPTIONS, folds=5, seed=0):  # fmt: skip
    """Everything that a page can tell."""
    rng = np.random.default_rng(seed)
    names = tuple(names or (f"class {number}" for number in range(classes)))
    labels, probabilities = predictions(count, classes, rng)
    ids = np.array([f"image{row:05d}" for row in range(count)]) if ids is None else ids
    found = average_by_image(labels, probabilities, ids)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, probabilities.argmax(axis=1)), 1)
    after = {name: near(value, 0.004) for name, value in
             (("log_loss", 0.149), ("brier", 0.075), ("ece", 0.008))}  # fmt: skip
    ensemble = {"accuracy": near(0.951), "macro_f1": near(0.946)}
    return Report(
        run=Run("cells-strong", "cells/", count, names, "mobilenetv2_100", folds, "2026-11-21",
                notices=("batch norm sees each worker's part of a batch only",)),
        scores=SCORES,
        over_folds={"accuracy": (0.951, 0.004), "macro_f1": (0.945, 0.005)},
        gap=Gap("macro_f1", 0.948, 0.943),
        elsewhere=[
            ScoreRow("hold-out", "best fold", 120, {"accuracy": near(0.942, 0.03)}),
            ScoreRow("hold-out", "ensemble", 120, {"accuracy": near(0.958, 0.03)}),
        ],
        candidates=[
            Candidate("best-fold", {"macro_f1": near(0.943)}, "out of fold"),
            Candidate("ensemble", ensemble, "out of fold: a lower bound"),
        ],
        registered=Registered("ensemble", "crossfold", "3", "Its macro-F1 is the best."),
        folds=[fold(number + 1, rng) for number in range(folds)],
        confusion=confusion,
        calibration=Calibration(1.24, bins(labels, probabilities),
                                bins(labels, probabilities, 1.1), after),
        classes=classes_of(confusion, names),
        shift=shift(corruptions, severities),
        mistakes=confident_mistakes(found, names, pixels),
        unsure=least_certain(found, names, pixels),
        augmentation=sheet_bytes(),
        map=FeatureMap(places(labels, rng), labels, probabilities.argmax(axis=1) != labels),
        origin=Origin(
            "python -m distributed.cv --data cells --recipe strong --seed 0",
            {"data": "cells", "folds": folds, "limit": None, "stages": ["0:3:1e-3", "1:15:1e-4"]},
            {"python": "3.11", "torch": "2.15.0", "crossfold": "0.1.0"},
            {"data": "5f0c" * 16, "splits": "a1b2" * 16},
            {"device": "cpu", "precision": "bf16"},
            {"images": 2.1, "folds": 171.0, "total": 183.4},
        ),
    )  # fmt: skip

"""Searches that never were."""

import numpy as np

from tracking.search.summary import AuditedStops, OuterFold, SearchSummary, TrialSummary
from tracking.summary_parts import Estimate, MlflowIds, ScoredOn, Scores

SPACE = {
    "optimizer": {"choice": ["adamw", "lion", "sgd"]},
    "ema": {"choice": [0, 0.99], "when": {"optimizer": "adamw"}},
    "layer_decay": {"uniform": [0.6, 1]},
    "weight_decay": {"loguniform": ["1e-4", "1e-1"]},
    "label_smoothing": {"choice": [0, 0.05, 0.1]},
    "head_layers": {"choice": [[], [128], [512, 128]]},
    "rate": {"loguniform": ["1e-5", "5e-4"]},
    "epochs": {"int": [3, 9]},
    "stages": ["0:3:1e-3", "1:{epochs}:{rate}"],
}
SHARES = {
    "optimizer": 0.55, "rate": 0.29, "epochs": 0.06, "weight_decay": 0.04, "layer_decay": 0.03,
    "label_smoothing": 0.02, "head_layers": 0.01, "ema": 0.0,
}  # fmt: skip
FOLDS = [f"fold {number}" for number in (3, 1, 5, 2, 4)]


def near(value, width=0.008):
    return Estimate(value=value, low=value - width, high=value + 0.9 * width)


def draw(rng):
    """Values of a trial, and how good they are."""
    optimizer = ("adamw", "lion", "sgd")[rng.integers(3)]
    rate = float(10 ** rng.uniform(-5, np.log10(5e-4)))
    values = {
        "optimizer": optimizer,
        "layer_decay": float(rng.uniform(0.6, 1)),
        "weight_decay": float(10 ** rng.uniform(-4, -1)),
        "label_smoothing": (0, 0.05, 0.1)[rng.integers(3)],
        "head_layers": ([], [128], [512, 128])[rng.integers(3)],
        "rate": rate,
        "epochs": int(rng.integers(3, 10)),
    }
    if optimizer == "adamw":
        values["ema"] = (0, 0.99)[rng.integers(2)]
    good = 0.952 - 0.03 * (np.log10(rate) + 3.9) ** 2 - 0.02 * (optimizer == "sgd")
    return values, good + 0.0015 * values["epochs"] - 0.01


def trial(number, values, scores, state, **changed):
    usual = {
        "mean": float(np.mean(scores)) if state == "complete" else None,
        "why": None,
        "oof": near(float(np.mean(scores))) if state == "complete" else None,
        "difference": None,
        "p": None,
        "tied": False,
        "audited": False,
        "mlflow_run": f"{number:032x}",
    }  # fmt: skip
    return TrialSummary(
        number=number, values=values, scores=scores, state=state,
        seconds=[11.0 + 0.1 * number] * len(scores), **usual | changed,
    )  # fmt: skip


def race(count, seed=0, folds=5, draw=draw):
    """Trials of which bad ones are stopped and one has failed."""
    rng = np.random.default_rng(seed)
    hard, trials, best = rng.normal(0, 0.006, folds), [], -np.inf
    for number in range(1, count + 1):
        values, good = draw(rng)
        scores = [float(good + own + rng.normal(0, 0.004)) for own in hard]
        if number % 13 == 6 and folds > 1:
            scores = [*scores[:1], 0.31]
            trials.append(trial(number, values, scores, "failed", why="loss is not finite"))
            continue
        done = next((n for n in range(1, folds) if np.mean(scores[:n]) < best - 0.015), folds)
        if done < folds and number % 5:
            why = (
                f"behind trial 1 by {best - np.mean(scores[:done]):.3f} on {done} of {folds} folds"
            )
            trials.append(trial(number, values, scores[:done], "stopped", why=why))
        elif done < folds:
            trials.append(
                trial(number, values, scores, "stopped", audited=True, why="behind trial 1")
            )
        else:
            best = max(best, float(np.mean(scores)))
            trials.append(trial(number, values, scores, "complete"))
    return judged(trials)


def judged(trials):
    """The same with intervals, and differences from the best."""
    best = max((t.mean for t in trials if t.state == "complete"), default=None)
    return [
        one.model_copy(
            update={
                "oof": near(one.mean - 0.001),
                "difference": near(one.mean - best, 0.006),
                "p": 1.0
                if one.mean == best
                else float(np.exp(-(((best - one.mean) / 0.004) ** 2))),
                "tied": best - one.mean < 0.0068,
            }
        )
        if one.state == "complete"
        else one
        for one in trials
    ]


def outer_folds(values):
    return [
        OuterFold(fold=fold, trial=3 + fold, values=values, inner=0.955, score=0.944 + 0.004 * fold,
                  images=333)
        for fold in range(3)
    ]  # fmt: skip


def holdout():
    scores = Scores(
        accuracy=0.947, balanced_accuracy=0.94, macro_f1=0.941, roc_auc=0.99, log_loss=0.2,
        brier=0.1, ece=0.02,
    )  # fmt: skip
    intervals = {"ensemble": {"macro_f1": Estimate(value=0.941, low=0.918, high=0.958)}}
    return ScoredOn(images=400, models={"ensemble": scores}, intervals=intervals)


def search(trials=None, count=20, **changed):
    """A search with everything that there can be."""
    shares = SHARES if trials is None else {}
    trials = race(count) if trials is None else trials
    complete = [one for one in trials if one.state == "complete"]
    best = max(complete, key=lambda one: one.mean, default=None)
    usual = {
        "name": "cells-full-search",
        "date": "2026-11-26",
        "config": {"data": "cells/", "folds": 5, "seed": 0, "limit": None},
        "space": SPACE,
        "sampler": "tpe",
        "racing": True,
        "search_by": "macro_f1",
        "folds": FOLDS,
        "trials": trials,
        "winner": None if best is None else best.number,
        "best": {} if best is None else {"optimizer": "adamw", "stages": ["1:8:0.00012"]},
        "naive": None if best is None else best.oof,
        "corrected": None if best is None else near(best.oof.value - 0.0042),
        "outer": [] if best is None else outer_folds(best.values),
        "outer_score": None if best is None else near(0.948, 0.009),
        "holdout": None if best is None else holdout(),
        "audited": AuditedStops(finished=2, better=0, largest=None, seconds=118.0),
        "importance": shares,
        "folds_trained": sum(len(one.scores) for one in trials),
        "folds_without_racing": 5 * len(trials),
        "images": 1000,
        "class_names": ["basophil", "eosinophil", "neutrophil"],
        "backbone": "convnext_tiny",
        "digests": {"data_digest": "4f1c2a9be0d1", "splits_digest": "9be01d2c4f1c"},
        "mlflow": MlflowIds(tracking_uri="sqlite:///m.db", experiment_id="1", parent_run="ab12"),
        "notices": ["batch norm sees each worker's part of a batch only"],
        "seconds": {"prepare": 12.0, "trials": 1043.0, "winner": 20.0},
    }  # fmt: skip
    return SearchSummary(**usual | changed)

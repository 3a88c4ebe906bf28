"""Predictions whose true scores are known, as those of very many images."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
from scipy.special import softmax

from folds.config.selection import SelectBy
from folds.evaluation.gains import Rivals
from folds.evaluation.gate import beats
from folds.evaluation.intervals import intervals
from folds.evaluation.predictions import Predictions

SHARES = np.array([0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.04])
NOISE = 1.3
SURENESS = 1.4


def synthetic(count, *, seed, group_size=1, skill=4.0, repeats=1):
    """Predictions for `count` images of eight classes, from 25% to 4% of them.

    The images of a group share most of their noise and, half of them, their class, as a patient's
    do; the rows of an image in several repeats share most of their noise.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(count) // group_size
    labels = rng.choice(len(SHARES), count, p=SHARES)
    if group_size > 1:
        own = rng.choice(len(SHARES), group.max() + 1, p=SHARES)[group]
        labels = np.where(rng.random(count) < 0.5, own, labels)
    shape = (count, len(SHARES))
    shared = rng.normal(0, np.sqrt(0.8), (group.max() + 1, shape[1]))[group]
    means = NOISE * shared + skill * np.eye(shape[1])[labels]
    logits = [means + NOISE * rng.normal(0, np.sqrt(0.2), shape) for _ in range(repeats)]
    probabilities = softmax(np.concatenate(logits) * SURENESS, axis=1)
    return Predictions(
        np.tile(labels, repeats), probabilities.astype(np.float32), np.tile(group, repeats)
    )


def coverage(count, trials, *, least=25, replicates=200, **kind):
    """Share of `trials` in which each score's 95% interval holds its true value, by name.

    Those of classes of at least `least` images; a class's score is named after it.
    """
    truth = intervals(synthetic(300_000, seed=10**6, **kind), replicates=2)
    held = defaultdict(list)
    for seed in range(trials):
        predictions = synthetic(count, seed=seed, **kind)
        found = intervals(predictions, replicates=replicates, seed=seed)
        for name, one in found.pooled.items():
            held[name].append(one.low <= truth.pooled[name].value <= one.high)
        support = np.bincount(predictions.labels) / kind.get("repeats", 1)
        for name, each in found.per_class.items():
            for c in np.flatnonzero(SHARES * count >= least):
                if support[c]:
                    true = truth.per_class[name][c].value
                    held[f"{name} of class {c}"].append(each[c].low <= true <= each[c].high)
    return {name: float(np.mean(values)) for name, values in held.items()}


def rivals(count, *, seed, folds=5, group_size=1, training=0.3, gain=0.0):
    """Two models' predictions for the same four classes of images, in folds.

    Each image is as hard for the one as for the other; each fold of each model has its luck.

    Parameters
    ----------
    training : float
        Standard deviation of the skill of a model over folds and seeds.
    gain : float
        By how much the second model's skill is greater.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(count) // group_size
    labels = rng.integers(0, 4, count)
    fold = rng.permutation(group.max() + 1)[group] % folds
    hardness = rng.normal(0, 1.0, (group.max() + 1, 4))[group]
    found = []
    for more in (0.0, gain):
        skill = 2.5 + more + rng.normal(0, training, folds)[fold]
        logits = skill[:, None] * np.eye(4)[labels] + hardness + rng.normal(0, 0.8, (count, 4))
        probabilities = softmax(logits, axis=1).astype(np.float32)
        found.append(Predictions(labels, probabilities, group, fold, np.zeros_like(fold)))
    return found


def promoted(trials, count=600, *, external=False, **kind):
    """Share of `trials` in which the second rival passes the gate."""
    passed = []
    for seed in range(trials):
        pair = rivals(count, seed=seed, **kind)
        if external:
            pair = [replace(one, fold=None, repeat=None) for one in pair]
        passed.append(beats(Rivals(tuple(pair)), SelectBy.parse("macro_f1")).passed)
    return float(np.mean(passed))

"""Simulated searches whose true means are known, and rules that stop their trials.

``python -m tests.folds.evaluation.searches`` writes the table of all rules and scenarios.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.special import stdtr

from folds.evaluation.racing import verdict
from folds.evaluation.spending import spent

MEANS = ("equal", "0.3", "1", "3", "10", "head")
NOISES = ("same", "worse noisier", "t3")
SIZES = tuple(product((20, 50), (3, 5, 10), (2, 4, 8)))  # trials, folds, trials under way
ALPHA = 0.04


@dataclass(frozen=True)
class Searches:
    """S searches of N trials with k folds, in standard deviations of the noise."""

    means: np.ndarray  # (S, N), true
    scores: np.ndarray  # (S, N, k)
    best: np.ndarray  # (S,), the trial that is best, by chance where all are


def draw(count, trials, k, means, noise, seed=0):
    """Searches with normal means, or half of them near the best and half far below ("head")."""
    rng = np.random.default_rng([seed, trials, k, MEANS.index(means), NOISES.index(noise)])
    if means == "head":
        near = -rng.uniform(0, 1, (count, trials // 2))
        far = -rng.uniform(3, 30, (count, trials - trials // 2))
        true = rng.permuted(np.concatenate([near, far], axis=1), axis=1)
    else:
        true = rng.normal(size=(count, trials)) * (0 if means == "equal" else float(means))
    behind = true.max(axis=1, keepdims=True) - true
    sd = np.ones_like(true)
    if noise == "worse noisier":  # where none is worse, any
        equal = means == "equal"
        share = rng.random(true.shape) if equal else behind / behind.max(axis=1, keepdims=True)
        sd = 1 + 4 * share
    shape = (count, trials, k)
    luck = rng.standard_t(3, shape) / np.sqrt(3) if noise == "t3" else rng.normal(size=shape)
    scores = true[..., None] + rng.normal(0, 2, (count, 1, k)) + sd[..., None] * luck
    chance = rng.integers(0, trials, count)
    return Searches(true, scores, chance if means == "equal" else true.argmax(axis=1))


def race(searches, under_way, rule):
    """Folds trained (S, N) under a rule; k of those that were never stopped.

    A rule is given the scores of a trial (S, f), those of the earlier trials (S, n, k) and which of
    these are complete (S, n), and says which are stopped (S,).
    """
    count, trials, k = searches.scores.shape
    folds = np.full((count, trials), k)
    for n in range(under_way, trials):
        earlier = slice(0, n - under_way + 1)
        decide = rule(searches.scores[:, earlier], folds[:, earlier] == k)
        for f in range(1, k):
            stopped = decide(searches.scores[:, n, :f]) & (folds[:, n] == k)
            folds[stopped, n] = f
    return folds


def ours_one_by_one(table, there):
    """The rule itself, one search after the other."""
    complete = [rows[own].tolist() for rows, own in zip(table, there, strict=True)]
    return lambda own: np.array(
        [verdict(*pair, alpha=ALPHA).stop for pair in zip(own.tolist(), complete, strict=True)]
    )


def ours(table, there):
    """The same for all searches at once."""
    k, rivals = table.shape[2], there.sum(axis=1)
    means = np.where(there, table.mean(axis=2), -np.inf)
    rank = (-means).argsort(axis=1).argsort(axis=1)
    number = np.clip(np.ceil(rivals / 2), 2, None)
    peers = (rank < number[:, None]) & there
    of_folds = (table * peers[..., None]).sum(axis=1) / number[:, None]
    folds = of_folds - of_folds.mean(axis=1, keepdims=True)
    squares = ((table - table.mean(axis=2, keepdims=True) - folds[:, None]) ** 2).sum(axis=2)
    freedom = (number - 1) * (k - 1)
    rival = squares[np.arange(len(table)), means.argmax(axis=1)]
    noise = np.sqrt(np.maximum((squares * peers).sum(axis=1) / freedom, rival / (k - 1)))

    def decide(own):
        f = own.shape[1]
        behind = (own - folds[:, :f]).mean(axis=1) - means.max(axis=1)
        error = noise * np.sqrt((1 / f - 1 / k) * (1 + 1 / number))
        return (rivals >= 2) & (stdtr(freedom, behind / error) < spent(ALPHA, f, "quadratic"))

    return decide


def wilcoxon(table, there):
    """Optuna's WilcoxonPruner with its defaults: p below 0.1, from two folds on."""
    rival = _best(table, there)

    def decide(own):
        f = own.shape[1]
        differences = own - rival[:, :f]
        ranks = abs(differences).argsort(axis=1).argsort(axis=1) + 1
        p = signed_rank_p((ranks * (differences > 0)).sum(axis=1), f)
        behind = own.mean(axis=1) < rival.mean(axis=1)
        return (f >= 2) & there.any(axis=1) & (p < 0.1) & behind

    return decide


def corrected(table, there):
    """Nadeau and Bengio's t test of each look at 5%, from two folds on."""
    rival, k = _best(table, there), table.shape[2]

    def decide(own):
        f = own.shape[1]
        if f < 2:
            return np.zeros(len(own), dtype=bool)
        differences = own - rival[:, :f]
        error = differences.std(axis=1, ddof=1) * np.sqrt(1 / f + 1 / (k - 1))
        return there.any(axis=1) & (stdtr(f - 1, differences.mean(axis=1) / error) < 0.05)

    return decide


def signed_rank_p(sums, count):
    """P that the sum of positive ranks of `count` differences is `sums` or less."""
    chances = np.ones(1)
    for rank in range(1, count + 1):
        none = np.zeros(rank)
        chances = (np.concatenate([chances, none]) + np.concatenate([none, chances])) / 2
    return chances.cumsum()[sums]


def figures(searches, folds):
    """Shares of searches whose would-be winner and whose truly best trial are stopped, share of
    folds trained, regret of the winner.
    """
    count, _, k = searches.scores.shape
    rows, ends = np.arange(count), searches.scores.mean(axis=2)
    winner = np.where(folds == k, ends, -np.inf).argmax(axis=1)
    regret = searches.means[rows, ends.argmax(axis=1)] - searches.means[rows, winner]
    lost, wrong = (folds[rows, trial] < k for trial in (ends.argmax(axis=1), searches.best))
    return float(lost.mean()), float(wrong.mean()), float(folds.mean() / k), float(regret.mean())


def _best(table, there):
    means = np.where(there, table.mean(axis=2), -np.inf)
    return table[np.arange(len(table)), means.argmax(axis=1)]


def main(count=2000, sizes=((20, 5, 4),)):
    for trials, k, under_way in sizes:
        print(f"\n{trials} trials, {k} folds, {under_way} under way\n")
        print("| means | noise | ours | Wilcoxon | corrected t |")
        print("|---|---|" + "--:|" * 3)
        for means, noise in product(MEANS, NOISES):
            searches = draw(count, trials, k, means, noise)
            cells = []
            for rule in (ours, wilcoxon, corrected):
                found = figures(searches, race(searches, under_way, rule))
                lost, wrong, trained = (f"{100 * share:.3g}%" for share in found[:3])
                cells.append(f"{lost} / {wrong} / {trained} / {found[3]:+.2f}")
            print("|", " | ".join([means, noise, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()

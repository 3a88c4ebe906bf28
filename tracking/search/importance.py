"""Which fields of a search decide how good a trial is."""

from collections.abc import Sequence

import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.inspection import permutation_importance

from folds.arrays import Doubles
from tracking.search.fields import is_number, text
from tracking.search.summary import TrialSummary

_FEWEST = 8  # trials
_EXPLAINED = 0.1  # share of the variance of left-out trials below which a forest knows nothing
_FAR = 3.0  # times the best score's distance from the median; what is further below is no worse


def expected_means(trials: Sequence[TrialSummary]) -> dict[int, float]:
    """The mean score over all folds, also of trials that have not done all.

    Parameters
    ----------
    trials : sequence of TrialSummary

    Returns
    -------
    dict of int to float
        By number, of all trials with a score.

    Notes
    -----
    - Folds differ in how hard they are, so the mean of the folds done would flatter a trial that
      was stopped after an easy one. A score is taken for the sum of an effect of its trial and
      one of its fold, by least squares.
    - A trial that has done all folds gets its own mean.
    """
    known = [
        (trial.number, fold, score)
        for trial in trials
        for fold, score in enumerate(trial.scores)
        if score is not None
    ]
    if not known:
        return {}
    numbers = sorted({number for number, _, _ in known})
    folds = 1 + max(fold for _, fold, _ in known)
    design = np.zeros((len(known), len(numbers) + folds))
    for row, (number, fold, _) in enumerate(known):
        design[row, [numbers.index(number), len(numbers) + fold]] = 1
    effects = np.linalg.lstsq(design, np.array([score for _, _, score in known]))[0]
    means = effects[: len(numbers)] + effects[len(numbers) :].mean()
    return dict(zip(numbers, means.tolist(), strict=True))


def floor_of(scores: Doubles) -> float:
    """The score below which trials are beyond comparison, such as those that diverged."""
    middle = float(np.median(scores))
    return max(middle - _FAR * (float(scores.max()) - middle), float(scores.min()))


def importance(trials: Sequence[TrialSummary]) -> dict[str, float]:
    """Share of each field in how trials differ.

    Parameters
    ----------
    trials : sequence of TrialSummary
        In any state; those without a score do not count.

    Returns
    -------
    dict of str to float
        By field, the most important first; the sum is 1. Empty if it cannot be said: of fewer
        than 8 trials, or where the fields do not tell how trials end that the forest has not seen.

    Notes
    -----
    - Importance is what a random forest loses when a field's values are permuted, out of a seeded
      generator. Where a field does not apply, it has a value of its own.
    - Optuna's PED-ANOVA asks which fields the best tenth of the trials have in common. With 12
      trials of five fields it gave a choice that decides everything less than an idle field.

    References
    ----------
    Breiman: Random forests, Machine Learning 45, 2001.
    """
    means = expected_means(trials)
    scored = [trial for trial in trials if trial.number in means]
    names = list(dict.fromkeys(name for trial in scored for name in trial.values))
    scores = np.array([means[trial.number] for trial in scored])
    if len(scored) < _FEWEST or not names or np.ptp(scores) == 0:
        return {}
    scores = np.maximum(scores, floor_of(scores))
    columns = np.stack([_column(name, scored) for name in names], axis=1)
    forest = RandomForestRegressor(100, min_samples_leaf=2, oob_score=True, random_state=0)
    forest.fit(columns, scores)
    if forest.oob_score_ < _EXPLAINED:
        return {}
    losses = permutation_importance(
        forest, columns, scores, scoring="neg_mean_squared_error", n_repeats=10, random_state=0
    ).importances_mean
    shares = np.maximum(losses, 0) / np.maximum(losses, 0).sum()
    order = np.argsort(-shares, kind="stable")
    return {names[place]: float(shares[place]) for place in order}


def _column(name: str, trials: Sequence[TrialSummary]) -> Doubles:
    """A field's values as numbers in an order; a tree does not ask how far they are apart."""
    given = {t.number: t.values[name] for t in trials if name in t.values}
    if not all(map(is_number, given.values())):
        levels = sorted({text(value) for value in given.values()})
        given = {number: levels.index(text(value)) for number, value in given.items()}
    absent = min(given.values(), default=0) - 1
    return np.array([given.get(trial.number, absent) for trial in trials], float)

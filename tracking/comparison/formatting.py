"""Scores, intervals and what follows from them in words; the table and the page say the same."""

import math
from collections.abc import Sequence

from folds.config.scores import TITLES
from folds.evaluation.epoch_choice import EPOCHS
from folds.evaluation.intervals import Interval
from folds.evaluation.paired import Difference
from folds.evaluation.significance import CorrectedT
from tracking.comparison.compare import SHIFT_MEAN, Comparison, better

_TITLES = {
    **TITLES,
    "balanced_accuracy": "balanced acc.",  # shorter, for columns beside four others
    "ece": "calib. error",
    "shift.macro_f1": "mean macro-F1",
    "shift.accuracy": "mean accuracy",
}


def name_of(score: str) -> str:
    """A score's title, of a corruption its name."""
    return _TITLES.get(score, score.removeprefix("shift.").replace("_", " "))


def interval(score: Interval) -> str:
    """A score with its interval, in hundredths; a dash where it is not defined."""
    if math.isnan(score.value):
        return "-"
    return f"{100 * score.value:.1f} ({100 * score.low:.1f}-{100 * score.high:.1f})"


def difference(one: Difference | CorrectedT) -> str:
    """A difference with its interval, in hundredths; a dash where it is not defined."""
    value = one.mean if isinstance(one, CorrectedT) else one.value
    if math.isnan(value):
        return "-"
    return f"{100 * value:+z.1f} ({100 * one.low:z.1f} to {100 * one.high:z.1f})"


def comparison_lines(comparison: Comparison) -> list[str]:
    """What the runs differ in, how they were scored and what tests say, a line each."""
    parts = (_setting_lines, _epoch_lines, _test_lines, _auc_lines)
    return [line for lines in parts for line in lines(comparison)]


def _setting_lines(comparison: Comparison) -> list[str]:
    """The settings that differ, in one line, or none."""
    a, b = (side.evidence.settings for side in (comparison.first, comparison.other))
    names = [name for name in a if name in b and a[name] != b[name]]
    each = (f"{name} {_short(a[name])} | {_short(b[name])}" for name in names)
    return [f"settings that differ: {'; '.join(each)}"] if names else []


def _short(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _epoch_lines(comparison: Comparison) -> list[str]:
    """That the runs are scored at epochs that cannot be compared as they are, in a line each."""
    sides = comparison.first, comparison.other
    rules = [side.evidence.epoch_rule for side in sides]
    lines = []
    if "best" in rules or len(set(rules)) > 1:
        each = (f"{s.letter} is scored at {EPOCHS[s.evidence.epoch_rule]}" for s in sides)
        lines.append(f"notice: {'; '.join(each)}")
    kept = [s.letter for s in sides if s.evidence.epoch_rule == "crossfit"]
    if kept and comparison.shift:
        lines.append(f"notice: under shift {' and '.join(kept)} is scored at {EPOCHS['best']}")
    return lines


def _auc_lines(comparison: Comparison) -> list[str]:
    """The mean of the folds' own ROC AUCs in one line, or none where no fold has one."""
    sides = comparison.first, comparison.other
    values = [side.auc_in_folds for side in sides]
    if any(map(math.isnan, values)):
        return []
    each = ", ".join(f"{s.letter} {100 * s.auc_in_folds:.1f}" for s in sides)
    test = comparison.auc_in_folds
    change = f"{100 * (values[1] - values[0]):+z.1f}" if test is None else difference(test)
    return [f"ROC AUC within folds, their mean: {each}; {change} (pooled, models' scales mix)"]


def _test_lines(comparison: Comparison) -> list[str]:
    """The tests and their figures, a line each."""
    a, b = comparison.first.letter, comparison.other.letter
    name = name_of(comparison.metric)
    if comparison.folds is None or comparison.mcnemar is None:
        return [f"{comparison.unpaired}: compared as independent, not image by image"]
    t, m = comparison.folds, comparison.mcnemar
    return [
        f"corrected t test over folds, {name}: {difference(t)}, p = {t.p:.3g}",
        f"McNemar: right on {m.only_a} images only {a}, on {m.only_b} only {b}, p = {m.p:.3g}",
    ]


def verdict(comparison: Comparison) -> str:
    """What follows from a comparison, in plain words, without a full stop."""
    a, b = comparison.first.letter, comparison.other.letter
    one, name = comparison.differences.pooled[comparison.metric], name_of(comparison.metric)
    p = f"p = {comparison.p:.2g}"
    if not comparison.certain:
        words = (
            f"{a} and {b} cannot be told apart: {name} differs by {100 * one.value:+z.1f} points "
            f"({100 * one.low:z.1f} to {100 * one.high:z.1f}), within noise ({p})"
        )
    else:
        good, bad = (b, a) if better(comparison.metric, one.value) else (a, b)
        words = f"{good} is better than {bad} by {_points(one)} of {name}, more than noise ({p})"
    return words + _under_shift(comparison)


def conclusion(comparisons: Sequence[Comparison]) -> str:
    """One sentence for all comparisons."""
    return "; ".join(verdict(one) for one in comparisons) + "."


def _under_shift(comparison: Comparison) -> str:
    """Whether the mean under corruptions says the same, to go on after `verdict`."""
    if not comparison.shift:
        return ""
    one, clean = comparison.shift[SHIFT_MEAN], comparison.differences.pooled[comparison.metric]
    if one.low <= 0 <= one.high:
        return ", but not under shift" if comparison.certain else ", nor under shift"
    if comparison.certain and better(comparison.metric, clean.value) == (one.value > 0):
        return f", and under shift by {_points(one)}"
    best = comparison.other.letter if one.value > 0 else comparison.first.letter
    return f", but under shift {best} is better by {_points(one)}"


def _points(one: Difference) -> str:
    """A difference and its interval in points, whoever is better."""
    ends = sorted((abs(100 * one.low), abs(100 * one.high)))
    return f"{abs(100 * one.value):.1f} points ({ends[0]:.1f} to {ends[1]:.1f})"

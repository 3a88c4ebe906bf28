"""How scores, intervals and what follows from them are said."""

from collections.abc import Sequence

from folds.config.scores import TITLES
from folds.evaluation.intervals import Interval
from folds.evaluation.paired import CorrectedT, Difference
from tracking.comparison.compare import SHIFT_MEAN, Comparison, better

_TITLES = {
    **TITLES,
    "balanced_accuracy": "balanced acc.",  # shorter, for columns beside four others
    "ece": "calib. error",
    "shift.macro_f1": "mean macro-F1",
    "shift.accuracy": "mean accuracy",
}


def name_of(score: str) -> str:
    """A score's name for people."""
    return _TITLES.get(score, score.removeprefix("shift.").replace("_", " "))


def interval(one: Interval) -> str:
    """A score with its interval, in hundredths."""
    if one.value != one.value:
        return "-"
    return f"{100 * one.value:.1f} ({100 * one.low:.1f}-{100 * one.high:.1f})"


def difference(one: Difference | CorrectedT) -> str:
    """A difference with its interval, in hundredths."""
    value = one.mean if isinstance(one, CorrectedT) else one.value
    if value != value:
        return "-"
    return f"{100 * value:+z.1f} ({100 * one.low:z.1f} to {100 * one.high:z.1f})"


def settings(found: Comparison) -> list[str]:
    """The settings that differ, in one line, or none."""
    a, b = (side.evidence.settings for side in (found.first, found.other))
    names = [name for name in a if name in b and a[name] != b[name]]
    each = (f"{name} {_short(a[name])} | {_short(b[name])}" for name in names)
    return [f"settings that differ: {'; '.join(each)}"] if names else []


def _short(value: object) -> str:
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def tests(found: Comparison) -> list[str]:
    """The tests and their figures, a line each."""
    a, b = found.first.letter, found.other.letter
    name = name_of(found.metric)
    if found.folds is None or found.mcnemar is None:
        return [f"{found.unpaired}: compared as independent, not image by image"]
    t, m = found.folds, found.mcnemar
    return [
        f"corrected t test over folds, {name}: {difference(t)}, p = {t.p:.3g}",
        f"McNemar: right on {m.only_a} images only {a}, on {m.only_b} only {b}, p = {m.p:.3g}",
    ]


def verdict(found: Comparison) -> str:
    """What follows from a comparison, in plain words, without a full stop."""
    a, b = found.first.letter, found.other.letter
    one, name = found.differences.pooled[found.metric], name_of(found.metric)
    share = f"p = {found.p:.2g}"
    if not found.certain:
        words = (
            f"{a} and {b} cannot be told apart: {name} differs by {100 * one.value:+z.1f} points "
            f"({100 * one.low:z.1f} to {100 * one.high:z.1f}), within noise ({share})"
        )
    else:
        good, bad = (b, a) if better(found.metric, one.value) else (a, b)
        words = (
            f"{good} is better than {bad} by {_points(one)} of {name}, more than noise ({share})"
        )
    return words + _under_shift(found)


def conclusion(found: Sequence[Comparison]) -> str:
    """One sentence for all comparisons."""
    return "; ".join(verdict(one) for one in found) + "."


def _under_shift(found: Comparison) -> str:
    if not found.shift:
        return ""
    one, clean = found.shift[SHIFT_MEAN], found.differences.pooled[found.metric].value
    if one.low <= 0 <= one.high:
        return ", but not under shift" if found.certain else ", nor under shift"
    if found.certain and better(found.metric, clean) == (one.value > 0):
        return f", and under shift by {_points(one)}"
    best = found.other.letter if one.value > 0 else found.first.letter
    return f", but under shift {best} is better by {_points(one)}"


def _points(one: Difference) -> str:
    """A difference and its interval in points, whoever is better."""
    ends = sorted((abs(100 * one.low), abs(100 * one.high)))
    return f"{abs(100 * one.value):.1f} points ({ends[0]:.1f} to {ends[1]:.1f})"

"""What the parts of a search's page show, worked out from its summary."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from folds.errors import counted
from folds.pages.scale import Scale
from folds.pages.svg import INK
from tracking.formatting import duration, figure, interval, title
from tracking.search.fields import Field, fields, varying
from tracking.search.figures import LOOKS, kind_of, stretch
from tracking.search.measure import Measure
from tracking.search.summary import SearchSummary, TrialSummary
from tracking.summary_parts import Estimate, ScoredOn

MOST_ROWS = 20  # of the table of the best configurations


@dataclass(frozen=True)
class Expectation:
    """A score that the winner may be expected to have, and what it is worth.

    Parameters
    ----------
    name, title : str
        One word, and what the score is.
    estimate : Estimate
        As people know it.
    value, interval : str
    short, words : str
        In few words, and in a sentence.
    """

    name: str
    title: str
    estimate: Estimate
    value: str
    interval: str
    short: str
    words: str


def expectations(summary: SearchSummary) -> list[Expectation]:
    """The winner's score as it was chosen by, corrected, and on images that took no part."""
    measure = Measure(summary.search_by)
    trials = counted(len(summary.trials), "trial")
    known = [
        (
            "naive", summary.naive, f"best of {trials}, which flatters",
            "On the images that it was chosen by. The more trials there are, the more of their "
            "luck goes to the best one.",
        ),
        (
            "corrected", summary.corrected, "less what choosing gains",
            "The same less what choosing gains, by a bootstrap: winners are chosen anew on images "
            "drawn with replacement, and scored on those left out.",
        ),
        (
            "nested", summary.outer_score,
            f"on {counted(len(summary.outer), 'outer fold')} that no search has seen",
            "Whole searches, each without one part of the images, on the part that it has not "
            "seen: what a search like this one gives for new images.",
        ),
    ]  # fmt: skip
    shown = [
        Expectation(
            name, measure.title, measure.turned(one), measure.value(one.value),
            measure.interval(one), short, words,
        )
        for name, one, short, words in known
        if one is not None
    ]  # fmt: skip
    return shown + ([] if summary.holdout is None else _holdout(summary.holdout, measure))


def _holdout(scored: ScoredOn, measure: Measure) -> list[Expectation]:
    """The score of each model on the test part, in the search's measure if it is there."""
    shown = []
    for kind, scores in scored.models.items():
        name = measure.search_by if measure.search_by in scores.defined else "accuracy"
        plain = Estimate(value=scores.defined[name], low=None, high=None)
        one = scored.intervals.get(kind, {}).get(name, plain)
        model, images = kind.replace("-", " "), counted(scored.images, "image")
        shown.append(
            Expectation(
                "hold-out", title(name), one, figure(one.value, name), interval(one, name),
                f"{model} on {images} set aside",
                f"The winner's {model} on the {images} of the test part, which no trial has seen.",
            )
        )  # fmt: skip
    return shown


def verdict(summary: SearchSummary) -> str:
    """The search in plain words."""
    winner, shown = summary.best_trial, expectations(summary)
    if winner is None or summary.naive is None:
        states = counted(len(summary.trials), "trial")
        return f"None of {states} has done all folds, so there is no winner and no best.yaml."
    measure = Measure(summary.search_by)
    sentences = [
        f"Trial {winner.number} has the best {measure.title} of "
        f"{counted(len(summary.trials), 'trial')}: {measure.value(summary.naive.value)} on the "
        "images that it was chosen by."
    ]
    if len(shown) > 1:
        rest = ", ".join(f"{one.value} ({_HOW[one.name]})" for one in shown[1:])
        sentences.append(f"Of new images expect {rest}.")
    sentences.append(tied_words(summary))
    return " ".join(sentences)


_HOW = {"corrected": "corrected for the choice", "nested": "nested", "hold-out": "on the hold-out"}


def tied_words(summary: SearchSummary) -> str:
    """How many trials are as good as the winner for all one knows."""
    tied = len(summary.tied)
    if len(summary.complete) == 1:
        return "No other trial was complete."
    if tied == 0:
        return "It can be told from every other complete trial."
    return f"{counted(tied, 'other trial')} cannot be told from it."


def saved(summary: SearchSummary) -> float:
    """Share of the folds that racing did without."""
    without = summary.folds_without_racing
    return 1 - summary.folds_trained / without if without else 0.0


def cost_words(summary: SearchSummary) -> str:
    """What the search cost, after the count of its folds."""
    seconds = summary.seconds
    time = duration(seconds.get("total", sum(seconds.values())))
    if not summary.racing:
        return f"{time}, without racing"
    return f"{time}; racing saved {100 * saved(summary):.0f}% of the folds"


def audit_words(summary: SearchSummary) -> str:
    """What became of stopped trials that were finished anyway; empty where none were."""
    audited = summary.audited
    if audited is None:
        return ""
    measure = Measure(summary.search_by)
    most = ""
    if audited.better and audited.largest is not None:
        gain = f"{measure.difference(audited.largest)} {measure.unit}".rstrip()
        most = f", by {gain} at most"
    return (
        f"{counted(audited.finished, 'stopped trial')} finished anyway in "
        f"{duration(audited.seconds)}: {audited.better or 'none'} would have beaten the winner"
        f"{most}"
    )


def is_cut(summary: SearchSummary) -> bool:
    """Whether some scores are too far below to be drawn where they are."""
    scores = [score for trial in summary.trials for score in trial.running]
    return bool(scores) and min(scores) < stretch(scores)[0]


def race_legend(summary: SearchSummary) -> list[tuple[str, int, str]]:
    """Kinds of trials that there are, how many, and the class of their marks."""
    counts = Counter(kind_of(trial, summary.winner) for trial in summary.trials)
    return [(kind, counts[kind], class_of(kind)) for kind in LOOKS if counts[kind]]


def class_of(kind: str) -> str:
    """The name that a style sheet has for a kind of trial."""
    return kind.partition(" ")[0].partition(",")[0] + ("-anyway" if "anyway" in kind else "")


def marks() -> list[tuple[str, str, float, str]]:
    """Class, colour, opacity and kind of line of what a legend draws."""
    return [
        (
            class_of(kind),
            "currentColor" if look["color"] == INK else look["color"],
            look.get("alpha", 1.0),
            "dashed" if "ls" in look else "solid",
        )
        for kind, look in LOOKS.items()
    ]


@dataclass(frozen=True)
class Row:
    """A complete trial in the table of the best.

    Parameters
    ----------
    trial : TrialSummary
    kind : str
        As in the race.
    estimate : Estimate, optional
        As people know it.
    mean, pooled, interval, difference, difference_interval, p : str
        Empty where there is none.
    cells : sequence of str
        Its values, by the table's fields.
    """

    trial: TrialSummary
    kind: str
    estimate: Estimate | None
    mean: str
    pooled: str
    interval: str
    difference: str
    difference_interval: str
    p: str
    cells: Sequence[str]


@dataclass(frozen=True)
class Best:
    """The table of the best configurations.

    Parameters
    ----------
    fields : sequence of Field
        Those whose values differ among the rows.
    rows : sequence of Row
    scale : Scale
        That holds all intervals.
    ends : tuple of str
        Of the scale.
    """

    fields: Sequence[Field]
    rows: Sequence[Row]
    scale: Scale
    ends: tuple[str, str]


def best_rows(summary: SearchSummary, most: int = MOST_ROWS) -> Best:
    """The best complete trials, the winner first."""
    measure, trials = Measure(summary.search_by), summary.complete[:most]
    shown = varying(fields(summary), trials) if len(trials) > 1 else fields(summary)
    rows = [_row(trial, summary.winner, measure, shown) for trial in trials]
    scale = scale_of([row.estimate for row in rows if row.estimate is not None])
    return Best(shown, rows, scale, measure.ends(scale))


def _row(trial: TrialSummary, winner: int | None, measure: Measure, shown: Sequence[Field]) -> Row:
    own = trial.oof
    less = trial.difference if trial.number != winner else None
    return Row(
        trial,
        kind_of(trial, winner),
        None if own is None else measure.turned(own),
        measure.value(trial.mean),
        "" if own is None else measure.value(own.value),
        "" if own is None else measure.interval(own),
        "" if less is None else measure.difference(less.value),
        "" if less is None else measure.difference_interval(less),
        "" if trial.p is None or less is None else _p_value(trial.p),
        [field.of(trial) for field in shown],
    )


def _p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def scale_of(estimates: Sequence[Estimate]) -> Scale:
    """The smallest axis that holds all estimates and their intervals."""
    ends = [
        end for one in estimates for end in (one.value, one.low, one.high) if end is not None
    ] or [0.0, 1.0]
    room = 0.04 * (max(ends) - min(ends)) or 0.01
    return Scale(min(ends) - room, max(ends) + room)


def told(values: Mapping[str, object]) -> dict[str, str]:
    """Settings by name as a page writes them, whole."""
    return {name: "null" if value is None else str(value) for name, value in values.items()}

"""What a model does where it is unsure, in words."""

import numpy as np

from folds.errors import listed
from tracking.decisions import SetScores
from tracking.summary import Summary

WANTED = (0.9, 0.95, 0.98, 0.99, 0.995)
"""Accuracies that are told."""


def unsure_words(summary: Summary) -> list[str]:
    """Prediction sets, abstention and costs: a sentence each, without full stops."""
    decision = summary.decision
    if decision is None:
        return []
    sets = decision.sets
    lines = [
        f"sets hold the true class in {sets.coverage:.1%} ({decision.coverage:.1%} asked for), "
        f"{sets.size:.2f} classes a set, {sets.empty:.1%} empty"
    ]
    if rare := [one.name for one in decision.classes if not one.own]:
        lines.append(
            f"too few images for a threshold of its own: {listed(rare)}; that of all is used"
        )
    if decision.shift:
        worst = min(decision.shift, key=lambda name: decision.shift[name].coverage)
        mean = float(np.mean([one.coverage for one in decision.shift.values()]))
        lines.append(
            f"under corruptions sets hold it in {mean:.1%}; worst {worst.replace('_', ' ')}, "
            f"{decision.shift[worst].coverage:.1%}"
        )
    lines += [
        f"on {name} sets hold it in {one.coverage:.1%}, {one.size:.2f} classes a set"
        for name, one in decision.elsewhere.items()
    ]
    lines.append(_answered(summary))
    if (costs := decision.costs) is not None:
        lines.append(
            f"answers of least expected cost cost {costs.answered:.3f} an image, the most probable "
            f"{costs.most_probable:.3f}"
        )
    return lines


def other_sets(summary: Summary) -> list[tuple[str, SetScores]]:
    """Prediction sets as they are, on external images and under corruptions, the worst first."""
    decision = summary.decision
    if decision is None:
        return []
    worst = sorted(decision.shift.items(), key=lambda one: one[1].coverage)
    corrupted = [(name.replace("_", " "), one) for name, one in worst]
    return [("as they are", decision.sets), *decision.elsewhere.items(), *corrupted]


def _answered(summary: Summary) -> str:
    """The highest of `WANTED` that a threshold reaches, and how many are then answered."""
    decision = summary.decision
    assert decision is not None
    for accuracy in reversed(WANTED):
        if (point := decision.sure_enough(accuracy)) is not None:
            return (
                f"--abstain {accuracy} answers {point.answered:.0%}, of which {point.accuracy:.1%} "
                f"are right (at least {point.low:.1%})"
            )
    return f"no threshold is sure to be right in {WANTED[0]:.0%} of what it answers"

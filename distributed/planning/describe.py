"""What ``--plan`` prints: who trains what, how long it takes, and how much memory it needs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from distributed.planning.cost import Estimate, Work, estimate
from distributed.planning.plan import Plan, count
from folds.errors import listed

if TYPE_CHECKING:
    from folds.runtime.trial import Rates

SHOWN_LANES = 8  # more are told in one line
_WIDTH = 10  # of the words at the left


def print_plan(
    console: Console, plan: Plan, names: Sequence[str], work: Work, rates: "Rates | None"
) -> None:
    """Print a plan and what it is expected to cost.

    Parameters
    ----------
    console : Console
        The screen.
    plan : Plan
        The lanes.
    names : sequence of str
        Names of the folds, in the order in which they are handed out.
    work : Work
        What is to be trained.
    rates : Rates, optional
        Of one worker of this machine; without them there is no estimate.
    """
    expected = None if rates is None else estimate(plan, work, rates)
    for line in describe_plan(plan, names, expected):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def describe_plan(plan: Plan, names: Sequence[str], expected: Estimate | None) -> list[str]:
    """The lines for people, at most about 80 characters each."""
    lines = [_line("lanes", f"{plan.lanes}, each of {plan.describe_lane()}")]
    lines += _lanes(plan, names)
    if plan.idle:
        lines.append(_line("idle", f"{count(plan.idle, 'GPU')}, see --workers-per-fold"))
    if expected is None:
        return [*lines, _line("time", "no rates: run once, or without --plan")]
    return [*lines, *_times(plan, expected), *_memory(plan, expected)]


def _lanes(plan: Plan, names: Sequence[str]) -> list[str]:
    """Folds of each lane as they come if all take equally long."""
    if plan.lanes > SHOWN_LANES:
        longer = plan.last_round if plan.rounds > 1 else plan.lanes
        parts = {plan.rounds: longer, plan.rounds - 1: plan.lanes - longer}
        words = [f"{count(n, 'lane')} with {count(k, 'fold')}" for k, n in parts.items() if n]
        return [_line("folds", ", ".join(words))]
    lanes = [range(lane, plan.tasks, plan.lanes) for lane in range(plan.lanes)]
    return [
        _line(f"lane {number}", listed((_fold(plan, names, task) for task in tasks), most=3))
        for number, tasks in enumerate(lanes, 1)
    ]


def _fold(plan: Plan, names: Sequence[str], task: int) -> str:
    threads = plan.threads_of(task)
    more = f" ({count(threads, 'core')})" if threads > plan.threads else ""
    return names[task] + more


def _times(plan: Plan, expected: Estimate) -> list[str]:
    parts = {
        "start": (expected.start, "Ray and its workers"),
        "features": (expected.shared, "of the frozen backbone, once for all folds"),
        "training": (expected.training, f"at most {count(plan.rounds, 'fold')} a lane"),
        "finish": (expected.finish, "predictions pooled, models recorded"),
        "total": (expected.total, "expected, from rates measured on this machine"),
    }
    return [
        _line(name, f"{_duration(seconds):>10}   {about}")
        for name, (seconds, about) in parts.items()
        if seconds
    ]


def _memory(plan: Plan, expected: Estimate) -> list[str]:
    whole = "the fullest GPU" if plan.device == "cuda" else "all workers, images once"
    worker, device = _size(expected.worker_bytes), _size(expected.device_bytes)
    return [_line("memory", f"{worker} a worker; {device} for {whole}")]


def _line(name: str, text: str) -> str:
    return f"{name:<{_WIDTH}}{text}"


def _duration(seconds: float) -> str:
    """A duration in its two largest units, such as ``4 min 20 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def _size(number: int) -> str:
    """Bytes with a decimal prefix, such as ``1.3 GB``."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB")):
        if number >= factor:
            return f"{number / factor:.{1 if number < 10 * factor else 0}f} {unit}"
    return f"{number / 1e3:.0f} kB"

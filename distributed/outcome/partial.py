"""A run in which folds have failed for good: what is told, and what it can go on with."""

from collections.abc import Mapping
from dataclasses import replace

from distributed.outcome.console import print_folds
from distributed.run import Run
from folds.errors import RunError, counted


def take_what_is_there(run: Run, failed: Mapping[int, str]) -> Run:
    """With ``--allow-partial`` the run as one that goes without some folds, else its end.

    Parameters
    ----------
    failed : mapping of int to str
        Why tasks have failed for good, by their numbers, at least one; the others are finished,
        but for a refit.

    Raises
    ------
    RunError
        The run may not end with some of its folds, which are then shown each by itself, or has
        none.

    Notes
    -----
    A refit needs all folds: they say for how long to train, and what such a model is worth.
    """
    names, folds = run.prepared.names[: run.prepared.first_of_curve], len(run.prepared.folds)
    missing = dict(sorted(failed.items()))
    if run.prepared.refit and any(task < folds for task in failed):
        missing[folds] = "it needs all folds"
    run = replace(run, missing=missing)
    why = "; ".join(f"{names[task]}: {cause}" for task, cause in failed.items())
    if not run.there:
        raise RunError(f"all folds have failed: {why}")
    there = f"{len(run.there)} of {counted(folds, 'fold')} are finished"
    if not run.config.tracking.allow_partial:
        outcomes = {task: run.space.read_outcome(task) for task in run.there}
        print_folds(run.console, names, outcomes, missing)
        raise RunError(
            f"{why}; {there}, nothing is averaged or registered (with --allow-partial the run ends "
            "with what is there)"
        )
    run.notify(f"--allow-partial: {there}; the run ends with them, and says so wherever it is told")
    for task, cause in failed.items():
        run.recorder.fail(task, cause)
    return run

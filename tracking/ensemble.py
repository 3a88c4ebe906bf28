"""``python -m tracking.ensemble``: the best ensemble of several runs, if it beats the best run.

Runs with the same splits are averaged by whole weights: beginning with the best run, the one that
raises the score of the mean of their out-of-fold probabilities most is added, again and again. For
their scores, the ensemble and the best run alone are chosen for each fold by the other folds. If
the ensemble is better by more than noise, the models of all folds of its runs become one version of
the registered model, its candidate.
"""

import shlex
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import Screen, parse, run
from folds.config.selection import SelectBy
from folds.errors import RunError, UserError, reason

if TYPE_CHECKING:
    from tracking.ensembling.choice import Choice
    from tracking.store import Store


@dataclass
class Options:
    """Which runs, chosen by which score, and what becomes of the ensemble."""

    runs: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="RUN RUN [RUN...]", help_behavior_hint=""),
    ]
    """Parent runs, each by its id, the beginning of it (6 letters), its name, models:/NAME/VERSION
    or models:/NAME@ALIAS. Later ones were trained with --splits of the first."""
    select_by: str | None = None
    """Score that chooses, or a sum of such: accuracy, balanced_accuracy, macro_f1, roc_auc,
    log_loss, brier, ece; default: what the runs themselves were chosen by."""
    rounds: int = 25
    """How often a run is added at most, which bounds the sum of the weights."""
    confidence: float = 0.95
    """With which the ensemble must be better than the best run, and of intervals."""
    register: Literal["better", "always", "never"] = "better"
    """When the ensemble is registered: if it is better by more than noise, in any case, or not at
    all."""
    model_name: str | None = None
    """Registered model; default: that of the best run."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Choose an ensemble, judge it, and register it."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.ensemble", description=__doc__)
    given = _check(options)
    from mlflow.exceptions import MlflowException

    from tracking import store
    from tracking.ensembling.choice import choose
    from tracking.ensembling.library import notices, read_members, selection
    from tracking.ensembling.table import show

    there = store.connect(options.tracking_uri)
    members = read_members(options.runs)
    select, told, console = selection(members, given), notices(members), Screen()
    for notice in told:
        console.print(f"notice: {notice}", markup=False, highlight=False)
    choice = choose(members, select, rounds=options.rounds, confidence=options.confidence)
    show(console, choice, options.confidence)
    try:
        lines = _conclude(options, choice, there, told)
    except MlflowException as error:
        raise RunError(f"MLflow did not take it ({reason(error)}); run it again") from None
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _conclude(options: Options, choice: "Choice", store: "Store", notices: list[str]) -> list[str]:
    """Register the ensemble or not; what follows, and what to type next, a line each."""
    from tracking.ensembling.record import register_ensemble

    best = choice.members[choice.best]
    registered = best.summary.registered
    if len(choice.chosen) == 1:
        verdict = f"{best.evidence.name} alone is the best ensemble"
    elif choice.better.passed:
        verdict = f"{choice.words} is better than {best.evidence.name} alone"
    else:
        verdict = f"{choice.words} is not better than {best.evidence.name} alone by more than noise"
    wanted = options.register == "always" or (options.register == "better" and choice.better.passed)
    if len(choice.chosen) == 1 or not wanted:
        promote = _command("promote", registered.name, "--version", registered.version)
        always = len(choice.chosen) > 1 and options.register == "better"
        also = "; --register always registers it all the same" if always else ""
        return [
            f"{verdict}: nothing is registered{also}",
            f"best run  {best.evidence.name} is {best.version} already",
            f"promote   {promote}",
        ]
    name = options.model_name or registered.name
    made = register_ensemble(choice, store, name, notices)
    model = shlex.quote(f"models:/{name}/{made.version}")
    return [
        *(f"notice: {notice}" for notice in made.notices if notice not in notices),
        verdict,
        f"model     {name} version {made.version} (alias candidate): {made.networks} networks, "
        f"temperature {made.temperature:.2f}",
        f"promote   {_command('promote', name)}",
        f"predict   python -m tracking.predict --model {model} --data SOURCE --out preds.csv",
    ]


def _command(command: str, name: str, *flags: str) -> str:
    words = ["python", "-m", f"tracking.{command}", "--model-name", name, *flags]
    return shlex.join(words)


def _check(options: Options) -> SelectBy | None:
    if options.rounds < 1:
        raise UserError(f"--rounds {options.rounds}: must be 1 or more, as 25")
    if not 0.5 < options.confidence < 1:
        raise UserError(f"--confidence {options.confidence}: must be between 0.5 and 1, as 0.95")
    if options.model_name is not None and not options.model_name.strip():
        raise UserError("--model-name: is empty; name a registered model")
    if options.select_by is None:
        return None
    try:
        return SelectBy.parse(options.select_by)
    except ValueError as error:
        raise UserError(f"--select-by {options.select_by}: {error}") from None


if __name__ == "__main__":
    sys.exit(run(main))

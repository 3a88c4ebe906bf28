"""``python -m tracking.promote``: make a version the champion, if it is better; or swap back."""

import json
import math
import sys
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import tyro

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import Screen, parse, run
from folds.config.selection import SelectBy
from folds.errors import RunError, UserError, reason
from folds.evaluation.spending import Spending

if TYPE_CHECKING:
    from tracking.promotion.gate import Conditions, Verdict
    from tracking.promotion.registry import Move


@dataclass
class Options:
    """Which version becomes the champion, and what it must show.

    It must beat the champion by more than noise, be no worse under shift and lose no class, site
    or slice: on the out-of-fold predictions of the same splits, or on the same external images.
    The first champion must reach the floors only.
    """

    model_name: str = "crossfold"
    """Registered model."""
    version: str | None = None
    """Version to promote; default: the one with the alias candidate."""
    select_by: str | None = None
    """Score by which it must be better, or a sum of such, as in distributed.cv: macro_f1,
    shift.macro_f1, external.NAME.accuracy, ...; default: what the version's own run chose by."""
    confidence: float = 0.95
    """With which it must be better."""
    alpha_spending: Spending = "none"
    """What several attempts against one champion may spend of 1 - confidence. none: each all of
    it, and how many there were is told. quadratic: the n-th 6 / (pi n)^2 of it, so that all
    together never spend more; later ones must be better by far."""
    max_class_drop: float = 0.05
    """By how much the recall of any class may fall, 0 to 1."""
    max_slice_drop: float = 0.05
    """By how much the accuracy at any site or in any slice may fall, 0 to 1; of 20 images or more,
    where both runs know the site (or column of --slices) of the images that are compared."""
    min: Annotated[
        tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="METRIC=VALUE")
    ] = ()
    """Floor (of a loss, ceiling) that it must reach; may be repeated. The scores above, those of
    images under shift (shift.macro_f1, shift.accuracy, shift.worst) and of external images
    (external.NAME.macro_f1)."""
    external: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    """External images to compare on, as both runs called them; default: out of fold where the
    splits are the same, else the one set that both have."""
    force: Annotated[str | None, tyro.conf.arg(metavar="REASON")] = None
    """Promote in spite of failed checks; the reason is kept with the version."""
    rollback: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Swap the champion and the previous one."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Promote a version."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.promote", description=__doc__)
    _check(options)
    least = dict(_floor(word) for word in options.min)
    select = None if options.select_by is None else _select(options.select_by)
    from mlflow.exceptions import MlflowException

    from tracking import store
    from tracking.promotion import gate, registry

    store.connect(options.tracking_uri)
    name = options.model_name
    asked = gate.Conditions(
        select, options.confidence, options.max_class_drop, options.max_slice_drop, least,
        options.external, options.alpha_spending,
    )  # fmt: skip
    try:
        move = registry.rollback(name) if options.rollback else _promote(options, asked)
    except MlflowException as error:
        raise RunError(f"the registry did not do it ({reason(error)}); run it again") from None
    before = f", before it version {move.previous}" if move.previous else ""
    print(f"champion of {name} is version {move.champion}{before}: models:/{name}@champion")


def _promote(options: Options, asked: "Conditions") -> "Move":
    from tracking.places import lost
    from tracking.promotion import attempts, gate, registry

    name = options.model_name
    candidate, champion = registry.contenders(name, options.version)
    version, against = str(candidate.version), champion and str(champion.version)
    if (why := lost(f"models:/{name}/{version}")) is not None:
        raise UserError(f"--version {version}: {why}")
    verdict = gate.check(candidate, champion, asked, partial(attempts.count, name))
    if verdict.failed and options.force is None:
        if verdict.compared_on:
            _show(name, version, against, verdict)
        raise RunError(_refusal(f"version {version} of {name}", verdict))
    _show(name, version, against, verdict)
    if options.force is not None and not verdict.failed:
        print("--force was not needed and is not recorded")
    tags = {
        "crossfold.gate": json.dumps([asdict(check) for check in verdict.checks]),
        "crossfold.gate_against": against or "none",
        "crossfold.gate_notices": " | ".join(verdict.notices) or None,
        "crossfold.forced": options.force if verdict.failed else None,
    }
    return registry.promote(name, version, against, tags)


def _refusal(who: str, verdict: "Verdict") -> str:
    failed = verdict.failed
    names = " and ".join(f"'{check.name}'" for check in failed)
    why = f"failed {names}" if verdict.compared_on else failed[0].text
    return f'{who} is not promoted: {why}; --force "REASON" promotes it all the same'


def _show(name: str, version: str, champion: str | None, verdict: "Verdict") -> None:
    """Print the checks with their figures."""
    from rich.table import Table
    from rich.text import Text

    console = Screen()
    against = f" against the champion, version {champion}" if champion else ""
    compared_on = f", by {verdict.compared_on}" if verdict.compared_on else ""
    console.print(f"{name} version {version}{against}{compared_on}", markup=False, highlight=False)
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column()
    marks = {True: ("pass", "green"), False: ("FAIL", "bold red"), None: ("skip", "yellow")}
    for check in verdict.checks:
        table.add_row(Text(*marks[check.passed]), check.name, Text(check.text))
    console.print(table)
    for notice in verdict.notices:
        console.print(f"notice: {notice}", markup=False, highlight=False)


def _check(options: Options) -> None:
    gated = options.version or options.min or options.external or options.force is not None
    if options.rollback and gated:
        raise UserError(
            "--rollback: takes no --version, --min, --external or --force; it goes back to the "
            "previous champion"
        )
    if not 0.5 < options.confidence < 1:
        raise UserError(f"--confidence {options.confidence}: must be between 0.5 and 1, as 0.95")
    for name in ("max_class_drop", "max_slice_drop"):
        if not 0 <= (drop := getattr(options, name)) <= 1:
            raise UserError(f"--{name.replace('_', '-')} {drop}: must be 0 to 1, as 0.05")
    if options.force is not None and not options.force.strip():
        raise UserError("--force: needs a reason, which is kept with the version")


def _select(text: str) -> SelectBy:
    try:
        return SelectBy.parse(text)
    except ValueError as error:
        raise UserError(f"--select-by {text}: {error}") from None


def _floor(word: str) -> tuple[str, float]:
    """Read METRIC=VALUE."""
    name, _, value = (part.strip() for part in word.partition("="))
    try:
        limit = float(value)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise UserError(f"--min {word}: must be METRIC=VALUE, as macro_f1=0.9")
    try:
        known = SelectBy.parse(name).names == (name,)
    except ValueError as error:
        raise UserError(f"--min {word}: {error}") from None
    if not known:
        raise UserError(f"--min {word}: takes one score, without a weight")
    return name, limit


if __name__ == "__main__":
    sys.exit(run(main))

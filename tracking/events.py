"""What happens in a run, in the order in which it happens; a line of JSON each in its journal.

Lanes report events, the ledger keeps them, the screen shows them and the Recorder writes them to
MLflow.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from folds.training.outcome import EpochReport


@dataclass(frozen=True, kw_only=True)
class Started:
    """A lane has begun a fold.

    Parameters
    ----------
    task : int
        Number of the fold; the number behind the last one is that of a refit.
    time : int
        In ms since 1970, when the ledger heard of it.
    train, held_out : int
        Images to train on and to validate.
    lane, host, precision : int, str, str
        Where it is trained, and in which arithmetic.
    balance : mapping
        See `folds.training.balance.Balance.facts`.
    """

    task: int
    time: int = 0
    train: int
    held_out: int
    lane: int
    host: str
    precision: str
    balance: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EpochEnded:
    """A fold has been trained and validated for one more epoch."""

    task: int
    time: int = 0
    report: EpochReport


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A fold is finished, and its outcome is in the run's folder.

    Parameters
    ----------
    kept_epoch : int
        From 0.
    scores : mapping of str to float
        Of the best epoch, by the names of ``--select-by``; those in other views begin with
        ``tta_`` or ``augmented_``. A refit has none of a validation part.
    """

    task: int
    time: int = 0
    kept_epoch: int
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A fold has been given up; `cause` is one line for people."""

    task: int
    time: int = 0
    cause: str


Event = Started | EpochEnded | Finished | Failed
_KINDS: dict[str, type[Event]] = {
    "started": Started, "epoch": EpochEnded, "finished": Finished, "failed": Failed,
}  # fmt: skip


def to_line(event: Event) -> str:
    """An event as a line of a journal; an epoch's report is not nested in it."""
    kind = next(name for name, own in _KINDS.items() if isinstance(event, own))
    content = asdict(event)
    report = content.pop("report", {})
    return json.dumps({"kind": kind} | content | report) + "\n"


def from_line(line: str) -> Event:
    """Read what `to_line` wrote."""
    content = json.loads(line)
    kind, common = content.pop("kind"), {name: content.pop(name) for name in ("task", "time")}
    if kind == "epoch":
        return EpochEnded(**common, report=EpochReport(**content))
    return _KINDS[kind](**common, **content)


def read_journal(path: Path) -> list[Event]:
    """Read all whole lines of a journal; a line cut off by a crash is dropped."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    return [from_line(line) for line in lines[:-1] if line]

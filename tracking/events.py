"""What happens in a run, in the order in which it happens; a line of JSON each in its journal.

Lanes report events, the ledger keeps them, the screen shows them and the Recorder writes them to
MLflow. A line has its number and a seal (`folds.files`): one that is damaged is lost, and the
others keep their places, by which the Recorder knows what it has written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from folds.files import DamagedError, opened_json, sealed_json
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
class Retried:
    """A fold goes on from its last checkpoint, or begins again, perhaps otherwise than before.

    The epochs behind that checkpoint come again, perhaps with other numbers.

    Parameters
    ----------
    cause : str
        One line for people: what happened, and what is done about it.
    parts, rate : int, float
        See `folds.training.attempt.Attempt`.
    """

    task: int
    time: int = 0
    cause: str
    parts: int
    rate: float


@dataclass(frozen=True, kw_only=True)
class Failed:
    """A fold has been given up; `cause` is one line for people."""

    task: int
    time: int = 0
    cause: str


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Something happened, but its line in the journal was damaged."""

    task: int = -1
    time: int = 0


Event = Started | EpochEnded | Finished | Retried | Failed | Lost
_KINDS: dict[str, type[Event]] = {
    "started": Started, "epoch": EpochEnded, "finished": Finished, "retried": Retried,
    "failed": Failed, "lost": Lost,
}  # fmt: skip


def to_line(event: Event, number: int = 0) -> str:
    """An event as a line of a journal, from 0."""
    return sealed_json(content_of(event) | {"number": number}) + "\n"


def content_of(event: Event) -> dict[str, Any]:
    """An event as plain values, with its kind; an epoch's report is not nested in it."""
    kind = next(name for name, own in _KINDS.items() if isinstance(event, own))
    content = asdict(event)
    report = content.pop("report", {})
    return {"kind": kind} | content | report


def from_lines(lines: bytes) -> list[Event]:
    """Read a journal; `Lost` stands for lines that are damaged and have others behind them."""
    events: dict[int, Event] = {}
    for line in lines.split(b"\n"):
        try:
            content = opened_json(line, "the journal")
        except DamagedError:
            continue
        number, kind = content.pop("number"), content.pop("kind")
        common = {name: content.pop(name) for name in ("task", "time")}
        if kind == "epoch":
            events[number] = EpochEnded(**common, report=EpochReport(**content))
        else:
            events[number] = _KINDS[kind](**common, **content)
    return [events.get(number, Lost()) for number in range(max(events, default=-1) + 1)]


def read_journal(path: Path) -> list[Event]:
    """Read a journal, see `from_lines`; none is an empty one."""
    return from_lines(path.read_bytes()) if path.exists() else []


def lost(events: Sequence[Event]) -> int:
    """How many events a journal has lost."""
    return sum(isinstance(event, Lost) for event in events)

"""Who trains which fold, and what has happened: one actor beside the driver.

Lanes ask it for their next fold and tell it everything; it writes to the run's folder, so no
shared file system is needed and a restarted driver or worker goes on from there. Its process
imports no torch: it is there at once and stays small.
"""

import contextlib
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from distributed.lanes.journal import Journal
from distributed.lanes.pieces import Piece, Pieces
from distributed.lanes.standing import Standing
from distributed.workspace import Workspace
from folds.errors import RunError, counted, reason
from folds.files import DamagedError, read_values, write_values
from folds.training.attempt import FIRST, Attempt
from folds.training.outcome import FoldOutcome
from folds.training.refit import RefitPlan
from tracking.events import EpochEnded, Event, Failed, Finished, Retried

_PATIENCE_S = 600.0  # until another lane measures how to compute


@dataclass(frozen=True)
class Claim:
    """A fold that a lane shall train now, and how; with `refit`, all images.

    With a `share` below 1 it is a point of the learning curve, whose model nobody keeps.
    """

    task: int
    repeat: int
    fold: int
    refit: RefitPlan | None = None
    attempt: Attempt = FIRST
    share: float = 1.0


class Ledger:
    """The book of a run.

    Parameters
    ----------
    folder : str
        The workspace.
    tasks : list of (repeat, fold)
        What is to be trained; finished ones are known from the folder.
    max_failures : int
        How often a fold may lose its workers.
    pieces : list of Piece
        What is computed once for all folds, before the first of them.
    refit : bool
        Whether the last task before those of the curve trains on all images; it waits for the
        folds, and comes after the curve.
    curve : sequence of float
        Of each of the last tasks, the share of its training part.
    distill : float
        Share of what the folds teach a refit; 0: nothing.
    written : int
        Events that the Recorder has seen: fewer in the journal means that its end is lost.
    start : str, optional
        Names this start of the driver: a ledger that Ray starts again, with the same word, knows
        who trains what. Default: nobody does.

    Notes
    -----
    Every call may be repeated by Ray, which cannot know whether a process that was killed had done
    it; what is told twice is in the journal once.
    """

    def __init__(
        self,
        folder: str,
        tasks: list[tuple[int, int]],
        max_failures: int,
        pieces: Sequence[Piece] = (),
        *,
        refit: bool = False,
        curve: Sequence[float] = (),
        distill: float = 0.0,
        written: int = 0,
        start: str | None = None,
    ) -> None:
        self._space = Workspace(Path(folder))
        self._tasks, self._max_failures = tasks, max_failures
        self._journal = Journal(self._space.events, written)
        finished = [task for task in range(len(tasks)) if self._space.finished(task)]
        found = {task: self._space.drop_damaged(task) for task in finished}
        self._damaged = {task: damage for task, damage in found.items() if damage is not None}
        standing = (self._space.standing, start or uuid.uuid4().hex, len(self._journal.events))
        self._standing = Standing.read(*standing)
        since = self._journal.events[self._standing.first :]
        failed = {event.task for event in since if isinstance(event, Failed)}
        missing = [t for t in range(len(tasks)) if t not in failed and not self._space.finished(t)]
        self._standing.keep(missing)
        self._at, self._losses = self._standing.at, self._standing.losses
        others = len(tasks) - len(curve)
        self._refit = others - 1 if refit else None
        self._shares = dict(zip(range(others, len(tasks)), curve, strict=True))
        self._pending = [task for task in missing if task not in self._at.values()]
        self._pending.sort(key=lambda task: task == self._refit)
        self._excused: set[int] = set()
        self._trouble: dict[int, str] = {}
        self._distill = distill
        self._pieces = Pieces(pieces)
        self._measuring: int | None = None
        self._probing = [0.0, 0.0]
        self._unwritten: str | None = None
        self._remember()
        self._mend(missing)

    def next_claim(self, lane: int, call: str) -> Claim | None:
        """As `claim`, once for each `call`: repeated, it gets the same answer."""
        if self._standing.calls.get(lane) != call:
            claim = self.claim(lane)
            self._standing.calls[lane] = call
            self._remember()
            return claim
        return self._claim(self._at[lane]) if lane in self._at else None

    def _remember(self) -> None:
        """Keep who trains what."""
        with self._writing():
            self._standing.write(self._space.standing)

    def claim(self, lane: int) -> Claim | None:
        """Give a lane its next fold, or None when none is left.

        A lane that asks while it still has a fold has lost its workers, and gets it again.
        """
        if lane in self._at:
            task = self._at[lane]
            if task in self._excused:  # its workers told why, and have been started again
                self._excused.discard(task)
                self._trouble.pop(task, None)
                return self._claim(task)
            self._losses[task] = self._losses.get(task, 0) + 1
            if self._losses[task] <= self._max_failures:
                return self._claim(task)
            cause = self._trouble.pop(task, "its workers were lost")
            lost, most = counted(self._losses[task], "time"), self._max_failures
            self.fail(lane, task, f"{cause} ({lost}; --max-failures {most})")
        if not self._pending or (self._pending[0] == self._refit and not self._folds_are_there()):
            return None
        task = self._at[lane] = self._pending.pop(0)
        try:
            return self._claim(task)
        except DamagedError as error:  # a fold that the refit is planned by
            self.fail(lane, task, str(error))
            return None

    def _folds_are_there(self) -> bool:
        """Whether all folds are finished: the lane that ends the last one sees it."""
        return all(self._space.finished(task) for task in range(self._refit or 0))

    def _claim(self, task: int) -> Claim:
        attempt = self._journal.attempt(task)
        if task != self._refit:
            share = self._shares.get(task, 1.0)
            return Claim(task, *self._tasks[task], attempt=attempt, share=share)
        outcomes = [self._space.read_outcome(fold) for fold in range(task)]
        return Claim(task, *self._tasks[task], RefitPlan.of(outcomes, self._distill), attempt)

    def runtime(self, lane: int | None) -> tuple[dict[str, Any] | None, bool]:
        """How all folds are computed, if that is settled, and whether who asks shall measure it.

        The first lane that asks measures; when it asks again it has lost its workers, and when it
        takes too long it may have lost all: then another does. None never does.
        """
        if self._space.runtime.exists():
            return read_values(self._space.runtime), False
        now = time.monotonic()
        free = self._measuring in (None, lane) or now > self._probing[0] + _PATIENCE_S
        if free and lane is not None:
            self._measuring, self._probing[0] = lane, now
            return None, True
        return None, False

    def settle(self, settings: dict[str, Any]) -> None:
        """Keep how all folds are computed; what was settled first stays."""
        if not self._space.runtime.exists():
            with self._writing():
                write_values(self._space.runtime, settings)
            self._probing[1] = time.monotonic()

    def next_piece(self) -> Piece | None:
        """Give a worker a piece to compute, or None when all are there."""
        return self._pieces.next()

    def deliver(self, piece: Piece, output: NDArray) -> None:
        """Keep a piece."""
        self._pieces.deliver(piece, output)

    def seconds(self) -> dict[str, float]:
        """Of measuring how to compute; and from the first piece given to the last delivered."""
        sharing = (self._pieces.began, self._pieces.ended)
        spans = {"probe": self._probing, "shared features": sharing}
        return {
            name: max(0.0, end - start) if start else 0.0 for name, (start, end) in spans.items()
        }

    def outputs(self) -> dict[Piece, Any] | None:
        """References to all pieces, or None where some have not been delivered."""
        return self._pieces.outputs()

    def checkpoint(self, task: int) -> bytes | None:
        """The last checkpoint of a fold."""
        content, damage = self._space.read_checkpoint(task)
        if damage is not None:
            self.again(task, damage)
        return content

    def save_checkpoint(self, task: int, content: bytes) -> None:
        """Keep a checkpoint of a fold that is not finished."""
        if not self._space.finished(task):
            with self._writing():
                self._space.write_checkpoint(task, content)

    def record(self, event: Event) -> None:
        """Add an event to the journal."""
        with self._writing():
            self._journal.record(event)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Remember why the run's folder cannot be written: lanes do not wait to hear it."""
        try:
            yield
        except (OSError, RunError) as error:
            self._unwritten = self._unwritten or f"{self._space.folder}: {reason(error)}"
            raise

    def unwritten(self) -> str | None:
        """Why something could not be written, if so."""
        return self._unwritten

    def losses(self) -> dict[int, int]:
        """How often folds have lost their workers, of which each is allowed some."""
        return dict(self._losses)

    def trouble(self, task: int, cause: str) -> None:
        """Remember why a worker is about to die."""
        self._trouble.setdefault(task, cause)  # the first worker to complain has the reason

    def finish(self, lane: int, task: int, outcome: FoldOutcome, bundle: dict[str, bytes]) -> None:
        """Keep a finished fold, its model as files."""
        if not self._space.finished(task):
            with self._writing():
                self._space.write_outcome(task, outcome, bundle)
        self._record_finished(task)
        self._free(lane, task)

    def retry(
        self, lane: int, task: int, before: Attempt, attempt: Attempt | None, cause: str
    ) -> None:
        """Let a lane try its fold otherwise, from its last checkpoint; its workers are not lost.

        Parameters
        ----------
        before : Attempt
            How it was tried. Where that is over, another worker of the fold has told already.
        attempt : Attempt, optional
            How it is to be tried; None: there is nothing left to try, and it is given up.
        cause : str
            For people: what happened, and what is done about it.
        """
        if self._at.get(lane) != task or self._journal.attempt(task) != before:
            return
        if attempt is None:
            self.fail(lane, task, cause)
            return
        self._excused.add(task)
        self.record(Retried(task=task, cause=cause, **asdict(attempt)))

    def again(self, task: int, cause: str) -> None:
        """Tell that a fold goes on from an earlier state, for a file was damaged."""
        attempt = self._journal.attempt(task)
        self.record(Retried(task=task, cause=cause, **asdict(attempt)))

    def fail(self, lane: int, task: int, cause: str) -> None:
        """Give a fold up."""
        self.record(Failed(task=task, cause=cause))
        self._free(lane, task)

    def _free(self, lane: int, task: int) -> None:
        """Let a lane have another fold than this."""
        if self._at.get(lane) == task:
            del self._at[lane]
            self._remember()

    def give_up(self, cause: str) -> None:
        """Give up all folds that no lane has yet, and what is computed before them."""
        self._pieces.give_up()
        while self._pending:
            self.record(Failed(task=self._pending.pop(0), cause=cause))

    def _mend(self, missing: Sequence[int]) -> None:
        """Repair what a crash may have left: half a line, or a result whose event is missing."""
        self._journal.mend(  # how those ended that are tried again may be told again
            lambda event: isinstance(event, Failed | Finished) and event.task in missing
        )
        for task in range(len(self._tasks)):
            if self._space.finished(task):
                self._record_finished(task)
        for task, damage in self._damaged.items():
            self.again(task, damage)

    def _record_finished(self, task: int) -> None:
        outcome = self._space.read_outcome(task)
        if self._journal.lost:
            self._tell_epochs(task, outcome)
        scores = dict(outcome.measured)
        for view, own in outcome.other_view_scores.items():
            scores |= {f"{view}_{name}": value for name, value in own.items()}
        self.record(Finished(task=task, kept_epoch=outcome.kept_epoch, scores=scores))

    def _tell_epochs(self, task: int, outcome: FoldOutcome) -> None:
        """Tell the epochs of a fold whose lines in the journal are lost."""
        own = (event for event in self._journal.events if event.task == task)
        told = {event.report.epoch for event in own if isinstance(event, EpochEnded)}
        for report in outcome.history:
            if report.epoch not in told:
                self.record(EpochEnded(task=task, report=report))

    def events(self, first: int) -> list[Event]:
        """The journal from an event on."""
        return self._journal.events[first:]

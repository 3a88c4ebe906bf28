"""What the parts of the main job share: a run that has been checked, planned and settled."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from distributed.planning.plan import Plan
from distributed.workspace import Workspace
from folds.config import Config
from folds.errors import masked
from folds.prepare import Prepared
from folds.runtime.device import Runtime
from folds.runtime.trial import Trial
from tracking.events import Event
from tracking.recorder import Recorder


@dataclass
class Stopwatch:
    """Wall time of a command by phase.

    Parameters
    ----------
    began : float
        When the command began, by `time.perf_counter`.
    seconds : dict
        By the phases' names.
    """

    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @property
    def total(self) -> float:
        """Seconds since the command began."""
        return time.perf_counter() - self.began


@dataclass(frozen=True)
class Run:
    """A run, and what it works with.

    Parameters
    ----------
    prepared : Prepared
        Images, splits, first weights, settings.
    plan : Plan
        Lanes.
    runtime : Runtime
        Device, precision, layout and compilation of the workers.
    space : Workspace
        The run's folder.
    recorder : Recorder
        The way to MLflow.
    console : Console
        The screen.
    stopwatch : Stopwatch
    trial : Trial, optional
        What a lane shall measure before it trains; then `runtime` is what to begin with, and
        what was chosen is known once the folds are trained.
    missing : mapping of int to str
        Why tasks have failed for good that the outcome goes without, by their numbers.
    """

    prepared: Prepared
    plan: Plan
    runtime: Runtime
    space: Workspace
    recorder: Recorder
    console: Console
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    trial: Trial | None = None
    missing: Mapping[int, str] = field(default_factory=dict)

    @property
    def there(self) -> list[int]:
        """Numbers of the folds that the outcome is of, ascending; without a refit."""
        return [task for task in range(len(self.prepared.folds)) if task not in self.missing]

    @property
    def refitted(self) -> bool:
        """Whether there is a model of all images; its number is behind those of the folds."""
        return self.prepared.refit and len(self.prepared.folds) not in self.missing

    @property
    def config(self) -> Config:
        """The settings."""
        return self.prepared.problem.config

    def notify(self, text: str) -> None:
        """Tell the user one line."""
        notify(self.console, text)

    def write(self, event: Event) -> None:
        """Have the Recorder write an event."""
        self.recorder.take(event, self.space)


def notify(console: Console, text: str) -> None:
    """Tell the user one line that was not asked for."""
    say(console, f"notice: {text}")


def say(console: Console, line: str) -> None:
    """Print one line as it is, but for passwords: no colours for numbers, no markup, no breaks."""
    console.print(masked(line), highlight=False, markup=False, soft_wrap=True)

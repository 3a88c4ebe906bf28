"""What the parts of the main job share: a run that has been checked and planned."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

from distributed.planning.plan import Plan
from distributed.workspace import Workspace
from folds.config import Config
from folds.prepare import Prepared
from folds.runtime.device import Runtime
from folds.runtime.probe import Rates
from tracking.recorder import FoldFiles, Recorder


@dataclass
class Run:
    """A run that has been checked and planned, and what it works with.

    Parameters
    ----------
    config : Config
        The settings.
    prepared : Prepared
        Images, splits, first weights.
    plan : Plan
        Lanes.
    space : Workspace
        The run's folder.
    recorder : Recorder
        The way to MLflow.
    console : Console
        The screen.
    runtime : Runtime, optional
        Device, precision, layout and compilation of the workers, once they are settled.
    rates : Rates, optional
        What a worker does in a second, if it was measured.
    seconds : dict
        Wall time by phase.
    began : float
        When the command began, by `time.perf_counter`.
    """

    config: Config
    prepared: Prepared
    plan: Plan
    space: Workspace
    recorder: Recorder
    console: Console
    runtime: Runtime | None = None
    rates: Rates | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the wall time of a block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def notify(self, text: str) -> None:
        """Tell the user one line."""
        self.console.print(f"notice: {text}", highlight=False, markup=False, soft_wrap=True)

    def fold_files(self, task: int) -> FoldFiles:
        """What the Recorder logs of a finished fold."""
        found = self.space.read_result(task)
        return FoldFiles(
            self.space.fold(task) / "bundle",
            self.prepared.problem.images.labels[found["rows"]],
            found["probabilities"],
            found["history"],
        )

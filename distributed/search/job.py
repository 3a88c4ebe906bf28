"""The whole of a search: from checked settings to its winner, its summary and its report."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mlflow.exceptions import MlflowException
from ray.exceptions import RayError
from ray.tune import TuneError

from distributed.lanes.recording import RecorderThread
from distributed.search.conclude import conclude, write_best
from distributed.search.nested import Nested, search_within
from distributed.search.records import Records
from distributed.search.run import Search
from distributed.search.trials import Trial, Trials
from folds.errors import RunError, disk_full, reason
from folds.files import output_file
from folds.signals import Interruption
from tracking.search.fields import values_text
from tracking.search.page import write_search_report
from tracking.search.recorder import TrialRecord
from tracking.search.screen import markdown, print_search
from tracking.search.summary import SearchSummary


@dataclass(frozen=True)
class Ended:
    """A search that has ended.

    Parameters
    ----------
    summary : SearchSummary
    best : Path, optional
        The file for ``--config``; None where no trial was complete.
    """

    summary: SearchSummary
    best: Path | None


def execute(search: Search, budget: float | None) -> Ended:
    """Search, record it, and tell what came out.

    Parameters
    ----------
    budget : float, optional
        Seconds.

    Raises
    ------
    RunError
        Nothing could be found; what is finished is kept for ``--resume``.
    KeyboardInterrupt
        It was interrupted; says what is best so far and how to go on.
    """
    recorder, trials = search.recorder, search.trials("trials")
    status: str | None = "FAILED"
    go_on = (
        f"to go on: python -m distributed.tune --resume {search.space.name}{recorder.store.again}"
    )
    Interruption.advice = go_on
    try:
        with search.stopwatch.phase("tracking"):
            _open(search)
        nested = _nested(search)
        with search.stopwatch.phase("search"):
            _race(search, trials, budget)
        with search.stopwatch.phase("finish"):
            ended = _finish(search, trials, nested)
        recorder.close("FINISHED")
        status = None
    except KeyboardInterrupt:
        status = "KILLED"
        raise KeyboardInterrupt(f"{_so_far(trials)}; {go_on}") from None
    except BrokenPipeError:
        status = "KILLED"
        raise BrokenPipeError(f"nobody reads the output any more; {go_on}") from None
    except (RunError, MlflowException, RayError, TuneError, OSError) as error:
        why = reason(error, most=1000)
        if disk_full(error):
            why = f"the disk is full ({why}); make room"
        raise RunError(f"{why}; {go_on}") from None
    finally:
        if status is not None:
            _close(search, status)
    search.space.remove()
    best = ended.best
    print_search(search.console, ended.summary, best_yaml=best or Path("best.yaml"))
    return ended


def _so_far(trials: Trials) -> str:
    best = trials.best
    if best is None:
        return f"{len(trials)} trials begun, none has all folds yet"
    return f"best so far trial {best.number}, {best.mean:.3f} ({values_text(best.values)})"


def _open(search: Search) -> None:
    tags = {
        "crossfold.dataset": search.asked.data.told,
        "crossfold.backbone": search.asked.model.backbone,
        **{f"crossfold.{name}": value for name, value in search.digests.items()},
    }
    params = search.config.flat() | {
        f"search.{name}": value for name, value in vars(search.options).items()
    }
    search.recorder.open(search.asked.tracking.experiment, search.space.name, params, tags)


def _nested(search: Search) -> Nested | None:
    if not search.options.outer_folds:
        return None
    with search.stopwatch.phase("outer folds"):
        return search_within(search)


def _race(search: Search, trials: Trials, budget: float | None) -> None:
    """Run all trials, then those that are finished though they were stopped."""
    proposer, place = search.proposer(), search.recorder.store.shown
    writer: RecorderThread[TrialRecord]
    records: Records
    with search.display(proposer.count) as display:

        def tell(trial: Trial) -> None:
            display.show(trial)
            writer.check()
            writer.take([records.of(trial)])

        engine = search.engine(tell)
        records = Records(trials, search.fold_names, engine.settings)
        writer = RecorderThread(search.recorder.write, place, search.notify)
        try:
            for trial in trials:  # of a search that goes on
                tell(trial)
            engine.search(trials, proposer, budget)
            if chosen := _to_audit(search, trials):
                engine.finish(trials, chosen)
            writer.close()
        except BaseException:
            writer.stop()
            raise


def _to_audit(search: Search, trials: Trials) -> list[int]:
    """Stopped trials that are finished anyway: drawn by chance, the same each time."""
    stopped = [trial.number for trial in trials if trial.stopped_after is not None]
    chance = np.random.default_rng(search.config.split.seed)
    drawn = chance.permutation(stopped)[: search.options.audit_stops]
    return [int(n) for n in sorted(drawn) if trials[int(n)].state != "complete"]


def _finish(search: Search, trials: Trials, nested: Nested | None) -> Ended:
    """Describe the search, write its files, here and in MLflow."""
    summary = conclude(search, trials, nested)
    if summary.winner is None:
        failed = [trial for trial in trials if trial.state == "failed"]
        why = f"; trial {failed[0].number}: {failed[0].why}" if failed else ""
        raise RunError(f"no trial has all its folds, so there is no best one{why}")
    folder = Path(search.asked.tracking.output or search.space.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_best(folder / "best.yaml", summary)
    with output_file(folder / "search.json") as scratch:
        scratch.write_text(summary.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_search_report(folder / "report.html", summary)
    names = ("best.yaml", "search.json", "report.html")
    tags = {"mlflow.note.content": markdown(summary)}
    search.recorder.log_parent(_metrics(summary), [folder / name for name in names], tags)
    return Ended(summary, folder / "best.yaml")


def _metrics(summary: SearchSummary) -> dict[str, float]:
    estimates = {
        "naive_score": summary.naive,
        "corrected_score": summary.corrected,
        "outer_score": summary.outer_score,
    }
    found = {name: one.value for name, one in estimates.items() if one is not None}
    counts = {"trials": len(summary.trials), "folds_trained": summary.folds_trained}
    counts["folds_without_racing"] = summary.folds_without_racing
    return {name: value for name, value in found.items() if value is not None} | {
        name: float(value) for name, value in counts.items()
    }


def _close(search: Search, status: str) -> None:
    try:
        search.recorder.close(status)
    except Exception as error:  # the tracker went away at the very end
        if not disk_full(error):
            search.notify(f"the runs' status could not be written: {reason(error)}")

"""The end of the main job: predictions pooled and judged, a model registered, all of it told."""

from pathlib import Path

from distributed.assessment import assess
from distributed.candidates import Candidate, choose
from distributed.outputs import write_files
from distributed.page import page_facts
from distributed.pooling import pool, pooled_shift_scores
from distributed.run import Run
from distributed.summarise import summarise
from distributed.summary import Summary
from distributed.tell import markdown, print_summary
from folds.evaluate import confusion
from folds.files import check_folder
from tracking.figures import confusion_figure
from tracking.registry import Described
from tracking.report import write_report


def check_output(output: str | None) -> None:
    """Refuse a place for the files that cannot be written to, before anything is trained.

    Raises
    ------
    UserError
        It is a file, or lies where folders may not be made.
    """
    if output is not None:
        check_folder(f"--output {output}", Path(output))


def finish(run: Run) -> Summary:
    """Pool and judge the predictions, register a model, write and show the summary."""
    prepared, images = run.prepared, run.prepared.problem.images
    results = [run.space.read_result(task) for task in range(len(prepared.folds))]
    pooled = pool(prepared, results)
    said = assess(images, pooled, results)
    shift = pooled_shift_scores(images, pooled)
    choice = choose(run, results, pooled, {} if shift is None else shift.flat())
    version = _register(run, choice.chosen, said.temperature)
    summary = summarise(run, results, pooled, shift, said, choice, version)
    files = write_files(run, summary, pooled, choice.candidates)
    sheet = files[0].with_name("augmentation.png")
    page = files[0].with_name("report.html")
    write_report(page, page_facts(run, results, pooled, said, choice, summary, sheet))
    files.append(page)
    counts = confusion(pooled.oof.labels, pooled.oof.probabilities)
    figure = confusion_figure(counts, images.class_names, "all out-of-fold predictions")
    metrics = _metrics(summary)
    run.recorder.log_parent(metrics, files, figure, markdown(summary, prepared.names))
    return summary


def _register(run: Run, chosen: Candidate, temperature: float) -> str:
    """Write the chosen model as one bundle and register it."""
    folder = run.space.folder / "model"
    chosen.write(folder, temperature)
    tags = {
        "crossfold.run": run.recorder.runs.parent,
        "crossfold.candidate": chosen.kind,
        **{f"crossfold.{name}": value for name, value in run.prepared.digests.items()},
    }
    about = Described(tags, "")
    return run.recorder.register(folder, chosen.kind, run.config.tracking.model_name, about)


def _metrics(summary: Summary) -> dict[str, float]:
    """The parent run's metrics."""
    found: dict[str, float | None] = {f"oof_{n}": v for n, v in summary.oof}
    for view, beside in summary.oof_beside.items():
        found |= {f"oof_{view}_{name}": value for name, value in beside}
    for name, after in summary.calibration.scores.items():
        found[f"oof_calibrated_{name}"] = after.value
    found["temperature"] = summary.calibration.temperature
    if summary.oof_shift is not None:
        shift = summary.oof_shift
        found |= {"oof_shift.accuracy": shift.accuracy, "oof_shift.macro_f1": shift.macro_f1}
        found["oof_shift.worst"] = shift.worst_macro_f1
    for name, spread in summary.over_folds.items():
        found |= {f"mean_{name}": spread.mean, f"std_{name}": spread.std}
    tests = {f"external.{name}": scored for name, scored in summary.external.items()}
    if summary.holdout is not None:
        tests["holdout"] = summary.holdout
    for name, scored in tests.items():
        for kind, scores in scored.models.items():
            found |= {f"{name}.{kind}.{score}": value for score, value in scores}
    return {name: value for name, value in found.items() if value is not None}


def show(run: Run, summary: Summary) -> None:
    """Print the end of a run."""
    print_summary(run.console, summary, run.prepared.names, run.recorder.store.look)
    if run.config.tracking.output:
        run.console.print(f"files     {run.config.tracking.output}", highlight=False, markup=False)

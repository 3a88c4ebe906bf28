"""The end of the main job: predictions pooled and judged, a model registered, all of it told."""

from collections.abc import Sequence

import numpy as np

from distributed.lanes.recording import patiently
from distributed.outcome.assessment import assess
from distributed.outcome.candidates import Candidate, choose
from distributed.outcome.console import markdown, print_summary
from distributed.outcome.deciding import decide
from distributed.outcome.files import output_folder, write_files
from distributed.outcome.heat import FoldHeat
from distributed.outcome.learning_curve import curve_metrics, curve_of
from distributed.outcome.pooling import pool
from distributed.outcome.summarise import summarise
from distributed.outcome.visuals import make_visuals
from distributed.run import Run
from folds.augment.sheet import sheet
from folds.evaluation.shift import score_corrupted
from folds.evaluation.slices import pooled_worst
from folds.model.bundle import ModelCard
from folds.model.decision import Decision
from folds.training.outcome import EpochReport
from tracking.figures import confusion_figure
from tracking.limits import DESCRIPTION
from tracking.mlflow_pages import CHOSEN_BY
from tracking.promotion.registry import VersionNotes
from tracking.report import write_report
from tracking.report.card import FILE, description, headline, model_card
from tracking.summary import Summary, partial_tags

_OTHERS = ("train_loss", "val_loss", "val_accuracy", "val_macro_f1")
_CURVES = {CHOSEN_BY: "score", **{f"folds.{name}": name for name in _OTHERS}}


def finish(run: Run) -> Summary:
    """Pool and judge the predictions, register a model, write and show the summary."""
    prepared, images = run.prepared, run.prepared.problem.images
    results = [run.space.read_outcome(task) for task in run.there]
    pooled = pool(prepared, results)
    assessment = assess(images, pooled, results)
    shift = score_corrupted(images.labels, pooled.shift)
    beside = ({} if shift is None else shift.flat()) | pooled_worst(assessment.slices)
    choice = choose(run, results, pooled, beside, assessment.temperature)
    decision, decided = decide(run, pooled, assessment, choice.chosen)
    summary = summarise(run, results, pooled, shift, assessment, choice, decided)
    summary = summary.model_copy(update={"learning_curve": curve_of(run, pooled)})
    folder, config = output_folder(run), run.config
    size, seed = prepared.problem.size, config.split.seed
    augmentation = sheet(images, config.train.augment, size=size, seed=seed)
    augmentation.save(folder / "augmentation.png")
    # Before the model is registered, so that no version is left of a run that fails here.
    heat = FoldHeat(run, pooled.oof)
    visuals = make_visuals(images, results, pooled, assessment, choice.best, augmentation, heat)
    version = _register(run, choice.chosen, decision, summary)
    summary = summary.of_version(version)
    files = write_files(run, folder, summary, pooled, choice.candidates)
    write_report(folder / "report.html", summary, visuals)
    files += [folder / "report.html", folder / "augmentation.png"]
    figure = confusion_figure(visuals.confusion, images.class_names, "all out-of-fold predictions")
    tags = {
        "crossfold.runtime": run.runtime.describe(),
        "mlflow.note.content": markdown(summary),
        **partial_tags(summary),
    }
    patiently(lambda: run.recorder.log_confusion(figure), run.notify)
    metrics, epochs = _metrics(summary), fold_curves([result.history for result in results])
    curves = [*enumerate(epochs, start=1), *curve_metrics(summary.learning_curve)]
    patiently(lambda: run.recorder.log_parent(metrics, files, tags, curves), run.notify)
    return summary


def fold_curves(histories: Sequence[Sequence[EpochReport]]) -> list[dict[str, float]]:
    """Mean, least and most over folds of each epoch's scores, for the parent run's charts.

    Parameters
    ----------
    histories : sequence of sequences of EpochReport
        Of the folds, an epoch each.

    Returns
    -------
    list of dict of str to float
        As ``folds.val_macro_f1.mean``; of a single fold nothing, its run has them.
    """
    if len(histories) < 2:
        return []
    curves = []
    for epoch in range(max(map(len, histories))):
        reports = [history[epoch] for history in histories if epoch < len(history)]
        values: dict[str, float] = {}
        for name, field in _CURVES.items():
            each = [getattr(report, field) for report in reports]
            values |= {
                f"{name}.mean": float(np.mean(each)),
                f"{name}.least": min(each),
                f"{name}.most": max(each),
            }
        curves.append(values)
    return curves


def _register(run: Run, chosen: Candidate, decision: Decision, summary: Summary) -> str:
    """Write the chosen model and its card as one bundle, and register it as a new version."""
    folder = run.space.folder / "model"
    chosen.write(folder)
    decision.write(folder)
    text = model_card(summary, ModelCard.read(folder / "model.json"))
    (folder / FILE).write_text(text, encoding="utf-8")
    tags = {
        "crossfold.run": run.recorder.runs.parent,
        "crossfold.candidate": chosen.kind,
        **{f"crossfold.{name}": value for name, value in summary.digests.items()},
        **partial_tags(summary),
    }
    name = summary.registered.name
    about = VersionNotes(tags, description(text, DESCRIPTION, headline(summary)))
    recorder = run.recorder
    return patiently(lambda: recorder.register(folder, chosen.kind, name, about), run.notify)


def _metrics(summary: Summary) -> dict[str, float]:
    """The parent run's metrics; what is not defined is left out."""
    metrics: dict[str, float | None] = {f"oof_{name}": value for name, value in summary.oof}
    for view, scores in summary.oof_other_views.items():
        metrics |= {f"oof_{view}_{name}": value for name, value in scores}
    for name, after in summary.calibration.scores.items():
        metrics[f"oof_calibrated_{name}"] = after.value
    metrics["temperature"] = summary.calibration.temperature
    if (decision := summary.decision) is not None:
        metrics |= {
            "oof_sets.coverage": decision.sets.coverage,
            "oof_sets.size": decision.sets.size,
        }
        metrics["oof_aurc"] = decision.aurc
    if (shift := summary.oof_shift) is not None:
        metrics |= {"oof_shift.accuracy": shift.accuracy, "oof_shift.macro_f1": shift.macro_f1}
        metrics["oof_shift.worst"] = shift.worst_macro_f1
    for column, of in summary.slices.items():
        if (worst := of.lowest) is not None:
            metrics[f"oof_slices.{column}.worst"] = worst.macro_f1.value
            metrics[f"oof_slices.{column}.worst.accuracy"] = worst.accuracy.value
    for name, spread in summary.over_folds.items():
        metrics |= {f"mean_{name}": spread.mean, f"std_{name}": spread.std}
    tests = {f"external.{name}": scored for name, scored in summary.external.items()}
    if summary.holdout is not None:
        tests["holdout"] = summary.holdout
    for name, scored in tests.items():
        for kind, scores in scored.models.items():
            metrics |= {f"{name}.{kind}.{score}": value for score, value in scores}
    return {name: value for name, value in metrics.items() if value is not None}


def show(run: Run, summary: Summary) -> None:
    """Print the end of a run."""
    print_summary(run.console, summary, run.recorder.store.look)
    if run.config.tracking.output:
        run.console.print(f"files     {run.config.tracking.output}", highlight=False, markup=False)

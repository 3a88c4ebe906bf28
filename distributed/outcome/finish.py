"""The end of the main job: predictions pooled and judged, a model registered, all of it told."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from distributed.outcome.assessment import assess
from distributed.outcome.candidates import Candidate, choose
from distributed.outcome.console import markdown, print_summary
from distributed.outcome.files import output_folder, write_files
from distributed.outcome.pooling import pool
from distributed.outcome.report import page_facts
from distributed.outcome.summarise import summarise
from distributed.run import Run
from folds.augment.sheet import sheet
from folds.evaluation.metrics import confusion
from folds.evaluation.shift import score_corrupted
from folds.model.bundle import ModelCard
from folds.model.licence import licence_of
from tracking.figures import confusion_figure
from tracking.promotion.registry import VersionNotes
from tracking.report import Report, write_report
from tracking.report.card import FILE, CardFacts, model_card
from tracking.summary import Summary


def finish(run: Run) -> Summary:
    """Pool and judge the predictions, register a model, write and show the summary."""
    prepared, images = run.prepared, run.prepared.problem.images
    results = [run.space.read_outcome(task) for task in range(len(prepared.folds))]
    pooled = pool(prepared, results)
    said = assess(images, pooled, results)
    shift = score_corrupted(images.labels, pooled.shift)
    choice = choose(run, results, pooled, {} if shift is None else shift.flat())
    summary = summarise(run, results, pooled, shift, said, choice)
    folder = output_folder(run)
    facts = page_facts(run, results, pooled, said, choice, summary, _draw_sheet(run, folder))
    version = _register(run, choice.chosen, said.temperature, summary, facts)
    summary = summary.of_version(version)
    files = write_files(run, folder, summary, pooled, choice.candidates)
    registered = replace(facts.registered, version=version) if facts.registered else None
    write_report(folder / "report.html", replace(facts, registered=registered))
    files += [folder / "report.html", folder / "augmentation.png"]
    counts = confusion(pooled.oof.labels, pooled.oof.probabilities)
    figure = confusion_figure(counts, images.class_names, "all out-of-fold predictions")
    run.recorder.log_parent(_metrics(summary), files, figure, markdown(summary, prepared.names))
    return summary


def _draw_sheet(run: Run, folder: Path) -> Path:
    """Draw what augmentation does."""
    problem, config = run.prepared.problem, run.config
    picture = sheet(problem.images, config.train.augment, size=problem.size, seed=config.split.seed)
    path = folder / "augmentation.png"
    picture.save(path)
    return path


def _register(
    run: Run, chosen: Candidate, temperature: float, summary: Summary, facts: Report
) -> str:
    """Write the chosen model and its card as one bundle, and register it."""
    folder, digests = run.space.folder / "model", run.prepared.digests
    images = run.prepared.problem.images
    chosen.write(folder, temperature)
    card = CardFacts(
        kind=chosen.kind,
        name=run.config.tracking.model_name,
        bundle=ModelCard.read(folder / "model.json"),
        weights=digests["weights"],
        report=facts,
        licence=licence_of(run.config.model.backbone, digests["weights"]),
        counts=images.counts,
        groups=len(np.unique(images.groups)),
        external=bool(summary.external),
        why=f"It was chosen of {len(summary.candidates)} candidates: {summary.registered.why}.",
    )
    text = model_card(card)
    (folder / FILE).write_text(text, encoding="utf-8")
    tags = {
        "crossfold.run": run.recorder.runs.parent,
        "crossfold.candidate": chosen.kind,
        **{f"crossfold.{name}": value for name, value in digests.items()},
    }
    name = run.config.tracking.model_name
    return run.recorder.register(folder, chosen.kind, name, VersionNotes(tags, text))


def _metrics(summary: Summary) -> dict[str, float]:
    """The parent run's metrics."""
    found: dict[str, float | None] = {f"oof_{n}": v for n, v in summary.oof}
    for view, other_views in summary.oof_other_views.items():
        found |= {f"oof_{view}_{name}": value for name, value in other_views}
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

import io
import re

import pytest
from rich.console import Console

from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.console import markdown, print_summary
from distributed.outcome.deciding import decide
from distributed.outcome.pooling import pool
from distributed.outcome.summarise import summarise
from folds.evaluation.shift import score_corrupted
from tests.distributed.finished import finished_run, problem_of
from tracking.summary import Summary


def told(folder, **settings):
    """Summary, screen and description of a finished run."""
    problem = problem_of(**settings)
    run, results = finished_run(folder, problem)
    pooled = pool(run.prepared, results)
    shift = score_corrupted(problem.images.labels, pooled.shift)
    choice = choose(run, results, pooled, {} if shift is None else shift.flat(), 1.5)
    said = assess(problem.images, pooled, results)
    decided = decide(run, pooled, said, choice.chosen)[1]
    summary = summarise(run, results, pooled, shift, said, choice, decided).of_version("7")
    return summary, screen(summary), markdown(summary)


def screen(summary):
    console = Console(file=io.StringIO(), width=100)
    print_summary(console, summary, "mlflow ui")
    return console.file.getvalue()


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    return told(
        tmp_path_factory.mktemp("run"), folds=3, repeats=2, shift="fast", holdout=0.1, tta="d4",
        externals=("lab2", "lab3"), refit=True, select_by="0.5*macro_f1+0.5*shift.worst",
    )  # fmt: skip


def line(text, start):
    (found,) = [line for line in text.splitlines() if line.startswith(start)]
    return found


def test_the_screen_names_everything(everything):
    summary, text, _ = everything
    assert re.findall(r"^│ (\S.*?) +│", text, re.MULTILINE) == [
        *(f"repeat {repeat} fold {fold}" for repeat in (1, 2) for fold in (1, 2, 3)),
        "mean", "std", "all pooled", "95% low", "95% high", "TTA d4",
    ]  # fmt: skip
    pooled = re.search(r"all pooled .*", text)[0]
    for name in ("accuracy", "macro_f1", "roc_auc", "log_loss"):
        assert f" {getattr(summary.oof, name):.3f} " in pooled
    low = re.search(r"95% low .*", text)[0]
    assert f" {summary.oof_intervals['macro_f1'].low:.3f} " in low
    shift = summary.oof_shift
    assert line(text, "shift").endswith(
        f"{shift.images} images under 19 corruptions: accuracy {shift.accuracy:.3f}, macro-F1 "
        f"{shift.macro_f1:.3f}; worst {shift.worst.replace('_', ' ')}, {shift.worst_macro_f1:.3f}"
    )
    choice = summary.epoch_choice
    assert line(text, "epochs").startswith("epochs    scores are of each fold's last epoch: ")
    assert f"0.5*macro_f1+0.5*shift.worst {choice.last:.3f}" in line(text, "epochs")
    assert f"which flatters: {choice.best:.3f}" in line(text, "epochs")
    assert line(text, "trust").endswith(f"the model's is {summary.calibration.temperature:.2f}")
    for name in ("lab2", "lab3"):
        assert line(text, f"external  {name}, ").endswith(accuracies(summary.external[name]))
    assert accuracies(summary.holdout) + "; never used for choosing" in line(text, "hold-out")
    assert line(text, "model").endswith(
        "crossfold version 7 (alias candidate) is the ensemble: the mean of all folds' "
        "probabilities"
    )
    assert line(text, "look") == "look      mlflow ui"
    assert "models:/crossfold@champion" in line(text, "predict")


def accuracies(tested):
    each = []
    for kind in ("best-fold", "ensemble", "refit"):
        found = tested.intervals[kind]["accuracy"]
        each.append(f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f}) {kind}")
    return f"{tested.images} images: accuracy (95% interval) {', '.join(each)}"


def test_the_description_says_the_same(everything):
    _, text, description = everything
    table = [row for row in description.splitlines() if row.startswith("|")]
    assert len(table) == 2 + 6 + 3
    assert {row.count("|") for row in table} == {7}
    for start in ("trust", "shift", "external  lab2", "external  lab3", "hold-out", "model"):
        assert line(description, start) == line(text, start)
    assert "report.html" in description


def test_what_was_not_measured_is_not_told(tmp_path):
    summary, text, description = told(tmp_path)
    assert (summary.oof_shift, summary.holdout, summary.external) == (None, None, {})
    for words in (text, description):
        assert not re.search("^(shift|external|hold-out)", words, re.MULTILINE)
        assert "TTA" not in words


def test_scores_that_are_not_defined_are_a_dash(everything):
    summary, _, _ = everything
    missing = summary.model_dump()
    missing["oof"]["roc_auc"] = None
    missing["over_folds"].pop("roc_auc")
    missing["oof_intervals"]["roc_auc"] = dict.fromkeys(("value", "low", "high"))
    found = Summary.model_validate(missing)
    for start in ("all pooled", "mean", "95% low"):
        row = re.search(f"{start} .*", screen(found))[0]
        assert [cell.strip() for cell in row.split("│")][4] == "-"
    assert " | - to - | " in markdown(found)


def test_names_are_not_taken_for_markup(everything):
    summary, _, _ = everything
    name = "[bold]cells[/bold] [link=x]"
    model = summary.registered.model_copy(update={"name": name})
    text = screen(summary.model_copy(update={"registered": model}))
    assert line(text, "promote") == f"promote   python -m tracking.promote --model-name '{name}'"
    assert name in line(text, "model")
    assert name in line(text, "predict")

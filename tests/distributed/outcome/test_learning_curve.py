"""What a run says of more images."""

from distributed.outcome.learning_curve import curve_metrics, curve_of
from distributed.outcome.pooling import pool
from folds.evaluation.intervals import intervals
from tests.distributed.finished import finished_run, problem_of
from tracking.events import Failed, to_line


def run_of(folder, missing=None, **settings):
    problem = problem_of(learning_curve=[0.25, 0.5], batch_size=4, refit=True, **settings)
    run, results = finished_run(folder, problem, missing=missing)
    return run, pool(run.prepared, results)


def test_has_a_point_a_share_and_the_run_itself(tmp_path):
    run, pooled = run_of(tmp_path, select_by="log_loss")
    assert run.prepared.names[2:] == [
        "refit", "fold 1, 0.5", "fold 2, 0.5", "fold 1, 0.25", "fold 2, 0.25",
    ]  # fmt: skip
    curve = curve_of(run, pooled)
    assert [point.share for point in curve.points] == [0.25, 0.5, 1.0]
    assert [point.images for point in curve.points] == [8, 16, 32]
    whole = intervals(pooled.oof).pooled["log_loss"]
    assert curve.points[-1].scores["log_loss"].value == whole.value
    assert (curve.score, curve.law, curve.missing) == ("log_loss", None, {})
    metrics = dict(curve_metrics(curve))
    assert list(metrics) == [8, 16, 32]
    assert metrics[32]["learning_curve.log_loss"] == whole.value


def test_a_share_of_which_a_fold_failed_has_no_point(tmp_path):
    run, pooled = run_of(tmp_path, missing={4: "full"})
    run.missing.clear()  # it is no fold that the run goes without
    run.space.events.write_text(to_line(Failed(task=4, cause="full")))
    curve = curve_of(run, pooled)
    assert [point.share for point in curve.points] == [0.25, 1.0]
    assert curve.missing == {"fold 2, 0.5": "full"}


def test_without_the_flag_there_is_none(tmp_path):
    run, results = finished_run(tmp_path, problem_of())
    assert curve_of(run, pool(run.prepared, results)) is None
    assert list(curve_metrics(None)) == []


def test_a_sum_of_scores_is_drawn_by_accuracy(tmp_path):
    run, pooled = run_of(tmp_path, select_by="0.5*accuracy+0.5*macro_f1")
    assert curve_of(run, pooled).score == "accuracy"

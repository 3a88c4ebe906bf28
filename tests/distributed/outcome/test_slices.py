"""Scores by site from the folds' predictions to the summary, the screen and MLflow's metrics."""

from dataclasses import replace

import numpy as np
import pytest

from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.deciding import decide
from distributed.outcome.finish import _metrics
from distributed.outcome.pooling import oof_arrays, pool
from distributed.outcome.summarise import summarise
from folds.evaluation.slices import pooled_worst
from tests.conftest import small_images
from tests.distributed.finished import finished_run, fold_of, problem_of
from tests.distributed.outcome.test_console import line, screen

SELECT = "0.5*macro_f1+0.5*worst_site.macro_f1"


def sited(problem, repeat, fold, **more):
    """A fold whose own scores of the worst site are known."""
    result = fold_of(problem, repeat, fold, **more)
    own = {"worst_site.accuracy": 0.2, "worst_site.macro_f1": 0.1}
    return replace(result, measured=result.measured | own | {"slices.site.worst": 0.1})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    images = small_images()
    sites = np.array(["x", "x", "y", "z"] * 16)
    sites[-1] = "f"
    images = replace(images, columns={"site": sites})
    problem = problem_of(images, folds=2, repeats=2, select_by=SELECT)
    run, results = finished_run(tmp_path_factory.mktemp("run"), problem, fold=sited)
    pooled = pool(run.prepared, results)
    said = assess(images, pooled, results)
    choice = choose(run, results, pooled, pooled_worst(said.slices), 1.5)
    decided = decide(run, pooled, said, choice.chosen)[1]
    summary = summarise(run, results, pooled, None, said, choice, decided)
    return images, pooled, summary.of_version("7")


def test_rows_keep_their_sites(done):
    images, pooled, _ = done
    arrays = oof_arrays(pooled)
    site = dict(zip(images.ids.tolist(), images.sites.tolist(), strict=True))
    assert arrays["column.site"].tolist() == [site[name] for name in arrays["ids"].tolist()]


def test_the_summary_has_each_site_and_the_worst(done):
    _, pooled, summary = done
    own = {one.value: one for one in summary.slices["site"].values}
    assert {name: one.images for name, one in own.items()} == {"x": 32, "y": 16, "z": 15, "f": 1}
    assert [name for name, one in own.items() if one.enough] == ["x"]
    assert summary.slices["site"].worst == "x"
    rows = pooled.columns["site"] == "y"
    right = pooled.oof.probabilities[rows].argmax(axis=1) == pooled.oof.labels[rows]
    assert own["y"].accuracy.value == pytest.approx(right.mean())


def test_the_model_is_chosen_by_the_worst_site(done):
    _, _, summary = done
    ensemble = next(one for one in summary.candidates if one.kind == "ensemble")
    worst = summary.slices["site"].lowest.macro_f1.value
    assert ensemble.value == pytest.approx(0.5 * summary.oof.macro_f1 + 0.5 * worst)


def test_the_screen_and_the_metrics_tell_the_worst(done):
    _, _, summary = done
    worst = summary.slices["site"].lowest
    told = line(screen(summary), "slices")
    assert told.startswith("slices    site: of 4 x is worst, 32 images: macro-F1 0.")
    metrics = _metrics(summary)
    assert metrics["oof_slices.site.worst"] == worst.macro_f1.value
    assert metrics["oof_slices.site.worst.accuracy"] == worst.accuracy.value

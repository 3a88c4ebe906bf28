import numpy as np
import pytest

from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.deciding import decide
from distributed.outcome.pooling import pool
from folds.evaluation.calibration import served
from tests.conftest import small_images
from tests.distributed.finished import finished_run, fold_of, problem_of


def decided(folder, problem, only=None, fold=fold_of):
    run, results = finished_run(folder, problem, only=only, fold=fold)
    pooled = pool(run.prepared, results)
    found = assess(problem.images, pooled, results)
    choice = choose(run, results, pooled, {}, found.temperature)
    return pooled, found, choice.chosen, *decide(run, pooled, found, choice.chosen)


def test_thresholds_are_of_the_tempered_out_of_fold_predictions(tmp_path):
    problem = problem_of(folds=3, repeats=2, shift="fast", externals=("lab2",), coverage=0.8)
    pooled, found, chosen, decision, told = decided(tmp_path, problem)
    assert decision.evidence == told.evidence == "out-of-fold"
    held = decision.sets(found.calibrated)[np.arange(len(pooled.ids)), pooled.oof.labels]
    for label in range(3):
        assert held[pooled.oof.labels == label].mean() >= 0.8
    assert told.sets.images == len(pooled.ids)
    lab2 = decision.sets(chosen.external["lab2"])
    assert told.elsewhere["lab2"].size == pytest.approx(lab2.sum(axis=1).mean())
    assert told.shift == {}  # these folds have kept classes alone


def test_a_single_folds_are_tempered_as_the_model_is(tmp_path):
    problem = problem_of(folds=3, shift="off")
    pooled, _, chosen, decision, told = decided(tmp_path, problem, only=[1])
    known = served([pooled.served], chosen.temperature)
    held = decision.sets(known)[np.arange(len(pooled.ids)), pooled.oof.labels]
    assert told.sets.coverage == pytest.approx(held.mean())


def test_a_large_hold_out_chooses_for_the_model_itself(tmp_path):
    images = small_images((400, 300, 300))
    problem = problem_of(images, folds=3, shift="off", holdout=0.3)
    pooled, _, chosen, decision, told = decided(tmp_path, problem)
    assert decision.evidence == "holdout"
    assert told.sets.images == len(pooled.holdout.labels)
    held = decision.sets(chosen.holdout)[np.arange(len(chosen.holdout)), pooled.holdout.labels]
    assert 0.9 <= held.mean() < 0.93

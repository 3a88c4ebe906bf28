import numpy as np
import pytest

from distributed.outcome.assessment import assess
from distributed.outcome.pooling import pool
from folds.evaluation.calibration import fit_temperature, out_of_fold_temperature
from folds.evaluation.metrics import scores
from folds.evaluation.shift import score_corrupted
from tests.distributed.finished import finished_run, fold_of, problem_of


def assessed(folder, problem, fold=fold_of):
    run, results = finished_run(folder, problem, fold=fold)
    images, pooled = problem.images, pool(run.prepared, results)
    return pooled, assess(images, pooled, results)


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    problem = problem_of(folds=3, repeats=2, shift="fast", tta="flips")
    return problem, *assessed(tmp_path_factory.mktemp("run"), problem)


def test_intervals_hold_the_pooled_scores(said):
    _, pooled, found = said
    for name, value in scores(pooled.oof.labels, pooled.oof.probabilities).items():
        interval = found.oof.pooled[name]
        assert interval.value == pytest.approx(value, abs=1e-6)
        assert interval.low < interval.high
    np.testing.assert_array_equal(found.support, np.bincount(pooled.oof.labels))


def test_the_temperature_is_that_of_the_view_that_is_served(said):
    _, pooled, found = said
    oof = pooled.oof
    tta, plain = (
        fit_temperature(oof.labels, p) for p in (pooled.other_views["tta"], oof.probabilities)
    )
    assert found.temperature == pytest.approx(tta)
    assert found.temperature != pytest.approx(plain)


def test_with_and_without_temperature_are_of_one_view(said):
    """The plain predictions' error before and that of the averaged views after say nothing."""
    _, pooled, found = said
    before = scores(pooled.oof.labels, pooled.other_views["tta"])
    for name, value in before.items():
        assert found.before.pooled[name].value == pytest.approx(value, abs=1e-6)
    assert found.before.pooled["ece"].value != found.oof.pooled["ece"].value


def test_no_fold_is_calibrated_by_itself(said):
    """Folds of different repeats that have one number are different folds."""
    _, pooled, found = said
    oof = pooled.oof
    expected, _ = out_of_fold_temperature(
        oof.labels, [pooled.other_views["tta"]], 3 * oof.repeat + oof.fold, pooled.ids
    )
    np.testing.assert_allclose(found.calibrated, expected, atol=1e-6)


def test_values_of_the_epochs_that_could_be_scored_are_means_over_folds(tmp_path):
    def fold(problem, repeat, number):
        return fold_of(problem, repeat, number, values=((0.2, 0.9, 0.5), (0.3, 0.1))[number])

    _, found = assessed(tmp_path, problem_of(), fold)
    assert (found.best, found.last) == pytest.approx((0.6, 0.3))
    # the second fold likes epoch 1, the first of the two that both have epoch 2
    assert found.crossfit == pytest.approx((0.2 + 0.1) / 2)


def test_corrupted_images_have_intervals_where_there_are_any(said, tmp_path):
    problem, pooled, found = said
    scores = score_corrupted(problem.images.labels, pooled.shift).flat()
    assert set(found.shift) == {"shift.accuracy", "shift.macro_f1"}
    for name, interval in found.shift.items():
        assert interval.low < scores[name] < interval.high
        assert interval.value == pytest.approx(scores[name])
    assert assessed(tmp_path, problem_of())[1].shift == {}

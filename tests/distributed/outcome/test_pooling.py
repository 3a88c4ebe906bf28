import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from scipy.special import softmax

from distributed.outcome.pooling import crossfitted, oof_arrays, pool, shift_arrays
from folds.evaluation.shift import score_corrupted
from folds.prepare import Prepared
from tests.conftest import small_images
from tests.distributed.finished import finished_run, fold_of, problem_of

GROUPS = np.repeat(np.arange(32), 2)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Three folds, twice, of images in pairs, with everything that can be pooled."""
    images = small_images(groups=GROUPS)
    problem = problem_of(
        images, folds=3, repeats=2, holdout=0.1, shift="full", tta="flips",
        externals=("lab2", "lab3"),
    )  # fmt: skip
    run, results = finished_run(tmp_path_factory.mktemp("run"), problem)
    return run.prepared, results


def shuffled(many, order):
    prepared, results = many
    folds = [prepared.folds[number] for number in order]
    other = Prepared(prepared.problem, folds, prepared.weights, prepared.layers, ())
    return pool(other, [results[number] for number in order])


@given(order=st.permutations(range(6)))
def test_out_of_fold_predictions_have_one_order_whatever_that_of_the_folds(many, order):
    one, other = oof_arrays(pool(*many)), oof_arrays(shuffled(many, order))
    names = ["ids", "labels", "fold", "repeat", "probabilities", "groups", "served"]
    assert list(one) == names
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_each_image_is_there_once_a_repeat_with_what_its_own_fold_said(many):
    prepared, results = many
    problem, images = prepared.problem, prepared.problem.images
    pooled = pool(*many)
    oof = pooled.oof
    held_out = problem.splits.holdout(images.ids)
    rows = np.setdiff1d(np.arange(len(images)), held_out)
    np.testing.assert_array_equal(pooled.ids, np.tile(images.ids[rows], 2))
    np.testing.assert_array_equal(oof.repeat, np.repeat([0, 1], len(rows)))
    np.testing.assert_array_equal(oof.groups, np.tile(images.groups[rows], 2))
    np.testing.assert_array_equal(oof.labels, np.tile(images.labels[rows], 2))
    for (repeat, fold), result in zip(prepared.folds, results, strict=True):
        mine = (oof.repeat == repeat) & (oof.fold == fold)
        np.testing.assert_array_equal(pooled.ids[mine], images.ids[result.rows])
        np.testing.assert_array_equal(oof.probabilities[mine], result.probabilities)
        np.testing.assert_array_equal(pooled.other_views["tta"][mine], result.other_views["tta"])
        np.testing.assert_array_equal(oof_arrays(pooled)["served"][mine], result.other_views["tta"])


@given(order=st.permutations(range(6)))
def test_what_is_said_of_corrupted_images_stands_beside_what_is_said_of_the_same_clean_ones(
    many, order
):
    prepared, _ = many
    pooled = shuffled(many, order)
    found = shift_arrays(prepared, pooled.shift)
    oof = pooled.oof
    said = dict(
        zip(
            zip(pooled.ids.tolist(), oof.repeat.tolist(), strict=True),
            zip(oof.probabilities.argmax(axis=1), oof.fold, oof.labels, oof.groups, strict=True),
            strict=True,
        )
    )
    assert found["predicted"].shape == (19 * 5, len(found["ids"]))
    assert len(found["corruptions"]) == len(found["severities"]) == 19 * 5
    names = ("clean", "fold", "labels", "groups")
    keys = zip(found["ids"].tolist(), found["repeat"].tolist(), strict=True)
    for row, key in enumerate(keys):
        assert tuple(found[name][row] for name in names) == said[key]


def test_scores_under_corruptions_are_those_of_all_rows_at_once(many):
    images, pooled = many[0].problem.images, pool(*many)
    found = score_corrupted(images.labels, pooled.shift)
    right = pooled.shift.predicted == images.labels[pooled.shift.rows]
    assert found.mean_accuracy == pytest.approx(right.mean())
    assert found.accuracy[pooled.shift.cases[7]] == pytest.approx(right[7].mean())


@given(order=st.permutations(range(6)))
def test_models_that_saw_other_images_are_stacked_in_the_order_of_the_folds(many, order):
    prepared, results = many
    pooled = shuffled(many, order)
    images = prepared.problem.images
    held_out = prepared.problem.splits.holdout(images.ids)
    np.testing.assert_array_equal(pooled.holdout.ids, images.ids[held_out])
    np.testing.assert_array_equal(pooled.holdout.labels, images.labels[held_out])
    assert list(pooled.external) == ["lab2", "lab3"]
    for place, number in enumerate(order):
        result = results[number]
        np.testing.assert_array_equal(pooled.holdout.probabilities[place], result.holdout)
        for other in prepared.problem.externals:
            found = pooled.external[other.name]
            np.testing.assert_array_equal(found.labels, other.images.labels)
            np.testing.assert_array_equal(found.probabilities[place], result.external[other.name])


def test_without_shift_hold_out_and_external_images_nothing_of_them_is_there(tmp_path):
    run, results = finished_run(tmp_path, problem_of())
    pooled = pool(run.prepared, results)
    assert pooled.holdout is None
    assert pooled.external == pooled.other_views == {}
    assert pooled.shift.predicted.shape == (0, 0)
    assert score_corrupted(run.prepared.problem.images.labels, pooled.shift) is None


def test_with_crossfit_each_image_is_scored_at_the_epoch_that_the_other_folds_choose(tmp_path):
    values = ((0.2, 0.9, 0.5), (0.3, 0.1, 0.9), (0.1, 0.8, 0.2))

    def fold(problem, repeat, number):
        return fold_of(problem, repeat, number, values=values[number])

    run, results = finished_run(tmp_path, problem_of(folds=3, choose_epoch="crossfit"), fold=fold)
    assert crossfitted(results) == [2, 1, 2]
    oof = pool(run.prepared, results).oof
    for result, epoch in zip(results, (2, 1, 2), strict=True):
        expected = softmax(result.epoch_logits[epoch].astype(np.float64), axis=1)
        own = oof.probabilities[oof.fold == result.fold]
        np.testing.assert_allclose(own, expected, atol=1e-3)
        assert (epoch == result.kept_epoch) == np.array_equal(own, result.probabilities)


def test_without_it_the_kept_epochs_are_scored(tmp_path):
    for choice in ("last", "best"):
        run, results = finished_run(tmp_path / choice, problem_of(choose_epoch=choice))
        oof = pool(run.prepared, results).oof
        for result in results:
            np.testing.assert_array_equal(
                oof.probabilities[oof.fold == result.fold], result.probabilities
            )

"""A fold is scored as its registered model adapts."""

import dataclasses

import numpy as np
import pytest

from folds.images.external import External
from folds.model.bundle import write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

CPU = Runtime.choose("cpu", "fp32")


def dark(images):
    """The same images in a third of the light."""
    return dataclasses.replace(images, pixels=(images.pixels // 3).astype(np.uint8))


@pytest.fixture(scope="module")
def trained(make_problem):
    problem = make_problem(
        adapt="auto", shift="fast", backbone="test_resnet", stages=["1:2:1e-3"], augment="none"
    )
    externals = (External("lab2", "there", dark(problem.images)),)
    problem = dataclasses.replace(problem, externals=externals)
    return problem, fit_fold(problem, 0, 0, runtime=CPU)


@pytest.fixture(scope="module")
def predictor(trained, tmp_path_factory):
    problem, result = trained
    folder = tmp_path_factory.mktemp("adapted")
    card = dataclasses.replace(problem.card, appearance=result.appearance())
    write_bundle(folder, card, result.weights)
    return Predictor(folder, "cpu")


def test_external_images_are_predicted_as_the_model_will(trained, predictor):
    problem, result = trained
    (external,) = problem.externals
    expected = predictor.predict(external.images.pixels, tell=pytest.fail)
    np.testing.assert_allclose(result.external["lab2"], expected, atol=2e-4)
    plain = predictor.predict(external.images.pixels, adapt="none")
    assert np.abs(expected - plain).max() > 0.01
    right = (plain.argmax(axis=1) == external.images.labels).mean()
    assert result.measured["unadapted.external.lab2.accuracy"] == pytest.approx(right, abs=0.02)


def test_clean_images_are_scored_beside_the_plain_ones(trained, predictor):
    problem, result = trained
    expected = predictor.predict(problem.images.pixels[result.rows])
    np.testing.assert_allclose(result.other_views["adapted"], expected, atol=2e-4)
    assert set(result.other_view_scores) == {"adapted"}


def test_corrupted_images_are_scored_adapted(trained):
    _, result = trained
    names = {name.removeprefix("adapted.") for name in result.measured if "adapted.shift" in name}
    assert names == {name for name in result.measured if name.startswith("shift.")}


def test_the_appearance_is_of_the_training_part_alone(trained, make_problem):
    problem, result = trained
    pixels = problem.images.pixels.copy()
    pixels[result.rows] = 0
    images = dataclasses.replace(problem.images, pixels=pixels)
    other = dataclasses.replace(problem, images=images, externals=())
    assert fit_fold(other, 0, 0, runtime=CPU).appearance() == result.appearance()


def test_without_it_nothing_more_is_measured(make_problem):
    result = fit_fold(make_problem(), 0, 0, runtime=CPU)
    assert not [name for name in result.measured if "adapted" in name]
    assert result.other_views == {}

"""Soups cooked by a worker of a real local Ray, from networks that know something."""

import numpy as np
import pytest
import torch

from distributed.outcome.soup import make_soup
from folds.evaluation.metrics import macro_f1
from folds.model.bundle import write_bundle
from folds.model.predictor import Predictor
from folds.model.soup import uniform
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from tests.distributed.finished import finished_run, fold_of, problem_of, weights_of


@pytest.fixture(scope="module")
def trained():
    """Weights that tell most of the classes."""
    problem = problem_of(backbone="test_vit", stages=["1:4:3e-3"])
    return fit_fold(problem, 0, 0, runtime=Runtime.choose("cpu", "fp32")).weights


def opposed(weights):
    """Weights whose mean with these knows nothing: their head says the contrary."""
    return {n: -t if n.startswith("head.") else t.clone() for n, t in weights.items()}


@pytest.fixture
def cooked(local_ray, tmp_path):
    """Cook a soup of folds with these weights, whose out-of-fold skill is this."""

    def cook(problem, weights, skill):
        def fold(problem, repeat, number):
            found = fold_of(problem, repeat, number, skill=skill, weights=weights[number])
            found.measured["macro_f1"] = number / 2  # the last fold is the best
            return found

        run, results = finished_run(tmp_path / "run", problem, fold=fold)
        return make_soup(run, results)

    return cook


def test_a_soup_of_equal_models_is_that_model_and_is_scored_as_it_will_be_served(
    cooked, trained, tmp_path
):
    problem = problem_of(
        backbone="test_vit", tta="flips", adapt="colour", holdout=0.2, externals=("lab2",), folds=2
    )
    soup = cooked(problem, [trained, trained], 0.2)
    assert soup.members == (0, 1)
    found = soup.weights
    assert found.keys() == trained.keys()
    assert all(torch.equal(found[name], trained[name]) for name in trained)
    write_bundle(tmp_path / "soup", soup.card, found)
    served, images = Predictor(tmp_path / "soup", "cpu"), problem.images
    held_out = problem.splits.holdout(images.ids)
    lab2 = problem.externals[0].images.pixels
    np.testing.assert_allclose(soup.holdout, served.predict(images.pixels[held_out]), atol=1e-5)
    np.testing.assert_allclose(soup.external["lab2"], served.predict(lab2), atol=1e-5)
    assert 0.5 < soup.value <= 1
    assert soup.needed < 0.5
    assert soup.good


def test_a_soup_worse_on_what_it_knows_than_the_folds_on_what_they_do_not_is_not_good(cooked):
    problem = problem_of(backbone="test_vit")
    soup = cooked(problem, [weights_of(problem, 1), weights_of(problem, 2)], 1.1)
    assert soup.needed == 1.0
    assert soup.value < 1.0
    assert not soup.good


def test_a_model_that_spoils_the_soup_is_left_out(cooked, trained, tmp_path):
    problem = problem_of(backbone="test_vit", holdout=0.2)
    soup = cooked(problem, [opposed(trained), trained], 0.2)
    assert soup.members == (1,)
    write_bundle(tmp_path / "soup", problem.card, soup.weights)
    images = problem.images
    seen = np.setdiff1d(np.arange(len(images)), problem.splits.holdout(images.ids))
    said = Predictor(tmp_path / "soup", "cpu").predict(images.pixels[seen]).argmax(axis=1)
    assert soup.value == pytest.approx(macro_f1(images.labels[seen], said))


def test_batch_norm_has_the_statistics_of_the_soups_own_weights(cooked):
    """The mean of the members' statistics is that of no network."""
    problem = problem_of(backbone="test_resnet", stages=["1:2:1e-2"])
    cpu = Runtime.choose("cpu", "fp32")
    members = [fit_fold(problem, 0, fold, runtime=cpu).weights for fold in (0, 1)]
    members += members[:1]
    found, plain = cooked(problem, members, 0.2).weights, uniform(members)
    norms = [name for name in plain if name.endswith("running_var")]
    assert all(torch.isfinite(found[name]).all() for name in norms)
    assert any((found[name] / plain[name] - 1).abs().max() > 0.1 for name in norms)

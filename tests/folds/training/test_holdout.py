"""The test part: predicted once by the finished fold, and of no influence on it."""

import dataclasses

import numpy as np
import pytest
import torch

from folds.errors import UserError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatureExtractor, shareable_views

CPU = Runtime.choose("cpu", "fp32")


def rows_of(problem):
    return problem.splits.holdout(problem.images.ids)


def train(problem, fold=0, **options):
    return fit_fold(problem, 0, fold, runtime=CPU, **options)


def test_is_predicted_by_the_best_epochs_model(make_problem, tmp_path):
    problem = make_problem(
        holdout=0.25, select_by="log_loss", stages=["1:1:1e-3", "1:2:0.3"], choose_epoch="best"
    )
    result = train(problem)
    assert result.kept_epoch < 2, "the last epochs shall be worse"
    write_bundle(tmp_path, ModelCard("test_vit", problem.images.class_names, 32), result.weights)
    found = Predictor(tmp_path, "cpu").predict(problem.images.pixels[rows_of(problem)])
    np.testing.assert_allclose(result.holdout, found, atol=1e-5)
    assert len(result.holdout) == 16


def test_changes_nothing_that_is_trained_or_chosen(make_problem):
    problem = make_problem(holdout=0.25, backbone="test_resnet")
    images, rows = problem.images, rows_of(problem)
    pixels, labels = images.pixels.copy(), images.labels.copy()
    pixels[rows], labels[rows] = 255 - pixels[rows], 2 - labels[rows]
    other = dataclasses.replace(images, pixels=pixels, labels=labels)
    one, two = train(problem), train(dataclasses.replace(problem, images=other))
    assert all(torch.equal(tensor, two.weights[name]) for name, tensor in one.weights.items())
    assert np.array_equal(one.probabilities, two.probabilities)
    assert (one.scores, one.kept_epoch) == (two.scores, two.kept_epoch)
    assert not np.allclose(one.holdout, two.holdout)


def test_is_the_same_from_shared_features_and_needs_no_backbone_then(make_problem, monkeypatch):
    tuned = build("test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=7)
    problem = make_problem(
        holdout=0.25, backbone="test_resnet", pretrained=tuned.backbone.state_dict(),
        stages=["0:3:1e-2"],
    )  # fmt: skip
    extractor, count = FrozenFeatureExtractor(problem, CPU), len(problem.images)
    views = {view: extractor.outputs(view, 0, count) for view in shareable_views(problem, 10**9)}
    direct = train(problem)
    monkeypatch.setattr("folds.training.inputs.augment", None)
    monkeypatch.setattr("folds.training.predict.to_input", None)
    shared = train(problem, frozen_features=views.get)
    np.testing.assert_allclose(direct.holdout, shared.holdout, atol=1e-4)


def test_is_the_same_after_an_interruption_at_the_very_end(make_problem):
    problem, checkpoints = make_problem(holdout=0.25), []
    whole = train(problem, on_checkpoint=checkpoints.append)
    again = train(problem, checkpoint=checkpoints[-1])
    assert np.array_equal(whole.holdout, again.holdout)


def test_is_empty_where_nothing_is_set_aside(make_problem):
    assert train(make_problem()).holdout.shape == (0, 3)


def test_leaves_fewer_images_for_a_batch(make_problem):
    with pytest.raises(UserError, match=r"--batch-size 30: larger than .* 24 images; lower it"):
        make_problem(holdout=0.25, batch_size=30)

"""Folds that train low-rank adapters."""

import numpy as np
import pytest
import torch

from folds.config import Config
from folds.errors import UserError
from folds.model.backbone import build
from folds.model.bundle import write_bundle
from folds.model.predictor import Predictor
from folds.prepare import prepare
from tests.folds.training.test_fit import assert_same, train

pytest.importorskip("peft", reason="crossfold[lora] is not there")

STAGES = ["0:1:1e-2", "2blocks:1:1e-2", "1:2:1e-2"]
SETTINGS = {"tune": "lora:r=2", "stages": STAGES, "layer_decay": 0.9, "dropout": 0.3}


@pytest.fixture(scope="module")
def pretrained():
    options = {"classes": 2, "size": 32, "dropout": 0.0, "pretrained": None, "seed": 9}
    return build("test_vit", **options).backbone.state_dict()


def test_from_any_epoch_ends_as_if_never_interrupted(make_problem, pretrained):
    problem = make_problem(pretrained=pretrained, ema=0.8, drop_path=0.3, **SETTINGS)
    checkpoints = []
    whole = train(problem, on_checkpoint=checkpoints.append)
    for checkpoint in checkpoints:
        assert_same(whole, train(problem, checkpoint=checkpoint))


def test_leave_a_plain_model_that_predicts_what_was_scored(make_problem, pretrained, tmp_path):
    problem = make_problem(pretrained=pretrained, **SETTINGS)
    result = train(problem)
    write_bundle(tmp_path, problem.card, result.weights)
    found = Predictor(tmp_path).predict(problem.images.pixels[result.rows])
    np.testing.assert_allclose(found, result.probabilities, atol=1e-5)


def test_change_attention_and_nothing_else_of_the_backbone(make_problem, pretrained):
    result = train(make_problem(pretrained=pretrained, **SETTINGS))
    changed = {
        name for name, tensor in pretrained.items()
        if not torch.equal(tensor, result.weights[f"backbone.{name}"])
    }  # fmt: skip
    assert changed == {n for n in pretrained if n.endswith(("attn.qkv.weight", "attn.proj.weight"))}


def test_random_weights_are_not_adapted():
    settings = {"data": "demo", "limit": 200, "folds": 2, "tune": "lora", "weights": "none"}
    config = Config.from_flat({**settings, "backbone": "test_vit", "image_size": 32})
    with pytest.raises(UserError, match=r"--tune lora:r=8,alpha=16: adapts pretrained weights"):
        prepare(config)


def test_are_not_interpolated():
    with pytest.raises(UserError, match=r"--wise-ft 0.5: is between whole weights.*--tune lora:r="):
        Config.from_flat({"tune": "lora:r=2", "wise_ft": 0.5})

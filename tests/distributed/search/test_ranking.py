"""A ranking on the session's Ray."""

import csv
import json

import numpy as np
import pytest
from rich.console import Console
from safetensors.torch import save_file

from distributed.planning.plan import Plan
from distributed.search import ranking
from distributed.search.ranked import print_ranking, to_json, write_ranking
from distributed.search.ranking import rank
from folds.config import Config
from folds.config.scores import SCORES
from folds.errors import UserError
from folds.evaluation.metrics import scores
from folds.images import load
from folds.model.backbone import build
from folds.model.weights import load_pretrained
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training.features import pooled_features
from folds.training.linear_probe import linear_probe
from tests.conftest import small_images

PLAN = Plan("cpu", 2, 1, 1, 2)


def settings(**changes):
    return Config.from_flat(
        {"data": "digits", "folds": 3, "batch_size": 8, "audit": "off", "image_size": 32} | changes
    )


class Images:
    """Images by size, and how often they were asked for."""

    def __init__(self, **options):
        self.options, self.calls = options, []

    def __call__(self, config, *, seed, largest):
        self.calls.append((config.image_size, largest))
        return small_images((20, 20, 20), **self.options)


@pytest.fixture(scope="module")
def dead(tmp_path_factory):
    """Weights with which every image has the same features."""
    model = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=0)
    path = tmp_path_factory.mktemp("weights") / "dead.safetensors"
    save_file({n: t * 0 for n, t in model.backbone.state_dict().items()}, path)
    return f"test_resnet={path}"


@pytest.fixture(scope="module")
def done(local_ray, dead):
    """A ranking, what was told, and how often images were loaded."""
    told, images = [], Images()
    entries = [dead, "test_resnet=none", "test_vit=nowhere.pth", "mobilenetv3_small_050=none"]
    return rank(settings(), entries, images, told.append, PLAN), told, images


def test_the_best_comes_first_and_the_blind_one_is_told_from_it(done, dead):
    ranked, _, _ = done
    assert [one.name for one in ranked][-1] == dead
    assert [one.value for one in ranked] == sorted((one.value for one in ranked), reverse=True)
    assert ranked[0].value > 0.8
    assert (ranked[0].behind, ranked[0].tied, ranked[0].why) == (0.0, True, "")
    last = ranked[-1]
    assert not last.tied
    assert last.behind == pytest.approx(ranked[0].value - last.value)
    assert "corrected t test over folds" in last.why
    assert last.weights.startswith("file:dead.safetensors:")


def test_figures_are_those_of_a_probe_here(done):
    ranked, _, _ = done
    one = next(each for each in ranked if each.name == "test_resnet=none")
    problem = prepare(settings(backbone="test_resnet", weights="none"), load=Images()).problem
    model = build("test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=0)
    features, cost = pooled_features(problem.images, model, Runtime.choose("cpu", "fp32"))
    images = problem.images
    fold = problem.splits.of(images.ids)[0]
    probe = linear_probe(features, images.labels, fold, 3)
    expected = scores(images.labels, probe.probabilities)
    for name in SCORES:
        assert one.scores[name].value == pytest.approx(expected[name], abs=1e-4)
    assert one.value == one.scores["macro_f1"].value
    assert one.strengths == probe.strengths
    assert (one.parameters, one.memory) == (cost.parameters, cost.memory)
    assert (one.size, one.features, one.weights) == (32, features.shape[1], "random")
    assert one.seconds > 0


def test_one_that_cannot_be_used_is_one_line_and_images_are_loaded_once_a_size(done):
    ranked, told, images = done
    left_out = [line for line in told if "left out" in line]
    assert len(ranked) == 3
    assert len(left_out) == 1
    assert left_out[0].startswith("notice: test_vit=nowhere.pth is left out: --weights nowhere.pth")
    assert len(images.calls) == len(set(images.calls))
    assert not any("everything unfrozen" in line for line in told)


def test_files_and_screen_say_the_same(done, tmp_path):
    ranked, _, _ = done
    write_ranking(tmp_path / "r.json", ranked)
    write_ranking(tmp_path / "r.csv", ranked)
    content = json.loads((tmp_path / "r.json").read_text())
    assert content == json.loads(json.dumps(to_json(ranked)))
    rows = list(csv.DictReader((tmp_path / "r.csv").open()))
    assert [row["name"] for row in rows] == [one.name for one in ranked]
    for row, one in zip(rows, content, strict=True):
        assert float(row["macro_f1_low"]) == one["scores"]["macro_f1"]["low"]
    with pytest.raises(UserError, match=r"written as \.json or \.csv"):
        write_ranking(tmp_path / "r.txt", ranked)
    assert ranked[-1].label == "test_resnet=dead.safetensors"
    console = Console(width=200, record=True, file=(tmp_path / "screen").open("w"))
    print_ranking(console, ranked)
    text = console.export_text()
    for one in ranked:
        assert all(part in text for part in one.label.split("="))
        assert f"{one.scores['macro_f1'].value:.3f}" in text


def test_equal_ones_cannot_be_told_apart(local_ray, tmp_path):
    state = load_pretrained("test_byobnet", "demo").state
    save_file(state, tmp_path / "same.safetensors")
    entries = ["test_byobnet=demo", f"test_byobnet={tmp_path / 'same.safetensors'}"]
    one, two = rank(settings(), entries, Images(), print, PLAN)
    assert one.value == two.value
    assert two.tied
    assert two.behind == 0


def test_the_hold_out_is_left_alone(local_ray):
    config = settings(holdout=0.3)
    groups = np.repeat(np.arange(20), 3)
    (one,) = rank(config, ["test_resnet=none"], Images(groups=groups), print, PLAN)
    assert 0 < one.value <= 1


class TestRefused:
    def test_scores_that_a_probe_does_not_have(self):
        config = settings(select_by="0.5*macro_f1+0.5*shift.macro_f1")
        with pytest.raises(UserError, match=r"leave out shift\.macro_f1$"):
            rank(config, ["test_resnet=none"], load, print, PLAN)

    def test_two_folds(self):
        with pytest.raises(UserError, match=r"--folds 2: .*use 3"):
            rank(settings(folds=2), ["test_resnet=none"], load, print, PLAN)

    def test_when_none_can_be_used_and_what_is_wrong_for_all_is_said_once(self):
        config = settings(data="nowhere.npz")
        with pytest.raises(UserError, match=r"^--data nowhere\.npz"):
            rank(config, ["test_resnet=none", "test_vit=none"], load, print, PLAN)
        with pytest.raises(UserError, match=r"^--backbones: none can be used: --weights a.*b"):
            rank(settings(), ["test_resnet=a", "test_resnet=b"], Images(), print, PLAN)

    def test_images_that_are_divided_differently(self, local_ray):
        class Differing(Images):
            def __call__(self, config, *, seed, largest):
                self.options = {"groups": np.arange(60) // (2 if largest == 160 else 3)}
                return super().__call__(config, seed=seed, largest=largest)

        entries = ["test_resnet=none", "mobilenetv3_small_050=none"]
        with pytest.raises(UserError, match=r"divided differently for mobilenetv3.*--image-size"):
            rank(settings(), entries, Differing(), print, PLAN)


def test_a_worker_that_fails_is_one_line(local_ray, monkeypatch):
    def fails(images, work, device, threads):
        raise MemoryError("the device is too small")

    monkeypatch.setattr(ranking, "_probed", fails)
    told = []
    with pytest.raises(UserError, match="none could be computed"):
        rank(settings(), ["test_resnet=none"], Images(), told.append, PLAN)
    assert "notice: test_resnet=none is left out: the device is too small" in told

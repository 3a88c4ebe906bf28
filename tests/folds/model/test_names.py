"""Backbones from a folder, as timm's `save_for_hf` writes it, or from the hub."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from folds.augment import to_input
from folds.config import Config
from folds.errors import UserError
from folds.model import hub
from folds.model.backbone import build, fixed_input, native_size
from folds.model.bundle import ModelCard, write_bundle
from folds.model.licence import licence_of
from folds.model.names import Architecture, check_backbone, resolve
from folds.model.predictor import Predictor
from folds.model.weights import load_pretrained
from folds.prepare import prepare

OWN = {"mean": [0.1, 0.2, 0.3], "std": [0.9, 0.8, 0.7]}


def folder_of(folder, name, *, args=None, tag="r160_in1k", **changes):
    """Write a model with random weights as timm's `save_for_hf` does, and give its state."""
    torch.manual_seed(5)
    model = timm.create_model(name, num_classes=7, **(args or {}))
    settings = {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in timm.get_pretrained_cfg(name).to_dict(remove_source=True).items()
        if key not in ("architecture", "num_classes")
    }
    config = {
        "architecture": name, "num_classes": 7, "num_features": model.num_features,
        "model_args": {"num_classes": 7, "in_chans": 3, **(args or {})},
        "pretrained_cfg": settings | {"tag": tag, "num_classes": 7} | changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(model.state_dict(), folder / "model.safetensors")
    return model.state_dict()


class TestResolve:
    @pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
    def test_a_copy_of_timms_own_gives_timms_name(self, tmp_path, name):
        folder_of(tmp_path, name)
        assert resolve(f"local-dir:{tmp_path}") == f"{name}.r160_in1k"

    def test_what_timm_saves_is_read(self, tmp_path):
        model = timm.create_model("test_resnet", num_classes=3)
        timm.models._hub.save_for_hf(model, tmp_path, safe_serialization=True)
        found = Architecture.of(resolve(f"local-dir:{tmp_path}"))
        assert found.name == "test_resnet.r160_in1k"
        assert found.size == 160

    def test_other_settings_stay_in_the_name_which_looks_nowhere(self, tmp_path):
        folder_of(
            tmp_path, "test_vit", args={"depth": 2}, tag="mine", input_size=[3, 64, 64], **OWN
        )
        name = resolve(f"local-dir:{tmp_path}")
        assert resolve(name) == name
        found = Architecture.of(name)
        assert found == Architecture(
            "test_vit", tuple(OWN["mean"]), tuple(OWN["std"]), 64, {"depth": 2}
        )
        assert (native_size(name), fixed_input(name)) == (64, True)
        model = build(name, classes=2, size=32, dropout=0.0, pretrained=None, seed=0)
        assert len(model.backbone.blocks) == 2
        assert model.mean.flatten().tolist() == pytest.approx(OWN["mean"])
        assert model.std.flatten().tolist() == pytest.approx(OWN["std"])

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"architecture": "nonesuch"}, "timm has no 'nonesuch'"),
            ({"model_args": {"in_chans": 1}}, "other channels than red, green and blue"),
            ({"model_args": 5}, "cannot be read"),
        ],
    )
    def test_a_configuration_that_does_not_do_is_refused(self, tmp_path, change, words):
        folder_of(tmp_path, "test_resnet")
        path = tmp_path / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(UserError, match=words) as caught:
            resolve(f"local-dir:{tmp_path}")
        assert str(caught.value).startswith(f"--backbone local-dir:{tmp_path}: ")
        assert "\n" not in str(caught.value)

    def test_a_folder_that_is_not_there_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"local-dir:.*nowhere: its config.json cannot be read"):
            resolve(f"local-dir:{tmp_path / 'nowhere'}")

    def test_the_hub_that_cannot_be_reached_is_one_line(self, monkeypatch, tmp_path):
        monkeypatch.setattr(hub, "_answers", lambda: False)
        monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(UserError, match="it cannot be reached") as caught:
            resolve("hf-hub:some/model")
        assert str(caught.value).startswith("--backbone hf-hub:some/model: ")
        assert "\n" not in str(caught.value)

    def test_an_unknown_tag_names_the_nearest(self):
        with pytest.raises(UserError, match=r"no such weights; nearest: test_resnet\.r160_in1k"):
            check_backbone("test_resnet.r161_in1k")

    @pytest.mark.parametrize("rest", ["{", '{"size": "x"}', '{"mean": 5}'])
    def test_settings_that_are_none_are_refused(self, rest):
        with pytest.raises(UserError, match="no JSON of settings; leave it out"):
            check_backbone(f"test_resnet{rest}")


class TestWeights:
    @pytest.mark.parametrize("word", ["auto", "hub"])
    def test_are_those_of_the_folder(self, tmp_path, word):
        folder = tmp_path / "mine"
        state = folder_of(folder, "test_resnet")
        found = load_pretrained(f"local-dir:{folder}", word)
        assert found.source.startswith("file:mine:")
        assert found.notice is None
        for name, tensor in found.state.items():
            assert torch.equal(tensor, state[name])

    def test_missing_ones_are_refused_whatever_the_word(self, tmp_path):
        folder_of(tmp_path, "test_resnet")
        (tmp_path / "model.safetensors").unlink()
        for word in ("auto", "hub"):
            with pytest.raises(UserError, match=rf"--weights {word}: no pretrained local-dir:"):
                load_pretrained(f"local-dir:{tmp_path}", word)

    def test_of_a_file_fit_what_the_folder_describes(self, tmp_path):
        folder_of(tmp_path, "test_vit", args={"depth": 2})
        found = load_pretrained(f"local-dir:{tmp_path}", str(tmp_path / "model.safetensors"))
        assert len({name.split(".")[1] for name in found.state if name.startswith("blocks.")}) == 2

    def test_others_licences_are_not_timms(self):
        assert licence_of("resnet10t.c3_in1k", "hub:resnet10t.c3_in1k") == "apache-2.0"
        assert licence_of("resnet10t.c3_in1k", "hub:somebody/resnet10t") is None


def test_a_bundle_predicts_the_same_without_the_folder(tmp_path):
    folder = tmp_path / "mine"
    folder_of(folder, "test_vit", args={"depth": 2}, input_size=[3, 64, 64], **OWN)
    settings = {
        "data": "digits", "limit": 60, "backbone": f"local-dir:{folder}", "folds": 2,
        "batch_size": 8, "audit": "off", "shift": "off",
    }  # fmt: skip
    problem = prepare(Config.from_flat(settings)).problem
    assert problem.config.model.backbone == settings["backbone"]  # so that it can be run again
    assert problem.size == 64
    model = build(
        problem.backbone, classes=10, size=64, dropout=0.0, pretrained=problem.pretrained, seed=0
    ).eval()
    write_bundle(tmp_path / "bundle", problem.card, model.state_dict())
    (folder / "config.json").unlink()
    (folder / "model.safetensors").unlink()
    predictor = Predictor(tmp_path / "bundle", "cpu")
    assert isinstance(predictor.card, ModelCard)
    found = predictor.predict(problem.images.pixels[:4])
    with torch.inference_mode():
        expected = model(to_input(torch.from_numpy(problem.images.pixels[:4]), 64)).softmax(dim=1)
    torch.testing.assert_close(torch.from_numpy(found), expected)

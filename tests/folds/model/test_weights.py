import itertools
import os
import re

import pytest
import timm
import torch
from safetensors.torch import save_file

from folds.config import Config
from folds.errors import UserError
from folds.model import hub, weights
from folds.model.backbone import build
from folds.model.bundle import ModelCard, bundle_files, saved
from folds.model.weights import TRAINED_ON, load_pretrained
from folds.prepare import prepare

NAME = "test_resnet"


class Trap:
    """Unpickling makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def classifier():
    """State of timm's model with its own head of 1000 classes."""
    torch.manual_seed(3)
    return timm.create_model(NAME, pretrained=False, num_classes=1000).state_dict()


def refused(path, backbone=NAME):
    with pytest.raises(UserError) as caught:
        load_pretrained(backbone, str(path))
    message = str(caught.value)
    assert message.startswith(f"--weights {path}: ")
    assert "\n" not in message
    return message


class TestFile:
    def test_the_source_tells_other_values_under_the_same_name(self, tmp_path):
        path = tmp_path / "file.safetensors"
        sources = []
        for seed in (0, 0, 1):
            torch.manual_seed(seed)
            save_file(timm.create_model(NAME, num_classes=0).state_dict(), path)
            sources.append(load_pretrained(NAME, str(path)).source)
        assert sources[0] == sources[1] != sources[2]

    @pytest.mark.parametrize(
        ("form", "suffix"),
        [
            *itertools.product(
                ["plain", "module.", "half", "without_counters"], [".safetensors", ".pth", ".pt"]
            ),
            ("state_dict", ".pth"),
            ("model", ".pth"),
        ],
    )
    def test_with_another_head_loads_without_it(self, tmp_path, classifier, suffix, form):
        state = dict(classifier)
        if form == "module.":
            state = {f"module.{name}": tensor for name, tensor in state.items()}
        if form == "half":
            state = {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
        if form == "without_counters":
            state = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
        path = tmp_path / f"file{suffix}"
        if suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({form: state} if form in ("state_dict", "model") else state, path)
        found = load_pretrained(NAME, str(path))
        model = timm.create_model(NAME, pretrained=False, num_classes=0)
        model.load_state_dict(found.state)
        assert re.fullmatch(rf"file:file{re.escape(suffix)}:[0-9a-f]{{8}}", found.source)
        assert found.notice is None
        assert not any(name.startswith("fc.") for name in found.state)
        assert found.state["conv1.0.weight"].dtype == torch.float32
        tolerance = 1e-3 if form == "half" else 0
        for name, tensor in model.state_dict().items():
            if not name.endswith("num_batches_tracked"):
                torch.testing.assert_close(tensor, classifier[name], atol=tolerance, rtol=tolerance)

    def test_of_crossfold_loads(self, tmp_path):
        model = build(NAME, classes=3, size=64, dropout=0, pretrained=None, seed=5)
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        found = load_pretrained(NAME, str(tmp_path / "model.safetensors"))
        for name, tensor in model.backbone.state_dict().items():
            assert torch.equal(found.state[name], tensor)

    def test_of_another_model_names_the_first_mismatches(self, tmp_path, classifier):
        save_file(classifier, tmp_path / "x.safetensors")
        message = refused(tmp_path / "x.safetensors", "test_vit")
        assert "does not fit test_vit: cls_token is missing, " in message
        assert " more; name the backbone that the file was made for" in message

    def test_with_another_shape_names_it(self, tmp_path, classifier):
        state = {**classifier, "conv1.0.weight": torch.zeros(3, 3, 3, 3)}
        save_file(state, tmp_path / "x.safetensors")
        assert "conv1.0.weight is (3, 3, 3, 3), not (" in refused(tmp_path / "x.safetensors")

    def test_with_more_than_the_model_is_refused(self, tmp_path, classifier):
        save_file({**classifier, "extra": torch.zeros(1)}, tmp_path / "x.safetensors")
        assert "extra is not part of it" in refused(tmp_path / "x.safetensors")

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99])
    def test_cut_short_is_refused(self, tmp_path, classifier, suffix, share):
        path = tmp_path / f"x{suffix}"
        save_file(classifier, path) if suffix == ".safetensors" else torch.save(classifier, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        message = refused(path)
        assert "cannot be read" in message or "damaged" in message

    @pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"a": t}, lambda t: [t]])
    def test_with_code_is_refused_and_not_run(self, tmp_path, wrap):
        torch.save(wrap(Trap(tmp_path / "sprung")), tmp_path / "x.pth")
        assert "holds more than tensors, or is damaged" in refused(tmp_path / "x.pth")
        assert not (tmp_path / "sprung").exists()

    @pytest.mark.parametrize(
        "content", [5, [1, 2], {"epoch": 3}, {"state_dict": 5}, {7: torch.zeros(1)}, {}]
    )
    def test_that_is_no_state_dict_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / "x.pth")
        message = refused(tmp_path / "x.pth")
        assert "not a state_dict; save model.state_dict()" in message or "does not fit" in message

    def test_missing_is_refused_with_the_words(self, tmp_path):
        with pytest.raises(UserError, match=r"no such file; give one, or auto, hub, none, demo$"):
            load_pretrained(NAME, str(tmp_path / "0.pth"))
        with pytest.raises(UserError, match="nearest: auto"):
            load_pretrained(NAME, "atuo")

    def test_real_one_loads(self, shared):
        found = load_pretrained(
            "mobilenetv2_100", str(shared / "weights/mobilenetv2_100.safetensors")
        )
        assert found.source.startswith("file:mobilenetv2_100.safetensors:")
        model = build(
            "mobilenetv2_100", classes=3, size=64, dropout=0, pretrained=found.state, seed=0
        )
        assert model.eval()(torch.rand(2, 3, 64, 64)).isfinite().all()
        assert found.state["conv_stem.weight"].dtype == torch.float32


class TestHub:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch, tmp_path):
        monkeypatch.setattr(hub, "_answers", lambda: False)
        monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))

    def test_auto_is_random_with_a_notice(self):
        found = load_pretrained("resnet10t", "auto")
        assert found.state is None
        assert found.source == "random"
        assert found.notice.startswith("no pretrained weights for resnet10t from the hub (")
        assert "--weights FILE" in found.notice

    def test_hub_is_an_error_with_the_remedy(self):
        with pytest.raises(UserError, match=r"--weights hub: .*resnet10t.*pass a file or 'none'"):
            load_pretrained("resnet10t", "hub")

    def test_model_without_weights_says_so(self):
        name = next(m for m in timm.list_models() if not timm.is_model_pretrained(m))
        assert "timm lists no weights for it" in load_pretrained(name, "auto").notice

    def test_offline_switch_is_put_back(self):
        before = hub.constants.HF_HUB_OFFLINE
        load_pretrained("resnet10t", "auto")
        after = hub.constants.HF_HUB_OFFLINE
        assert after == before

    def test_answer_of_the_hub_is_used(self, monkeypatch):
        model = timm.create_model(NAME, pretrained=False, num_classes=0)
        monkeypatch.setattr(weights.timm, "create_model", lambda *a, **k: model)
        for word in ("auto", "hub"):
            found = load_pretrained("resnet10t", word)
            assert found.source == "hub:resnet10t"
            assert found.notice is None
            assert torch.equal(found.state["conv1.0.weight"], model.state_dict()["conv1.0.weight"])


class TestTrainedOn:
    """A model of crossfold says of which images it is."""

    DATA = {"labels": "1234", "32x32": "abcd"}  # noqa: RUF012

    @pytest.fixture
    def bundle(self, tmp_path):
        model = build(NAME, classes=3, size=32, dropout=0.0, pretrained=None, seed=1)
        files = bundle_files(ModelCard(NAME, ("a", "b", "c"), 32), model.state_dict(), self.DATA)
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        return tmp_path / "model.safetensors"

    @pytest.mark.parametrize(
        ("images", "saw"),
        [
            ({"labels": "1234", "32x32": "abcd"}, True),
            ({"labels": "1234", "64x64": "ffff"}, True),  # decoded to another size
            ({"labels": "1234", "32x32": "ffff"}, False),
            ({"labels": "4321", "64x64": "ffff"}, False),
        ],
    )
    def test_these_very_images_are_told(self, bundle, images, saw):
        found = load_pretrained(NAME, str(bundle))
        assert found.trained_on == self.DATA
        assert found.saw(images) == saw

    def test_other_files_tell_nothing(self, bundle, tmp_path):
        state = load_pretrained(NAME, str(bundle)).state
        for about in (None, {TRAINED_ON: "no JSON"}, {TRAINED_ON: "[1]"}):
            save_file(state, tmp_path / "other.safetensors", about)
            found = load_pretrained(NAME, str(tmp_path / "other.safetensors"))
            assert found.trained_on == {}
            assert not found.saw(self.DATA)

    def test_a_run_on_them_is_told_and_one_on_others_is_not(self, tmp_path):
        settings = {
            "data": "digits", "limit": 60, "backbone": NAME, "folds": 2, "batch_size": 8,
            "audit": "off",
        }  # fmt: skip
        splits = prepare(Config.from_flat(settings | {"weights": "none"})).problem.splits
        model = build(NAME, classes=10, size=32, dropout=0.0, pretrained=None, seed=1)
        file = tmp_path / "model.safetensors"
        file.write_bytes(saved(model.state_dict(), splits.data))
        for limit, told in ((60, True), (61, False)):
            again = Config.from_flat(settings | {"weights": str(file), "limit": limit})
            notices = prepare(again).notices
            assert any("trained on these very images" in line for line in notices) == told

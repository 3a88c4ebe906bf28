"""Files of weights as DINOv2, DinoBloom and others write them."""

import math

import pytest
import timm
import torch

from folds.errors import UserError
from folds.model.backbone import build
from folds.model.names import Architecture
from folds.model.weights import load_pretrained

SMALL = '{"args": {"embed_dim": 32, "depth": 2, "num_heads": 2}, "size": 56}'
PLAIN = f"vit_small_patch14_dinov2{SMALL}"
REGISTERS = f"vit_small_patch14_reg4_dinov2{SMALL}"
GIANT = f"vit_giant_patch14_dinov2{SMALL}"  # with SwiGLU


def theirs(name, size, *, chunks=False):
    """Weights under timm's names, and the same under DINOv2's, for images of a size."""
    torch.manual_seed(4)
    model = Architecture.of(name).create(size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    own, state = model.state_dict(), {"mask_token": torch.zeros(1, 32)}
    for key, tensor in own.items():
        if key == "reg_token":
            state["register_tokens"] = tensor
        elif key == "pos_embed" and "reg_token" in own:
            state[key] = torch.cat([torch.full((1, 1, 32), 0.5), tensor], dim=1)
        elif key == "cls_token" and "reg_token" in own:
            state[key] = tensor - 0.5
        else:
            key = key.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3") if (
                "giant" in name) else key  # fmt: skip
            state[key.replace("blocks.", "blocks.0.") if chunks else key] = tensor
    return model, state


def saved(path, content):
    torch.save(content, path)
    return str(path)


def checkpoint(state, kind):
    """As training by self-distillation leaves it."""
    heads = {"dino_head.mlp.0.weight": torch.zeros(3, 3), "ibot_head.last.bias": torch.zeros(2)}
    return {kind: {f"backbone.{name}": tensor for name, tensor in state.items()} | heads}


@pytest.mark.parametrize("name", [PLAIN, REGISTERS, GIANT], ids=["plain", "registers", "swiglu"])
@pytest.mark.parametrize("form", ["plain", "teacher", "student", "chunks"])
def test_a_file_of_dinov2_gives_what_its_network_gives(tmp_path, name, form):
    model, state = theirs(name, 56, chunks=form == "chunks")
    content = checkpoint(state, form) if form in ("teacher", "student") else state
    found = load_pretrained(name, saved(tmp_path / "x.pth", content))
    network = build(name, classes=2, size=56, dropout=0.0, pretrained=found.state, seed=0)
    image = torch.rand(2, 3, 56, 56)
    with torch.inference_mode():
        expected = model.eval()(network._norm(image))
        pooled = network.eval()(image, with_features=True)[1]
    torch.testing.assert_close(pooled, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [PLAIN, REGISTERS], ids=["plain", "registers"])
@pytest.mark.parametrize("side", [28, 56, 112])
def test_positions_are_brought_from_the_files_images_to_the_networks(tmp_path, name, side):
    """DinoBloom's are of 224 px, while timm's network is for 518."""
    model, state = theirs(name, side)
    found = load_pretrained(name, saved(tmp_path / "x.pth", checkpoint(state, "teacher")))
    assert torch.equal(found.state["pos_embed"], model.state_dict()["pos_embed"])  # not twice
    network = build(name, classes=2, size=70, dropout=0.0, pretrained=found.state, seed=0)
    got = network.backbone.state_dict()["pos_embed"]
    prefix = 1 if name == PLAIN else 0
    expected = timm.layers.resample_abs_pos_embed(
        model.state_dict()["pos_embed"], [5, 5], num_prefix_tokens=prefix
    )
    torch.testing.assert_close(got, expected)
    if side == 28:
        assert got.shape[1] > state["pos_embed"].shape[1]
    assert math.isqrt(got.shape[1]) == 5


def test_timms_own_file_of_another_size_of_image_loads(tmp_path):
    state = timm.create_model("test_vit", num_classes=0, img_size=64).state_dict()
    found = load_pretrained("test_vit", saved(tmp_path / "x.pth", state))
    assert found.state["pos_embed"].shape == (1, 17, 64)
    build("test_vit", classes=2, size=96, dropout=0.0, pretrained=found.state, seed=0)


class TestWrongFile:
    def refused(self, path, name):
        with pytest.raises(UserError) as caught:
            load_pretrained(name, path)
        message = str(caught.value)
        assert message.startswith(f"--weights {path}: does not fit {name}: ")
        assert "\n" not in message
        return message

    def test_of_another_width_is_refused(self, tmp_path):
        _, state = theirs(PLAIN, 56)
        other = PLAIN.replace("32", "48")
        assert "(1, 1, 32), not (1, 1, 48)" in self.refused(saved(tmp_path / "x.pth", state), other)

    def test_patches_of_another_size_are_not_stretched_in_silence(self, tmp_path):
        _, state = theirs(PLAIN, 56)
        other = PLAIN.replace("vit_small_patch14_dinov2", "vit_small_patch16_224")
        assert "more; name the backbone" in self.refused(saved(tmp_path / "x.pth", state), other)

    def test_with_registers_is_refused_by_a_network_without(self, tmp_path):
        _, state = theirs(REGISTERS, 56)
        path = saved(tmp_path / "x.pth", checkpoint(state, "teacher"))
        assert "register_tokens is not part of it" in self.refused(path, PLAIN)

    def test_of_a_vit_is_refused_by_a_resnet(self, tmp_path):
        _, state = theirs(PLAIN, 56)
        assert "conv1.0.weight is missing" in self.refused(
            saved(tmp_path / "x.pth", state), "test_resnet"
        )

    def test_with_a_part_missing_is_refused(self, tmp_path):
        _, state = theirs(PLAIN, 56)
        for name in ("patch_embed.proj.weight", "pos_embed", "blocks.1.ls1.gamma"):
            less = {key: tensor for key, tensor in state.items() if key != name}
            message = self.refused(saved(tmp_path / "x.pth", less), PLAIN)
            assert f"{name} is missing" in message

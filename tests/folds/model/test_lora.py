"""Low-rank adapters of attention, and what is left of them."""

import sys

import pytest
import torch

from folds.config.lora import LoraShape
from folds.config.stages import Stage
from folds.errors import UserError
from folds.model.backbone import build
from folds.model.layer_groups import parameter_groups, unfreeze
from folds.model.lora import merge_adapters

pytest.importorskip("peft", reason="crossfold[lora] is not there")

SHAPE = LoraShape(2, 6.0)
IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
VITS = ["test_vit", "test_vit2", "test_vit3", "test_vit4", "test_vit_relpos"]
OWN = 'beit_base_patch16_224{"args": {"depth": 1, "embed_dim": 48, "num_heads": 2}}'


def make(name="test_vit", lora=SHAPE, seed=0):
    options = {"classes": 5, "size": 64, "dropout": 0.0, "pretrained": None}
    model = build(name, **options, seed=seed, lora=lora).eval()
    for place, parameter in model.named_parameters():
        if place.endswith(".gamma"):  # of layer scale, which begins near 0
            parameter.data.fill_(1)
    return model


def stirred(model):
    """The same, its adapters as if they had learnt something."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            parameter.data.normal_(0, 0.1, generator=generator)
    return model


def trained(model, stage):
    unfreeze(model, Stage.parse(stage))
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


class TestAdapters:
    @pytest.mark.parametrize("name", VITS)
    def test_change_nothing_before_they_are_trained(self, name):
        plain = make(name, lora=None)(IMAGES)
        torch.testing.assert_close(make(name)(IMAGES), plain, atol=1e-6, rtol=0)

    @pytest.mark.parametrize("name", VITS)
    def test_merged_leave_a_plain_network_with_the_same_outputs(self, name):
        model = stirred(make(name))
        adapted = model(IMAGES)
        merge_adapters(model.backbone)
        plain = make(name, lora=None)
        assert (adapted - plain(IMAGES)).abs().max() > 1e-3
        plain.load_state_dict(model.state_dict())
        for network in (model, plain):
            torch.testing.assert_close(network(IMAGES), adapted, atol=1e-5, rtol=0)

    def test_are_of_each_blocks_qkv_and_proj_and_of_the_rank(self):
        shapes = {n: p.shape for n, p in make().named_parameters() if ".lora_A" in n}
        blocks = len(make().backbone.blocks)
        assert len(shapes) == 2 * blocks
        assert {name.split(".")[4] for name in shapes} == {"qkv", "proj"}
        assert {shape[0] for shape in shapes.values()} == {2}

    def test_begin_with_numbers_of_the_seed_alone(self):
        torch.manual_seed(5)
        state = torch.get_rng_state()
        one, again, other = make().state_dict(), make().state_dict(), make(seed=1).state_dict()
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())
        name = "backbone.blocks.0.attn.qkv.lora_A.default.weight"
        assert not torch.equal(one[name], other[name])


class TestStages:
    def test_one_that_unfreezes_blocks_trains_their_adapters_alone(self):
        model = make()
        head = {"head.weight", "head.bias"}
        assert trained(model, "0:1:1e-3") == head
        last = len(model.backbone.blocks) - 1
        assert trained(model, "1block:1:1e-3") == head | {
            f"backbone.blocks.{last}.attn.{place}.lora_{part}.default.weight"
            for place in ("qkv", "proj") for part in "AB"
        }  # fmt: skip
        everything = trained(model, "1:1:1e-3")
        assert len(everything) == 2 + 4 * (last + 1)
        assert all(".lora_" in name for name in everything - head)

    def test_adapters_learn_as_fast_as_their_block(self, make_problem):
        model = make()
        config = make_problem(layer_decay=0.5, tune="lora:r=2").config
        depths = {
            id(p): group["depth"] for group in parameter_groups(model, config)
            for p in group["params"]
        }  # fmt: skip
        block = model.backbone.blocks[0]
        assert len({depths[id(parameter)] for parameter in block.parameters()}) == 1


class TestRefused:
    @pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
    def test_a_network_without_attention(self, name):
        with pytest.raises(UserError, match=rf"^--tune lora:r=2,alpha=6: {name} has no attention"):
            make(name)

    def test_one_that_leaves_adapters_out(self):
        with pytest.raises(UserError, match=r"computes with the weights of blocks\.0\.attn\.qkv"):
            make(OWN)

    def test_without_peft(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "peft", None)
        with pytest.raises(UserError, match=r"needs peft; pip install 'crossfold\[lora\]'"):
            make()

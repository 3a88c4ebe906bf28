import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config import Config
from folds.config.stages import Stage, lr_scale, stage_position
from folds.model.backbone import build
from folds.model.blocks import layer_groups
from folds.model.layer_groups import (
    BatchNorm,
    forget_frozen,
    parameter_groups,
    set_scales,
    train_mode,
    trained_groups,
    unfreeze,
)

MODELS = ["test_resnet", "test_vit", "test_convnext", "mobilenetv3_small_050"]
SOME = Stage(0.5, 1, 1e-3)
HEAD = {"head.weight", "head.bias"}


def make(name):
    return build(name, classes=5, size=64, dropout=0.0, pretrained=None, seed=0)


def share_of(share):
    return Stage(share, 1, 1e-3)


def trainable(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return make(request.param)


class TestUnfreeze:
    def test_nothing_leaves_the_head_alone(self, model):
        count = unfreeze(model, share_of(0))
        assert trainable(model) == HEAD
        assert count == sum(p.numel() for p in model.head.parameters())
        assert not model.backbone_trains

    def test_everything_leaves_nothing_frozen(self, model):
        assert unfreeze(model, share_of(1)) == sum(p.numel() for p in model.parameters())
        assert model.backbone_trains

    def test_more_share_is_more_layers(self, model):
        before = set()
        for share in (0, 0.01, 0.25, 0.5, 0.75, 0.99, 1):
            unfreeze(model, share_of(share))
            now = trainable(model)
            assert before <= now
            assert now >= HEAD
            before = now

    def test_half_is_the_half_nearest_the_head(self, model):
        groups = layer_groups(model.backbone)
        unfreeze(model, share_of(0.5))
        state = [{p.requires_grad for p in group} for group in groups]
        first = len(groups) // 2
        assert state == [{False}] * first + [{True}] * (len(groups) - first)

    def test_any_share_trains_a_layer(self, model):
        unfreeze(model, share_of(1e-6))
        assert model.backbone_trains
        assert len(trainable(model)) < len(list(model.parameters()))

    @pytest.mark.parametrize("blocks", [1, 2])
    def test_blocks_are_the_last_layer_groups(self, model, blocks):
        groups = layer_groups(model.backbone)
        unfreeze(model, Stage.parse(f"{blocks}blocks:1:1e-3"))
        expected = [len(groups) - number <= blocks for number in range(len(groups))]
        assert [all(p.requires_grad for p in group) for group in groups] == expected
        assert [any(p.requires_grad for p in group) for group in groups] == expected

    def test_can_freeze_again(self, model):
        unfreeze(model, share_of(1))
        unfreeze(model, share_of(0))
        assert trainable(model) == HEAD

    def test_groups_hold_every_parameter_once_and_the_stem_first(self, model):
        groups = layer_groups(model.backbone)
        flat = [id(p) for group in groups for p in group]
        assert len(groups) >= 3
        assert sorted(flat) == sorted(id(p) for p in model.backbone.parameters())
        assert id(next(iter(model.backbone.parameters()))) in {id(p) for p in groups[0]}


class TestTrainMode:
    def norms(self, model):
        kind = torch.nn.modules.batchnorm._BatchNorm
        return [m for m in model.backbone.modules() if isinstance(m, kind)]

    def pass_on(self, model):
        before = [norm.running_mean.clone() for norm in self.norms(model)]
        model(torch.rand(4, 3, 64, 64))
        after = [norm.running_mean for norm in self.norms(model)]
        return [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]

    def test_frozen_statistics_stay(self):
        model = make("test_resnet")
        unfreeze(model, share_of(0))
        train_mode(model, SOME, "frozen")
        assert model.head.training
        assert not any(module.training for module in model.backbone.modules())
        assert not any(self.pass_on(model))

    def test_frozen_statistics_follow_on_demand(self):
        model = make("test_resnet")
        unfreeze(model, share_of(0))
        train_mode(model, SOME, "train")
        assert all(self.pass_on(model))

    def test_half_frozen_keeps_half(self):
        model = make("test_resnet")
        unfreeze(model, share_of(0.5))
        train_mode(model, SOME, "frozen")
        changed = self.pass_on(model)
        own = [next(norm.parameters()).requires_grad for norm in self.norms(model)]
        assert changed == own
        assert True in own
        assert False in own

    def test_unfrozen_is_training(self):
        model = make("test_resnet")
        unfreeze(model, share_of(1))
        model.eval()
        train_mode(model, SOME, "frozen")
        assert all(module.training for module in model.modules())
        assert all(self.pass_on(model))

    def test_a_stage_keeps_all_batch_norm_as_it_is(self):
        model, stage = make("test_resnet"), Stage.parse("1:1:1e-3:bn=frozen")
        unfreeze(model, stage)
        train_mode(model, stage, "train")
        assert model.backbone.conv1[0].weight.requires_grad
        assert not any(p.requires_grad for norm in self.norms(model) for p in norm.parameters())
        assert not any(self.pass_on(model))
        unfreeze(model, share_of(1))
        train_mode(model, share_of(1), "frozen")
        assert all(p.requires_grad for p in model.parameters())
        assert all(self.pass_on(model))

    def test_a_stage_lets_all_statistics_follow(self):
        model, stage = make("test_resnet"), Stage.parse("0:1:1e-3:bn=train")
        unfreeze(model, stage)
        train_mode(model, stage, "frozen")
        assert trainable(model) == HEAD
        assert all(self.pass_on(model))


def config(**flags):
    return Config.from_flat(flags)


class TestParameterGroups:
    def test_as_few_as_can_be(self, model):
        found = {group["name"]: group for group in parameter_groups(model, config(weight_decay=1))}
        assert set(found) == {
            f"{p}.{k}" for p in ("head", "backbone") for k in ("weights", "vectors")
        }
        for name, group in found.items():
            assert all((p.ndim > 1) == name.endswith("weights") for p in group["params"])
            assert group["weight_decay"] == (1 if name.endswith("weights") else 0)
            assert group["use_fallback"] == (name != "backbone.weights")

    @pytest.mark.parametrize("flags", [{}, {"layer_decay": 0.7}, {"warmup": 1}, {"head_l2": 0.2}])
    def test_hold_every_parameter_once_under_a_name_of_their_own(self, model, flags):
        groups = parameter_groups(model, config(**flags))
        found = [id(p) for group in groups for p in group["params"]]
        assert sorted(found) == sorted(id(p) for p in model.parameters())
        assert len({group["name"] for group in groups}) == len(groups)

    @pytest.mark.parametrize("layer_decay", [1.0, 0.5])
    def test_the_heads_weights_decay_more(self, model, layer_decay):
        flags = {"weight_decay": 0.1, "head_l2": 0.25, "layer_decay": layer_decay}
        decays = {
            id(p): group["weight_decay"]
            for group in parameter_groups(model, config(**flags))
            for p in group["params"]
        }
        assert decays.pop(id(model.head.weight)) == 0.35
        assert decays.pop(id(model.head.bias)) == 0
        assert set(decays.values()) == {0.1, 0.0}

    def test_depth_counts_from_the_head(self, model):
        groups = parameter_groups(model, config(layer_decay=0.5))
        depth = {id(p): group["depth"] for group in groups for p in group["params"]}
        layers = layer_groups(model.backbone)
        assert depth[id(model.head.weight)] == 0
        for number, layer in enumerate(layers):
            assert {depth[id(p)] for p in layer} == {len(layers) - number}


class TestScales:
    STAGES = tuple(Stage.parse(text) for text in ("0:1:1e-2", "2blocks:2:1e-3", "1:3:1e-4"))

    def scales(self, model, epoch, done, **flags):
        settings = config(**flags)
        optimizer = torch.optim.SGD(parameter_groups(model, settings), lr=0.1)
        layers = len(layer_groups(model.backbone))
        set_scales(
            optimizer, layers, self.STAGES, stage_position(self.STAGES, epoch), done, settings
        )
        return {group["depth"]: group["scale"] for group in optimizer.param_groups}

    def test_are_1_by_default(self, model):
        assert self.scales(model, 3, 0.1) == {0: 1.0}

    def test_fall_from_layer_to_layer(self, model):
        found = self.scales(model, 3, 0.1, layer_decay=0.5)
        assert found == {
            depth: 0.5**depth for depth in range(len(layer_groups(model.backbone)) + 1)
        }

    def test_rise_where_the_stage_has_unfrozen(self, model):
        found = self.scales(model, 3, 0.5, warmup=2)
        assert (found[0], found[1], found[2]) == (1, 1, 1)
        assert {found[depth] for depth in found if depth > 2} == {0.25}
        found = self.scales(model, 1, 0.5, warmup=2)
        assert (found[0], found[1], found[2]) == (1, 0.25, 0.25)
        assert set(self.scales(model, 3, 2.0, warmup=2).values()) == {1.0}

    @settings(max_examples=60)
    @given(
        st.lists(st.floats(0, 1), min_size=1, max_size=4), st.integers(1, 40),
        st.floats(0.1, 1), st.floats(0, 3), st.floats(0.01, 5),
    )  # fmt: skip
    def test_lie_in_0_to_1_and_the_heads_is_1(self, shares, groups, decay, warmup, done):
        stages = [share_of(share) for share in shares]
        for index in range(len(stages)):
            found = [
                lr_scale(depth, groups, stages, index, done, decay=decay, warmup=warmup)
                for depth in range(groups + 1)
            ]
            assert found[0] == 1
            assert all(0 < scale <= 1 for scale in found)
            later = [
                lr_scale(depth, groups, stages, index, done + 1, decay=decay, warmup=warmup)
                for depth in range(groups + 1)
            ]
            assert all(a <= b for a, b in zip(found, later, strict=True))
            if warmup <= done:
                assert all(b <= a for a, b in itertools.pairwise(found))


class TestForgetFrozen:
    def test_what_is_frozen_has_no_past_and_the_rest_keeps_its_own(self):
        model = make("test_resnet")
        optimizer = torch.optim.AdamW(parameter_groups(model, config()), lr=1e-3)

        def step(share):
            unfreeze(model, share_of(share))
            forget_frozen(optimizer)
            train_mode(model, share_of(share), "frozen")
            optimizer.zero_grad(set_to_none=True)
            model(torch.rand(4, 3, 64, 64)).square().sum().backward()
            optimizer.step()

        def steps(parameter):
            return int(optimizer.state[parameter]["step"]) if parameter in optimizer.state else None

        stem, last = model.backbone.conv1[0].weight, trained_groups(model, share_of(0.1))[0][0]
        found = []
        for share in (1, 0.1, 0, 0.1, 1):
            step(share)
            found.append((steps(stem), steps(last), steps(model.head.weight)))
        assert found == [(1, 1, 1), (None, 2, 2), (None, None, 3), (None, 1, 4), (1, 2, 5)]


# parents with parameters of their own, norms of all kinds, modules that remember in evaluation
SPLIT = [
    ("xcit_nano_12_p16_224", 64),
    ("levit_128s", 224),
    ("efficientvit_m0", 224),
    ("convnext_atto", 64),
    ("vit_tiny_patch16_224", 64),
    ("swin_tiny_patch4_window7_224", 224),
    ("densenet121", 64),
    ("resnet18", 64),
    ("efficientnet_b0", 64),
]


@pytest.fixture(scope="module", params=[pytest.param(one, id=one[0]) for one in SPLIT])
def split(request):
    """A network of one of many families."""
    name, size = request.param
    model = build(name, classes=4, size=size, dropout=0.0, pretrained=None, seed=0)
    model.side = size
    return model


class TestModes:
    """Every layer's mode follows from its own freezing, whatever is around it."""

    @pytest.mark.parametrize("frozen_norm", ["frozen", "train"])
    @pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
    def test_unfrozen_is_training_and_frozen_is_not_but_for_norms(self, split, share, frozen_norm):
        unfreeze(split, share_of(share))
        train_mode(split, share_of(share), frozen_norm)
        for name, module in split.backbone.named_modules():
            own = list(module.parameters())
            unfrozen = any(p.requires_grad for p in own)
            if unfrozen:
                assert module.training, name
            elif own:
                follows = frozen_norm == "train" and isinstance(module, BatchNorm)
                assert module.training == follows, name
        trained = {id(p) for group in trained_groups(split, share_of(share)) for p in group}
        for name, module in split.backbone.named_modules():
            inside = list(module.parameters())
            if inside and all(id(p) in trained for p in inside):
                assert all(child.training for child in module.modules()), name

    @pytest.mark.parametrize("norm", ["frozen", "train"])
    @pytest.mark.parametrize("share", [0, 0.5, 1])
    def test_a_stage_rules_all_batch_norm(self, split, share, norm):
        stage = Stage.parse(f"{share}:1:1e-3:bn={norm}")
        unfreeze(split, stage)
        for frozen_norm in ("frozen", "train"):
            train_mode(split, stage, frozen_norm)
            norms = [m for m in split.backbone.modules() if isinstance(m, BatchNorm)]
            assert all(m.training == (norm == "train") for m in norms)

    @pytest.mark.parametrize("frozen_norm", ["frozen", "train"])
    def test_can_be_trained(self, split, frozen_norm):
        unfreeze(split, share_of(0.5))
        train_mode(split, share_of(0.5), frozen_norm)
        side = split.side
        split(torch.rand(2, 3, side, side)).sum().backward()
        assert all((p.grad is not None) == p.requires_grad for p in split.backbone.parameters())
        split.zero_grad()

    def test_does_not_depend_on_the_mode_before(self, split):
        unfreeze(split, share_of(0.5))
        found = []
        for before in (True, False):
            split.train(before)
            train_mode(split, share_of(0.5), "frozen")
            found.append([module.training for module in split.modules()])
        assert found[0] == found[1]
        assert 0 < sum(found[0]) < len(found[0])

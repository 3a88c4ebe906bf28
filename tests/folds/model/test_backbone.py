import math

import pytest
import timm
import torch

from folds.config.head import HeadShape
from folds.config.stages import Stage
from folds.errors import UserError
from folds.model.backbone import (
    build,
    check_size,
    fixed_input,
    input_size,
    native_size,
)
from folds.model.blocks import layer_groups
from folds.model.layer_groups import train_mode, unfreeze
from folds.model.names import check_backbone
from folds.model.weights import load_pretrained

MODELS = ["test_resnet", "test_vit", "test_convnext", "mobilenetv3_small_050"]


def make(name, classes=5, size=64, dropout=0.0, seed=0, pretrained=None):
    return build(
        name, classes=classes, size=size, dropout=dropout, pretrained=pretrained, seed=seed
    )


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    return make(request.param)


class TestBuild:
    @pytest.mark.parametrize("classes", [2, 8, 100])
    def test_fresh_head_has_the_loss_of_guessing(self, model, classes):
        fresh = make(self.name(model), classes=classes).train()
        labels = torch.arange(32) % classes
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(fresh(torch.rand(32, 3, 64, 64)), labels)
        assert abs(loss.item() - math.log(classes)) < 0.15

    def name(self, model):
        return model.backbone.pretrained_cfg["architecture"]

    def test_seed_decides_every_weight(self):
        one, same, other = (make("test_vit", seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert not torch.equal(one["head.weight"], other["head.weight"])
        assert not torch.equal(
            one["backbone.blocks.0.attn.qkv.weight"], other["backbone.blocks.0.attn.qkv.weight"]
        )

    def test_leaves_the_global_random_numbers_alone(self):
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        make("test_resnet")
        assert torch.equal(torch.rand(3), expected)

    def test_takes_pretrained_weights(self):
        state = make("test_resnet", seed=9).backbone.state_dict()
        model = make("test_resnet", seed=1, pretrained=state)
        assert all(torch.equal(model.backbone.state_dict()[name], state[name]) for name in state)
        assert torch.equal(model.head.weight, make("test_resnet", seed=1).head.weight)

    def test_position_embeddings_follow_the_size(self):
        state = make("test_vit", size=160, seed=9).backbone.state_dict()
        model = make("test_vit", size=64, pretrained=state)
        assert model.backbone.pos_embed.shape[1] < state["pos_embed"].shape[1]
        name = "blocks.0.attn.qkv.weight"
        assert torch.equal(model.backbone.state_dict()[name], state[name])
        assert model(torch.rand(2, 3, 64, 64)).shape == (2, 5)

    def test_normalises_with_the_backbones_statistics(self):
        model = make("test_resnet").eval()
        seen = []
        model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        settings = model.backbone.pretrained_cfg
        model(torch.tensor(settings["mean"]).view(1, 3, 1, 1).expand(1, 3, 64, 64))
        assert seen[0].abs().max() < 1e-6


class TestDropout:
    IMAGE = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    ROWS = torch.tensor([8, 2, 5, 11])

    def test_only_with_rows(self):
        model = make("test_vit", dropout=0.5).eval()
        plain = model(self.IMAGE)
        assert not torch.equal(plain, model(self.IMAGE, self.ROWS, 3))
        assert torch.equal(plain, make("test_vit").eval()(self.IMAGE, self.ROWS, 3))

    def test_does_not_depend_on_the_rest_of_the_batch(self):
        model = make("test_vit", dropout=0.5).eval()
        whole = model(self.IMAGE, self.ROWS, 3)
        parts = torch.cat([model(self.IMAGE[i : i + 2], self.ROWS[i : i + 2], 3) for i in (0, 2)])
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)


class TestInputSize:
    def test_request_wins(self):
        assert input_size("test_resnet", 48, 500) == 48
        assert input_size("test_vit", 48, 500) == 48

    @pytest.mark.parametrize(("side", "expected"), [(64, 64), (160, 160), (500, 160)])
    def test_auto_is_the_images_size_at_most_the_backbones(self, side, expected):
        assert input_size("test_resnet", "auto", side) == expected

    @pytest.mark.parametrize("side", [64, 500])
    def test_auto_is_the_backbones_where_that_is_fixed(self, side):
        assert input_size("test_vit", "auto", side) == 160

    def test_fixed_or_not(self):
        assert fixed_input("test_vit")
        assert not fixed_input("test_resnet")
        assert native_size("mobilenetv3_small_050.lamb_in1k") == 224


class TestNames:
    @pytest.mark.parametrize("name", [*MODELS, "mobilenetv3_small_050.lamb_in1k", "resnet10t"])
    def test_known_ones_pass(self, name):
        check_backbone(name)

    def test_unknown_one_names_the_nearest(self):
        with pytest.raises(UserError, match=r"--backbone resnet81: .*nearest: resnet\d"):
            check_backbone("resnet81")

    def test_unlike_anything_tells_where_the_list_is(self):
        with pytest.raises(UserError, match=r"timm\.list_models"):
            check_backbone("!!!!")


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_layer(name):
    model = make(name)
    unfreeze(model, Stage(1, 1, 1e-3))
    train_mode(model, Stage(1, 1, 1e-3), "frozen")
    model(torch.rand(4, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_no_weights_are_random_without_notice():
    found = load_pretrained("test_resnet", "none")
    assert (found.state, found.source, found.notice) == (None, "random", None)


class TestOwnDropout:
    """A model's own dropout would draw from torch's global generator."""

    @pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "rexnet_100"])
    def test_is_off_so_that_training_passes_repeat(self, name):
        model = build(name, classes=3, size=224, dropout=0.0, pretrained=None, seed=0).train()
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                module.eval()
        image = torch.rand(1, 3, 224, 224)
        with torch.no_grad():
            assert torch.equal(model(image), model(image))


def flat(name):
    """A backbone that gives features whatever is asked."""
    return timm.create_model(name, num_classes=0)


class TestCheckSize:
    @pytest.mark.parametrize("pool", ["auto", "attention"])
    def test_a_size_that_works_tells_how_many_layer_groups_there_are(self, pool):
        found = check_size("test_resnet", 64, HeadShape(pool))
        assert found == len(layer_groups(make("test_resnet").backbone)) == 5

    def test_an_output_that_is_no_map_is_refused_with_a_pooling_that_works(self, monkeypatch):
        monkeypatch.setattr(
            "folds.model.backbone.create_backbone", lambda name, size, **options: flat(name)
        )
        with pytest.raises(UserError, match=r"--pool max: test_resnet .*; use --pool auto"):
            check_size("test_resnet", 64, HeadShape("max"))

    def test_patches_that_do_not_fit_are_refused_with_a_size_that_does(self):
        with pytest.raises(UserError, match=r"does not work on images of 100 px.*--image-size 160"):
            check_size("test_vit", 100)

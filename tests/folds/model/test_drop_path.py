"""Stochastic depth that depends on the image's draw alone."""

import pytest
import torch
from timm.layers import DropPath

from folds.config.stages import Stage
from folds.errors import UserError
from folds.model.backbone import build, check_size
from folds.model.drop_path import StochasticDepth
from folds.model.layer_groups import train_mode, unfreeze

IMAGES = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([8, 2, 5, 11, 3, 40])
BACKBONES = ["test_vit", "test_resnet", "test_convnext", "mobilenetv3_small_050", "test_maxvit"]


def make(name="test_vit", drop_path=0.5, share=1.0):
    options = {"classes": 3, "size": 64, "dropout": 0.0, "pretrained": None, "seed": 0}
    model = build(name, **options, drop_path=drop_path)
    for parameter in model.parameters():
        if not parameter.any():  # branches that begin with 0
            torch.nn.init.constant_(parameter, 0.5)
    stage = Stage(share, 1, 1e-3, norm="frozen")
    unfreeze(model, stage)
    train_mode(model, stage, "frozen")
    return model


@torch.no_grad()
def logits(model, *given):
    return model(IMAGES, *given)


class TestModule:
    def test_drops_an_image_whole_or_scales_it(self):
        module = StochasticDepth(0.3, 2)
        module.rows = torch.arange(50)
        found = module(torch.ones(50, 4, 5))
        assert all(set(each.flatten().tolist()) in ({0.0}, {found.max().item()}) for each in found)
        assert found.max() == pytest.approx(1 / 0.7)

    @pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
    def test_drops_as_many_as_it_should(self, probability):
        shares = []
        for number in range(4):
            module = StochasticDepth(probability, number)
            module.rows, module.seed = torch.arange(10_000), 7
            shares.append((module(torch.ones(10_000, 1)) == 0).float().mean().item())
        assert shares == pytest.approx([probability] * 4, abs=0.02)

    def test_branches_and_epochs_are_independent(self):
        drawn = []
        for number, seed in ((0, 7), (1, 7), (0, 8)):
            module = StochasticDepth(0.5, number)
            module.rows, module.seed = torch.arange(10_000), seed
            drawn.append(module(torch.ones(10_000, 1)).flatten())
        assert torch.corrcoef(torch.stack(drawn)).triu(1).abs().max() < 0.04

    def test_keeps_half_precision(self):
        module = StochasticDepth(0.5, 0)
        module.rows = torch.arange(4)
        assert module(torch.ones(4, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16

    def test_parts_of_images_are_refused(self):
        module = StochasticDepth(0.5, 0)
        module.rows = torch.arange(4)
        with pytest.raises(UserError, match=r"--drop-path: .* parts of an image"):
            module(torch.ones(8, 2))


class TestNetwork:
    @pytest.mark.parametrize("name", BACKBONES)
    def test_has_the_weights_of_one_without_and_none_of_timms_modules(self, name):
        one, other = make(name), make(name, drop_path=0.0)
        assert one.droppable
        assert not other.droppable
        assert not any(isinstance(module, DropPath) for module in one.modules())
        theirs = other.state_dict()
        assert all(torch.equal(t, theirs[n]) for n, t in one.state_dict().items())
        assert torch.equal(logits(one.eval()), logits(other.eval()))
        assert check_size(name, 64, drop_path=0.5) == check_size(name, 64)

    def test_later_blocks_are_dropped_more(self):
        rates = [block.probability for block in make().droppable]
        assert rates == sorted(rates)
        assert rates[-1] == 0.5

    @pytest.mark.parametrize("name", BACKBONES)
    def test_in_training_what_is_dropped_depends_on_the_draw_alone(self, name):
        model = make(name)
        whole = logits(model, ROWS, 3)
        assert torch.equal(whole, logits(model, ROWS, 3))
        assert not torch.equal(whole, logits(model, ROWS, 4))
        assert not torch.equal(whole, logits(model))
        with torch.no_grad():
            parts = [model(IMAGES[i : i + 2], ROWS[i : i + 2], 3) for i in (0, 2, 4)]
        torch.testing.assert_close(whole, torch.cat(parts), atol=1e-6, rtol=1e-4)

    def test_nothing_is_dropped_in_evaluation(self):
        model = make().eval()
        assert torch.equal(logits(model, ROWS, 3), logits(model))

    @pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
    def test_only_blocks_that_train_are_dropped(self, share):
        model = make(share=share)
        for block in model.backbone.blocks:
            trains = any(p.requires_grad for p in block.parameters())
            mode = {m.training for m in block.modules() if isinstance(m, StochasticDepth)}
            assert mode <= {trains}
        assert torch.equal(logits(model, ROWS, 3), logits(model)) == (share == 0)

    @pytest.mark.parametrize("name", ["vgg11", "densenet121"])
    def test_one_that_has_no_blocks_to_drop_is_refused(self, name):
        with pytest.raises(UserError, match=rf"^--drop-path 0.2: {name} has no blocks .*leave it"):
            check_size(name, 64, drop_path=0.2)

    def test_compiled_it_drops_the_same(self):
        model = make("test_resnet")
        compiled = torch.compile(model, backend="eager")
        for seed in (3, 4):
            assert torch.equal(logits(model, ROWS, seed), logits(compiled, ROWS, seed))

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config.head import HeadShape
from folds.config.named import words
from folds.model.backbone import build
from folds.model.head import AttentionPool, Pool, dropout_mask
from folds.runtime.device import Runtime

POOLS = ["auto", "avg", "max", "avgmax", "attention"]
IMAGE = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
ROWS = torch.tensor([8, 2, 5, 11])
DEEP = HeadShape("avg", (24, 12), "gelu", "layer", 0.5)


def make(head, backbone="test_resnet", classes=5, dropout=0.0, seed=0):
    return build(
        backbone, classes=classes, size=64, dropout=dropout, pretrained=None, seed=seed, head=head
    )


class Maps:
    """Stands for a network whose maps have their channels last, or for one with tokens."""

    def __init__(self, output_fmt="NCHW", num_prefix_tokens=0):
        self.output_fmt, self.num_prefix_tokens = output_fmt, num_prefix_tokens


class TestPool:
    MAP = torch.rand(2, 7, 3, 4, generator=torch.Generator().manual_seed(5))

    @pytest.mark.parametrize("kind", ["avg", "max", "avgmax"])
    def test_is_over_all_places_wherever_the_channels_are(self, kind):
        avg, peak = self.MAP.mean((2, 3)), self.MAP.amax((2, 3))
        expected = {"avg": avg, "max": peak, "avgmax": torch.cat([avg, peak], 1)}[kind]
        torch.testing.assert_close(Pool(kind, Maps())(self.MAP), expected)
        last = self.MAP.permute(0, 2, 3, 1)
        torch.testing.assert_close(Pool(kind, Maps("NHWC"))(last), expected)
        tokens = torch.cat([torch.full((2, 2, 7), 9.0), last.flatten(1, 2)], 1)
        torch.testing.assert_close(Pool(kind, Maps("NLC", 2))(tokens), expected)

    def test_attention_begins_as_the_mean_and_learns_where_to_look(self):
        pool = AttentionPool(Maps(), 7)
        torch.testing.assert_close(pool(self.MAP), self.MAP.mean((2, 3)))
        pool.score.weight.data[0, 0] = 1e5
        brightest = self.MAP[:, 0].flatten(1).argmax(1)
        expected = self.MAP.flatten(2)[torch.arange(2), :, brightest]
        torch.testing.assert_close(pool(self.MAP), expected, atol=1e-3, rtol=0)

    @pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext"])
    def test_avg_is_auto_up_to_what_comes_behind_the_pooling(self, backbone):
        """Where there is a norm behind it, that is applied to each place."""
        auto, avg = (make(HeadShape(pool), backbone).eval() for pool in ("auto", "avg"))
        same = torch.allclose(auto(IMAGE), avg(IMAGE), atol=1e-5)
        assert same == (backbone == "test_resnet")
        assert auto.state_dict().keys() == avg.state_dict().keys()


class TestHead:
    @pytest.mark.parametrize("pool", POOLS)
    @pytest.mark.parametrize("norm", ["none", "batch", "layer"])
    def test_fresh_has_the_loss_of_guessing(self, pool, norm):
        model = make(HeadShape(pool, (32, 16), "silu", norm), classes=8).train()
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(model(IMAGE), torch.arange(4))
        assert abs(loss.item() - math.log(8)) < 0.15

    @pytest.mark.parametrize("pool", POOLS)
    @pytest.mark.parametrize("backbone", ["test_resnet", "test_vit", "test_convnext"])
    def test_gradients_reach_every_parameter(self, pool, backbone):
        model = make(HeadShape(pool, (16,), "leaky_relu", "batch"), backbone).train()
        model(IMAGE).square().sum().backward()
        model(IMAGE).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())

    def test_hidden_layers_are_glorots(self):
        model = make(HeadShape(layers=(4000,)))
        weight, features = model.head.hidden[0][0].weight, model.backbone.num_features
        bound = math.sqrt(6 / (features + 4000))
        assert weight.shape == (4000, features)
        assert 0.99 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.01)
        assert not model.head.hidden[0][0].bias.any()

    @pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu"])
    @pytest.mark.parametrize("norm", ["none", "batch", "layer"])
    def test_is_made_of_what_was_asked_for(self, name, norm):
        model = make(HeadShape(layers=(9, 7), activation=name, norm=norm)).eval()
        features = model.frozen_features(IMAGE, len(model.chain))
        function = getattr(torch.nn.functional, name)
        for layer, width in zip(model.head.hidden, (9, 7), strict=True):
            features = features @ layer[0].weight.T + layer[0].bias
            assert features.shape == (4, width)
            if norm == "batch":
                features = features / math.sqrt(1 + layer[1].eps)
            if norm == "layer":
                features = torch.nn.functional.layer_norm(features, (width,))
            features = function(features)
        expected = features @ model.head.weight.T + model.head.bias
        torch.testing.assert_close(model(IMAGE), expected)

    def test_without_layers_is_a_linear_layer(self):
        plain = make(HeadShape())
        assert set(plain.head.state_dict()) == {"weight", "bias"}


class TestDropout:
    def test_only_with_rows(self):
        for dropout, head in ((0.5, HeadShape()), (0.0, DEEP)):
            model = make(head, dropout=dropout).eval()
            plain = model(IMAGE)
            assert not torch.equal(plain, model(IMAGE, ROWS, 3))
            silent = make(HeadShape(head.pool, head.layers, head.activation, head.norm)).eval()
            assert torch.equal(silent(IMAGE), silent(IMAGE, ROWS, 3))

    @pytest.mark.parametrize("head", [HeadShape(), DEEP])
    def test_does_not_depend_on_the_rest_of_the_batch(self, head):
        model = make(head, dropout=0.5).eval()
        whole = model(IMAGE, ROWS, 3)
        parts = torch.cat([model(IMAGE[i : i + 2], ROWS[i : i + 2], 3) for i in (0, 2)])
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)

    def test_layers_drop_unrelated_features(self):
        one, other = dropout_mask(ROWS, 500, 0.5, 3), dropout_mask(ROWS, 500, 0.5, 3, first=500)
        assert abs(((one > 0) == (other > 0)).float().mean().item() - 0.5) < 0.05
        assert torch.equal(dropout_mask(ROWS, 1000, 0.5, 3), torch.cat([one, other], 1))


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ("512,128", ["512", "128"]), (("512,128",), ["512", "128"]), ([512, 128], ["512", "128"]),
        (64, ["64"]), ((), []), ("", []), ("a,,b", ["a", "b"]), (None, ["None"]),
    ],
)  # fmt: skip
def test_widths_are_read_from_texts_and_lists(given_, expected):
    assert words(given_) == expected


class TestKeep:
    @settings(max_examples=30)
    @given(st.floats(0, 0.9), st.integers(0, 2**31 + 10**4))
    def test_rate_and_mean(self, probability, seed):
        factors = dropout_mask(torch.arange(400), 256, probability, seed)
        assert abs((factors == 0).float().mean().item() - probability) < 0.015
        assert abs(factors.mean().item() - 1) < 0.1
        rest = factors[factors > 0]
        torch.testing.assert_close(rest, torch.full_like(rest, 1 / (1 - probability)))

    @settings(max_examples=30)
    @given(st.lists(st.integers(0, 2**31), min_size=2, max_size=9), st.integers(0, 2**31))
    def test_a_row_depends_on_its_number_alone(self, numbers, seed):
        rows = torch.tensor(numbers)
        together = dropout_mask(rows, 40, 0.5, seed)
        for row, factors in zip(rows, together, strict=True):
            assert torch.equal(dropout_mask(row[None], 40, 0.5, seed)[0], factors)

    def test_rows_features_and_seeds_are_unrelated(self):
        patterns = torch.stack(
            [dropout_mask(torch.arange(64), 256, 0.5, seed) for seed in range(20)]
        )
        flat = patterns.reshape(20 * 64, 256)
        assert len(torch.unique(flat, dim=0)) == 20 * 64
        assert torch.corrcoef(flat)[~torch.eye(len(flat), dtype=bool)].abs().max() < 0.45
        assert torch.corrcoef(flat.T)[~torch.eye(256, dtype=bool)].abs().max() < 0.2


class TestPrecision:
    """The head is float32 whatever the backbone computes in."""

    @staticmethod
    def logits(model, precision, image, **options):
        with torch.inference_mode(), Runtime.choose("cpu", precision).autocast():
            return model(image, **options)

    @pytest.mark.parametrize("head", [HeadShape(), HeadShape("attention", (32,), norm="batch")])
    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_is_float32_from_the_pooling_to_the_logits(self, head, precision):
        model = make(head, dropout=0.3).eval()
        kinds = []
        for module in model.head.modules():
            module.register_forward_hook(lambda _module, _given, out: kinds.append(out.dtype))
        logits, features = self.logits(model, precision, IMAGE, rows=ROWS, with_features=True)
        assert logits.dtype == features.dtype == torch.float32
        assert set(kinds) == {torch.float32}

    @pytest.mark.parametrize("precision", ["bf16", "fp16"])
    def test_two_classes_are_not_equally_likely_by_rounding(self, precision):
        """Of random logits rounded to bf16 some have two first classes."""
        model = make(HeadShape(), classes=8).eval()
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(1))
        features = torch.randn(
            4000, model.head.features, generator=torch.Generator().manual_seed(2)
        )
        depth = len(model.chain)
        logits = self.logits(model, precision, features.bfloat16(), start=depth)

        def ties(found):
            first, second = found.float().topk(2, dim=1).values.unbind(1)
            return int((first == second).sum())

        assert ties(logits) == 0
        assert ties(logits.bfloat16()) > 4

    def test_frozen_features_of_half_precision_give_the_same(self):
        model = make(HeadShape(layers=(16,))).eval()
        depth = len(model.chain)
        with torch.inference_mode(), Runtime.choose("cpu", "bf16").autocast():
            shared = model.frozen_features(IMAGE, depth)
            assert shared.dtype == torch.bfloat16
            assert torch.equal(model(shared, start=depth), model(IMAGE))

    def test_half_precision_trains_the_backbone(self):
        model = make(HeadShape("attention", (16,))).train()
        model.head.pool.score.weight.data.normal_(generator=torch.Generator().manual_seed(0))
        with Runtime.choose("cpu", "bf16").autocast():
            logits = model(IMAGE)
        logits.square().sum().backward()
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())

"""Laws of a whole policy: what an image's result may depend on."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from folds.augment import augment, make_policy, to_input
from folds.config.policies import PRESETS
from tests.folds.augment.pictures import CHAINS, SIDE, SINGLES, of, pixels, table

EVERYTHING = [{"op": name, "p": 0.5} for name in (*SINGLES, *CHAINS)]


def policies():
    yield from ((name, make_policy(name)) for name in PRESETS)
    yield "everything", of(*EVERYTHING)


ALL = pytest.mark.parametrize("policy", [p for _, p in policies()], ids=[n for n, _ in policies()])


class TestAugment:
    @ALL
    @pytest.mark.parametrize(("side", "size"), [(SIDE, SIDE), (12, 30), (40, 16)])
    def test_shape_and_range(self, policy, side, size):
        found = augment(pixels(5, side), table(policy, 5), policy, size)
        assert found.shape == (5, 3, size, size)
        assert found.dtype == torch.float32
        assert found.min() >= 0
        assert found.max() <= 1
        assert torch.isfinite(found).all()

    @ALL
    def test_an_images_result_does_not_depend_on_the_batch(self, policy):
        content, numbers = pixels(7), table(policy, 7)
        whole = augment(content, numbers, policy, SIDE)
        for row in range(7):
            part = slice(row, row + 1)
            alone = augment(content[part], numbers[part], policy, SIDE)
            assert_close(alone[0], whole[row], atol=1e-5, rtol=0)
        order = np.array([3, 6, 0])
        some = augment(content[torch.from_numpy(order)], numbers[order], policy, SIDE)
        assert_close(some, whole[torch.from_numpy(order)], atol=1e-5, rtol=0)

    @ALL
    def test_is_deterministic_and_leaves_its_input_alone(self, policy):
        content, numbers = pixels(), table(policy, 6)
        before = content.clone(), numbers.copy()
        one, two = (augment(content, numbers, policy, SIDE) for _ in range(2))
        assert torch.equal(one, two)
        assert torch.equal(content, before[0])
        assert np.array_equal(numbers, before[1])

    @ALL
    def test_needs_no_gradient(self, policy):
        assert not augment(pixels(), table(policy, 6), policy, SIDE).requires_grad

    @pytest.mark.parametrize("size", [SIDE, 40, 16])
    def test_with_all_probabilities_0_it_is_the_plain_view(self, size):
        off = of(*({"op": name, "p": 0} for name in (*SINGLES, *CHAINS)))
        found = augment(pixels(), table(off, 6), off, size)
        assert torch.equal(found, to_input(pixels(), size))

    @pytest.mark.parametrize("name", [*SINGLES, *CHAINS])
    def test_every_operation_does_something_in_every_epoch(self, name):
        policy = of({"op": name})
        content = pixels(16, low=40, high=200)
        plain = to_input(content, SIDE)
        one, two = (augment(content, table(policy, 16, epoch), policy, SIDE) for epoch in (0, 1))
        assert (one - plain).abs().max() > 0.02
        fixed = name in ("flip_horizontal", "flip_vertical", "autocontrast", "equalize")
        assert fixed == torch.equal(one, two)

    def test_probability_is_the_share_of_images(self):
        policy = of({"op": "flip_horizontal", "p": 0.3})
        plain = to_input(pixels(600, 4), 4)
        found = augment(pixels(600, 4), table(policy, 600), policy, 4)
        assert (found != plain).flatten(1).any(1).float().mean() == pytest.approx(0.3, abs=0.06)


class TestOrder:
    def test_in_the_list_does_not_matter_between_kinds(self):
        lines = [{"op": name} for name in ("rotate", "brightness", "posterize", "blur", "noise")]
        forth, back = of(*lines), of(*reversed(lines))
        numbers = table(forth, 6)
        parts = np.split(numbers, np.cumsum([2, 2, 2, 2])[:4], axis=1)
        backwards = np.concatenate(parts[::-1], axis=1)
        one = augment(pixels(), numbers, forth, SIDE)
        assert_close(augment(pixels(), backwards, back, SIDE), one)

    def test_policies_are_joined(self):
        joined = make_policy("light+rand+noise")
        assert joined.columns == sum(make_policy(n).columns for n in ("light", "rand", "noise"))
        assert make_policy("light") is make_policy("light")
        assert make_policy("none").columns == 0
        assert (make_policy("light").mixes, make_policy("light+cutmix").mixes) == (False, True)


class TestToInput:
    def test_is_a_float_of_each_pixel(self):
        assert_close(to_input(pixels(), SIDE), pixels().permute(0, 3, 1, 2) / 255)

    @pytest.mark.parametrize("size", [8, 100])
    def test_resizing_keeps_a_plain_colour(self, size):
        plain = torch.tensor([51, 102, 255], dtype=torch.uint8).expand(2, SIDE, SIDE, 3)
        expected = torch.tensor([0.2, 0.4, 1.0]).view(1, 3, 1, 1).expand(2, 3, size, size)
        assert_close(to_input(plain, size), expected)

    def test_reducing_averages_instead_of_skipping(self):
        checks = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
        checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 254
        inner = to_input(checks, 8)[..., 1:-1, 1:-1]
        assert_close(inner, torch.full_like(inner, 127 / 255), atol=0.02, rtol=0)

import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from folds.augment import draws
from folds.config.policies import OPERATIONS, Entry
from tests.folds.augment.pictures import numbers


def entry(op, p=1.0, **strengths):
    defaults = {name: limit.default for name, limit in OPERATIONS[op].limits.items()}
    return Entry(op, p, defaults | strengths)


def table(one, count, seed=0):
    return numbers(count, draws.columns(one), seed)


class TestDifferent:
    @pytest.mark.parametrize("slots", [1, 2, 3])
    def test_all_orders_are_equally_likely(self, slots):
        found = draws.different(numbers(24_000, slots), 4)
        orders = list(itertools.permutations(range(4), slots))
        counts = [(found == order).all(1).sum() for order in orders]
        assert sum(counts) == 24_000
        assert chisquare(counts).pvalue > 1e-3

    def test_the_greatest_number_is_an_option(self):
        last = np.full((1, 4), np.nextafter(np.float32(1), np.float32(0)))
        assert sorted(draws.different(last, 4)[0]) == [0, 1, 2, 3]


class TestSingle:
    def test_acts_with_its_probability_and_passes_the_other_numbers_on(self):
        one = entry("noise", 0.25)
        own = table(one, 1000)
        (found,) = draws.single(one, own)
        assert found.rows.tolist() == np.flatnonzero(own[:, 0] < 0.25).tolist()
        assert np.array_equal(found.numbers, own[found.rows, 1:])
        assert draws.single(entry("noise", 0.0), own) == []


class TestRandAugment:
    def test_gives_each_image_n_operations_or_one_less(self):
        one = entry("rand_augment", n=3)
        found = draws.rand_augment(one, table(one, 700))
        counts = np.bincount(np.concatenate([draw.rows for draw in found]), minlength=700)
        assert set(counts) == {2, 3}
        assert np.mean(counts == 2) == pytest.approx(3 / 14, abs=0.04)
        assert {draw.op for draw in found} == set(draws.RAND)

    def test_all_are_of_level_m_in_both_directions(self):
        one = entry("rand_augment", m=12)
        for draw in draws.rand_augment(one, table(one, 700)):
            strength = draw.numbers[:, 0] if draw.numbers.size else np.zeros(0)
            percent = set(np.rint(100 * strength).astype(int).tolist())
            if OPERATIONS[draw.op].signed:
                assert percent == {30, 70}, draw.op
            else:
                assert percent <= {40}, draw.op
            assert draw.strengths.get("max") == draws.RAND[draw.op]

    def test_images_of_one_batch_differ(self):
        one = entry("rand_augment")
        found = draws.rand_augment(one, table(one, 64))
        assert all(len(draw.rows) < 30 for draw in found)

    def test_probability_leaves_images_alone(self):
        one = entry("rand_augment", 0.5)
        own = table(one, 200)
        rows = np.concatenate([draw.rows for draw in draws.rand_augment(one, own)])
        assert set(rows) <= set(np.flatnonzero(own[:, 0] < 0.5))


class TestTrivialAugment:
    def test_gives_one_operation_of_any_strength(self):
        one = entry("trivial_augment")
        found = draws.trivial_augment(one, table(one, 2000))
        counts = np.bincount(np.concatenate([draw.rows for draw in found]), minlength=2000)
        assert counts.max() == 1
        assert np.mean(counts == 0) == pytest.approx(1 / 14, abs=0.02)
        rotation = next(draw for draw in found if draw.op == "rotate").numbers[:, 0]
        assert rotation.min() < 0.1 < 0.9 < rotation.max()


class TestAugMix:
    def test_weights_are_shares_and_dirichlet(self):
        one = entry("aug_mix")
        _, weights, rows = draws.chains(one, table(one, 4000))
        assert len(rows) == 4000
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        assert weights.min() >= 0
        own = weights[:, 0]
        assert own.mean() == pytest.approx(1 / 2, abs=0.02)  # Beta(1, 1)
        assert own.var() == pytest.approx(1 / 12, abs=0.01)
        shares = weights[:, 1:] / (1 - own)[:, None]
        np.testing.assert_allclose(shares.mean(0), 1 / 3, atol=0.02)  # Dirichlet(1, 1, 1)
        np.testing.assert_allclose(shares.var(0), 1 / 18, atol=0.01)

    def test_chains_are_of_one_to_depth_operations(self):
        one = entry("aug_mix", depth=2)
        found, _, _ = draws.chains(one, table(one, 3000))
        assert len(found) == 3
        for chain in found:
            counts = np.bincount(np.concatenate([d.rows for d in chain]), minlength=3000)
            assert set(counts) == {0, 1, 2}  # 0 where nothing was chosen in place of the one
            assert np.mean(counts) == pytest.approx(1.5 * 0.9, abs=0.05)

    def test_only_chosen_images_take_part(self):
        one = entry("aug_mix", 0.3)
        own = table(one, 300)
        found, weights, rows = draws.chains(one, own)
        assert rows.tolist() == np.flatnonzero(own[:, 0] < 0.3).tolist()
        assert len(weights) == len(rows)
        assert max(draw.rows.max() for chain in found for draw in chain) < len(rows)

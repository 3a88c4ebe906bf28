import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from folds.evaluation.racing import rung, verdict
from tests.folds.evaluation import searches as simulated

seeds = st.integers(0, 10**6)


def search(seed, trials=8, k=5):
    """Scores of a trial (k) and of complete ones (n, k)."""
    rng = np.random.default_rng(seed)
    table = rng.normal(0, 1, (trials, k)) + rng.normal(0, 2, k) + rng.normal(0, 2, (trials, 1))
    return table[0].tolist(), table[1:].tolist()


class TestVerdict:
    @given(seeds, st.integers(1, 4), st.floats(0.01, 100), st.floats(-100, 100))
    def test_units_and_the_hardness_of_folds_do_not_matter(self, seed, f, scale, shift):
        own, complete = search(seed)
        harder = shift + np.arange(5.0) ** 2
        found = verdict(own[:f], complete)
        other = verdict(
            (scale * np.array(own) + harder)[:f].tolist(),
            (scale * np.array(complete) + harder).tolist(),
        )
        assert other.difference == pytest.approx(scale * found.difference, abs=1e-7)
        assert other.bound == pytest.approx(scale * found.bound, abs=1e-7)
        assert other.p == pytest.approx(found.p, abs=1e-6)
        assert other.rival == found.rival

    @given(seeds, st.integers(1, 4), st.randoms())
    def test_the_order_of_trials_does_not_matter(self, seed, f, random):
        own, complete = search(seed)
        mixed = random.sample(complete, len(complete))
        found, other = verdict(own[:f], complete), verdict(own[:f], mixed)
        assert mixed[other.rival] == complete[found.rival]
        assert other.bound == pytest.approx(found.bound)

    @given(seeds, st.integers(1, 4), st.floats(0, 30))
    def test_who_is_further_behind_is_stopped_sooner(self, seed, f, more):
        own, complete = search(seed)
        found = verdict(own[:f], complete)
        worse = verdict([score - more for score in own[:f]], complete)
        assert worse.p <= found.p
        assert worse.stop >= found.stop
        assert worse.bound == found.bound

    @given(seeds, st.integers(1, 4), st.floats(0.001, 0.2))
    def test_stops_below_the_bound_which_is_where_p_is_the_share_of_alpha(self, seed, f, alpha):
        own, complete = search(seed)
        found = verdict(own[:f], complete, alpha=alpha)
        assert found.stop == (found.difference < found.bound)
        assert found.stop == (found.p < alpha * 6 / (math.pi * f) ** 2)

    def test_by_hand(self):
        """Two trials, three folds: residuals are half the differences' distance from their mean."""
        complete = [[1.0, 3.0, 5.0], [0.0, 3.0, 3.0]]
        found = verdict([-4.0], complete)
        assert found.rival == 0
        assert found.difference == pytest.approx(-4 - (0.5 - 2.5) - 3)
        noise = np.sqrt(2 * (0.0 + 0.25 + 0.25) / 2)
        error = noise * np.sqrt((1 - 1 / 3) * (1 + 1 / 2))
        assert found.p == pytest.approx(stats.t.cdf(-5 / error, 2))

    def test_one_fold_can_be_enough(self):
        own, complete = search(0)
        assert verdict([own[0] - 20], complete).stop

    @pytest.mark.parametrize(
        ("scores", "complete"),
        [
            ([0.1], []),
            ([0.1], [[0.9, 0.8, 0.9]]),
            ([0.1], [[0.9, 0.8, 0.9]] * 3),
            ([], [[0.9, 0.8, 0.9], [0.7, 0.9, 0.8]]),
            ([0.1] * 3, [[0.9, 0.8, 0.9], [0.7, 0.9, 0.8]]),
            ([], [[0.9], [0.7]]),
        ],
        ids=["none", "one", "the same", "no fold", "all folds", "k = 1"],
    )
    def test_never_stops_where_nothing_can_be_said(self, scores, complete):
        assert not verdict(scores, complete).stop

    @given(st.integers(1, 4), st.floats(0, 1), st.floats(0.001, 1))
    def test_never_stops_without_noise(self, f, level, gap):
        """Of models that all predict one class, say."""
        complete = [[level + gap + n + fold / 7 for fold in range(5)] for n in range(4)]
        assert not verdict([level + fold / 7 for fold in range(f)], complete).stop

    @given(seeds)
    def test_a_configuration_tried_again_does_not_make_it_surer(self, seed):
        own, complete = search(seed)
        assert verdict(own[:2], complete + complete[:3]) == verdict(own[:2], complete)


class TestUndefined:
    own, complete = search(1)

    @pytest.mark.parametrize("undefined", [math.nan, -math.inf])
    def test_is_less_than_any_score(self, undefined):
        found = verdict([undefined, 100.0], self.complete)
        assert (found.stop, found.difference, found.p) == (True, -math.inf, 0)
        assert math.isfinite(found.bound)

    @pytest.mark.parametrize("undefined", [math.nan, -math.inf])
    def test_complete_trials_with_such_a_fold_are_no_rivals(self, undefined):
        broken = [undefined, *[99.0] * 4]
        found = verdict(self.own[:2], [broken, *self.complete])
        expected = verdict(self.own[:2], self.complete)
        assert found.rival == expected.rival + 1
        assert (found.difference, found.bound) == (expected.difference, expected.bound)

    def test_a_fold_without_any_score_is_left_out(self):
        gap = [[row[0], math.nan, *row[1:]] for row in self.complete]
        found = verdict([self.own[0], math.nan], gap)
        assert found.difference == verdict(self.own[:1], self.complete).difference
        assert not verdict([math.nan], [[math.nan, *row] for row in self.complete]).stop

    def test_who_alone_has_a_score_is_not_stopped(self):
        gap = [[math.nan, *row] for row in self.complete]
        assert verdict([math.nan, -100.0], gap).stop
        assert not verdict([0.0, -100.0], gap).stop

    def test_nobody_is_left_to_compare_with(self):
        assert not verdict([0.1], [[math.nan, 0.9], [0.9, math.nan]]).stop


class TestSimulation:
    @pytest.mark.parametrize(
        ("means", "noise", "least", "most"),
        [("equal", "same", 0.8, 1), ("head", "worse noisier", 0.6, 0.7), ("3", "t3", 0.45, 0.6)],
    )
    def test_who_would_win_is_seldom_stopped_and_the_hopeless_are(self, means, noise, least, most):
        searches = simulated.draw(200, 20, 5, means, noise)
        folds = simulated.race(searches, 4, simulated.ours_one_by_one)
        lost, _, trained, regret = simulated.figures(searches, folds)
        assert lost <= 0.07  # 5%, and what 200 searches leave to chance
        assert least <= trained <= most
        assert abs(regret) < 0.05
        np.testing.assert_array_equal(folds, simulated.race(searches, 4, simulated.ours))

    @pytest.mark.slow
    @pytest.mark.parametrize(("trials", "k", "under_way"), simulated.SIZES)
    def test_all_scenarios(self, trials, k, under_way):
        for means, noise in product(simulated.MEANS, simulated.NOISES):
            searches = simulated.draw(2000, trials, k, means, noise, seed=1)
            folds = simulated.race(searches, under_way, simulated.ours)
            lost, _, _, regret = simulated.figures(searches, folds)
            bound = 0.08 if noise == "t3" else 0.05
            assert lost <= bound + 2 * math.sqrt(bound * (1 - bound) / 2000), (means, noise)
            assert regret < 0.02, (means, noise)

    @given(st.integers(2, 9), seeds)
    def test_its_wilcoxon_is_scipys(self, count, seed):
        differences = np.random.default_rng(seed).normal(-1, 2, count)
        ranks = stats.rankdata(abs(differences))
        found = simulated.signed_rank_p(int(ranks[differences > 0].sum()), count)
        assert found == pytest.approx(stats.wilcoxon(differences, alternative="less").pvalue)


class TestRung:
    def test_one_in_three_goes_on(self):
        others = [0.1, 0.2, 0.3, 0.4, 0.5]
        assert not rung(0.45, others)
        assert rung(0.35, others)

    def test_never_with_fewer_than_eta_others(self):
        assert not rung(0.0, [1.0, 1.0])
        assert rung(0.0, [1.0, 1.0, 1.0])
        assert not rung(0.0, [1.0, 1.0, 1.0], eta=4)

    @given(st.lists(st.floats(-1, 1), min_size=3, max_size=30, unique=True), st.integers(2, 5))
    def test_of_all_at_one_rung_one_in_eta_goes_on(self, scores, eta):
        assume(len(scores) > eta)
        on = [not rung(s, scores[:n] + scores[n + 1 :], eta) for n, s in enumerate(scores)]
        assert sum(on) == len(scores) // eta
        assert on[int(np.argmax(scores))]

    @given(st.lists(st.floats(-1, 1), min_size=3, max_size=9))
    def test_equals_go_on_together_and_what_is_undefined_is_least(self, others):
        assert not rung(max(others), others)
        assert rung(math.nan, others)
        assert not rung(math.nan, [math.nan, -math.inf, math.nan])

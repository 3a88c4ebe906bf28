import numpy as np
import pytest

from folds.evaluation.intervals import intervals
from folds.evaluation.learning_curve import fit_power_law, learning_curve
from folds.evaluation.metrics import softmax
from folds.evaluation.predictions import Predictions

IMAGES = np.array([100.0, 200.0, 400.0, 800.0])


def told(skills, count=1500, seed=0):
    """Predictions of the same images of four classes, each the better the greater its skill."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    noise = rng.normal(size=(count, 4))
    return [
        Predictions(labels, softmax(noise + skill * np.eye(4)[labels]), np.arange(count))
        for skill in skills
    ]


class TestFit:
    @pytest.mark.parametrize("exponent", [0.2, 0.5, 1.0])
    def test_finds_the_law_that_scores_follow(self, exponent):
        scores = 0.95 - 2 * IMAGES**-exponent
        law = fit_power_law(IMAGES, scores, np.full(4, 0.01), 1.0)
        assert law.at(IMAGES) == pytest.approx(scores, abs=2e-3)
        assert law.at(1600.0) == pytest.approx(0.95 - 2 * 1600**-exponent, abs=4e-3)
        assert law.gain(800.0) == pytest.approx(law.at(1600.0) - law.at(800.0))

    def test_its_limit_is_no_better_than_the_best_score(self):
        law = fit_power_law(IMAGES, np.array([0.5, 0.7, 0.9, 1.0]), np.full(4, 0.01), 1.0)
        assert law.limit <= 1

    def test_a_point_with_a_wide_interval_has_little_weight(self):
        scores = 0.95 - 2 * IMAGES**-0.5
        scores[0] += 0.2
        law = fit_power_law(IMAGES, scores, np.array([10, 0.01, 0.01, 0.01]), 1.0)
        assert law.at(IMAGES[1:]) == pytest.approx(scores[1:], abs=5e-3)


class TestCurve:
    def test_the_last_point_has_the_run_s_own_scores(self):
        points = told([0.5, 1.0, 1.5, 2.0])
        curve = learning_curve(IMAGES, points, "macro_f1")
        assert curve.scores[-1] == intervals(points[-1]).pooled
        assert curve.images.tolist() == IMAGES.tolist()

    @pytest.mark.parametrize("score", ["macro_f1", "log_loss"])
    def test_says_what_twice_the_images_add_where_scores_follow_a_law(self, score):
        skills = 2.6 - 9 * IMAGES**-0.4
        curve = learning_curve(IMAGES, told(skills), score)
        truth = told([2.6 - 9 * 1600**-0.4], count=100_000)
        best = intervals(truth[0], replicates=2).pooled[score].value
        now = curve.scores[-1][score].value
        gain = (now - best) if score == "log_loss" else best - now
        assert curve.gain.low <= curve.gain.value <= curve.gain.high
        assert curve.gain.value == pytest.approx(gain, abs=0.03)
        assert curve.gain.value > 0.01

    @pytest.mark.parametrize(
        "skills", [[1.0, 3.0, 1.0, 3.0], [3.0, 2.5, 2.0, 1.5], [0.2, 0.2, 0.2, 3.0]]
    )
    def test_says_nothing_where_they_follow_none(self, skills):
        curve = learning_curve(IMAGES, told(skills), "accuracy")
        assert curve.law is None
        assert curve.gain is None

    def test_says_nothing_of_three_points(self):
        assert learning_curve(IMAGES[:3], told([0.5, 1.0, 1.5]), "accuracy").law is None

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.search.made_up import race, trial
from tracking.search.importance import expected_means, importance


def made(count, draw, seed=0):
    """Complete trials whose score is drawn with their values."""
    rng = np.random.default_rng(seed)
    trials = []
    for number in range(1, count + 1):
        values, score = draw(rng)
        scores = [score + float(rng.normal(0, 0.01)) for _ in range(3)]
        trials.append(trial(number, values, scores, "complete"))
    return trials


def idle(rng):
    return {"idle": float(rng.random()), "still": ("a", "b", "c")[rng.integers(3)]}


def choice(rng):
    own = ("adamw", "lion", "sgd")[rng.integers(3)]
    return idle(rng) | {"own": own}, {"adamw": 0.9, "lion": 0.8, "sgd": 0.87}[own]


def rate(rng):
    own = float(10 ** rng.uniform(-5, -2))
    return idle(rng) | {"own": own}, 0.9 - 0.1 * (np.log10(own) + 3.5) ** 2


def conditional(rng):
    """Used with one choice alone, and what decides there."""
    values = {"kind": ("plain", "deep")[rng.integers(2)]} | idle(rng)
    if values["kind"] == "plain":
        return values, 0.85
    values["own"] = int(rng.integers(1, 9))
    return values, 0.8 + 0.02 * values["own"]


def listed(rng):
    own = ([], [128], [512, 128], None)[rng.integers(4)]
    return idle(rng) | {"own": own}, 0.9 if own == [128] else 0.8


@pytest.mark.parametrize("draw", [choice, rate, conditional, listed])
@pytest.mark.parametrize("seed", range(3))
def test_a_field_that_decides_gets_most_and_an_idle_one_little(draw, seed):
    shares = importance(made(40, draw, seed))
    assert next(iter(shares)) == "own"
    assert shares["own"] > 0.6
    assert shares["idle"] < 0.1
    assert shares["still"] < 0.1
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_where_nothing_decides_nothing_is_said():
    assert importance(made(40, lambda rng: (idle(rng), 0.9))) == {}


@pytest.mark.parametrize(
    "trials",
    [
        [],
        made(7, choice),
        [trial(number, {"own": number}, [0.9], "complete") for number in range(1, 20)],
        [trial(number, {}, [0.9 + number / 100], "complete") for number in range(1, 20)],
        [trial(number, {"own": number}, [], "failed") for number in range(1, 20)],
    ],
)
def test_of_too_little_nothing_is_said(trials):
    assert importance(trials) == {}


def test_a_trial_that_diverged_does_not_decide():
    trials = made(40, choice)
    spoilt = [trials[0].model_copy(update={"scores": [0.01], "state": "failed"}), *trials[1:]]
    assert importance(spoilt)["own"] > 0.6


def test_it_is_always_the_same():
    assert importance(race(20)) == importance(race(20))


effects = st.lists(st.floats(-1, 1), min_size=1, max_size=5)


@given(effects, effects, st.data())
def test_means_are_exact_where_trials_and_folds_add_up(own, hard, data):
    """The first fold has all trials and one trial all folds, as in any search."""
    done = [len(hard)] + [data.draw(st.integers(1, len(hard))) for _ in own[1:]]
    trials = [
        trial(number, {}, [good + fold for fold in hard[:count]], "stopped")
        for number, (good, count) in enumerate(zip(own, done, strict=True), 1)
    ]
    means = expected_means(trials)
    expected = [good + np.mean(hard) for good in own]
    assert list(means.values()) == pytest.approx(expected, abs=1e-9)


def test_a_trial_with_all_folds_has_its_own_mean():
    trials = race(20)
    means = expected_means(trials)
    done = [one for one in trials if one.state == "complete"]
    assert [means[one.number] for one in done] == pytest.approx([one.mean for one in done])


def test_a_stop_after_an_easy_fold_does_not_flatter():
    whole = trial(1, {}, [0.9, 0.6], "complete")
    stopped = trial(2, {}, [0.8], "stopped")
    assert expected_means([whole, stopped])[2] == pytest.approx(0.65)
    assert expected_means([trial(1, {}, [None], "failed")]) == {}

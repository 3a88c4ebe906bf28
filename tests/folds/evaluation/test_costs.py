import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.config import Config
from folds.config.costs import canonical
from folds.errors import UserError
from folds.evaluation.costs import cost_matrix, least_cost, mean_cost

NAMES = ("a", "b", "c")


def test_what_is_not_said_is_0_or_1(tmp_path):
    (tmp_path / "costs.yaml").write_text("a: {b: 5}\nc: {a: 0.5, c: 0.1}\n")
    config = Config.from_flat({"costs": str(tmp_path / "costs.yaml")})
    again = Config.from_flat(config.flat())
    assert again.evaluation.costs == config.evaluation.costs
    expected = [[0, 5, 1], [1, 0, 1], [0.5, 1, 0.1]]
    np.testing.assert_array_equal(cost_matrix(config.evaluation.costs, NAMES), expected)
    assert cost_matrix("", NAMES) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2]", "must say"),
        ("a: 5", "must say"),
        ("a: {b: x}", "a: b: 'x' must be a number"),
        ("a: {b: -1}", "-1 must be a number"),
        ("a: {b: .inf}", "inf must be a number"),
        ("a: {b: true}", "True must be a number"),
        ("a: [", "is not YAML"),
    ],
)
def test_what_is_no_cost_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "costs.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        Config.from_flat({"costs": str(tmp_path / "costs.yaml")})
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_or_a_class_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"--costs 'nowhere.yaml': cannot be read"):
        Config.from_flat({"costs": "nowhere.yaml"})
    with pytest.raises(UserError, match=r"no class 'basophill'; nearest: basophil"):
        cost_matrix(canonical({"basophill": {"a": 1}}), ("basophil", "a"))


@given(st.integers(0, 10**6))
def test_no_answer_has_a_lower_expected_cost(seed):
    rng = np.random.default_rng(seed)
    costs, row = rng.uniform(0, 10, (3, 3)), rng.dirichlet(np.ones(3))
    expected = {other: sum(row[t] * costs[t, other] for t in range(3)) for other in range(3)}
    (answer,) = least_cost(row[None], costs)
    assert expected[int(answer)] == pytest.approx(min(expected.values()))
    assert least_cost(row[None], 1 - np.eye(3))[0] == row.argmax() == least_cost(row[None], None)[0]


def test_the_mean_is_over_images():
    costs = np.arange(9.0).reshape(3, 3)
    pairs = np.array(list(itertools.product(range(3), range(3))))
    assert mean_cost(pairs[:, 0], pairs[:, 1], costs) == pytest.approx(4)

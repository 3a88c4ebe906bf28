import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.evaluation.spending import spent

alphas = st.floats(1e-6, 0.499)


@given(alpha=alphas, attempts=st.integers(1, 5000))
def test_what_all_attempts_spend_never_exceeds_alpha(alpha, attempts):
    assert sum(spent(alpha, n, "quadratic") for n in range(1, attempts + 1)) <= alpha


@given(alpha=alphas, attempt=st.integers(1, 10**6))
def test_later_attempts_have_less_but_never_nothing(alpha, attempt):
    assert 0 < spent(alpha, attempt + 1, "quadratic") < spent(alpha, attempt, "quadratic") < alpha


def test_nearly_all_of_alpha_is_there_to_be_spent():
    assert sum(spent(0.05, n, "quadratic") for n in range(1, 1000)) == pytest.approx(0.05, rel=1e-3)


@given(alpha=alphas, attempt=st.integers(1, 10**6))
def test_with_none_each_has_all_of_it(alpha, attempt):
    assert spent(alpha, attempt, "none") == alpha

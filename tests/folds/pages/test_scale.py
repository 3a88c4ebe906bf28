from hypothesis import given
from hypothesis import strategies as st

from folds.pages.scale import Scale, scale


@given(st.lists(st.floats(0, 1), min_size=1), st.sampled_from([0.02, 0.05, 0.1]))
def test_a_scale_holds_its_values_in_order(values, step):
    axis = scale(values, step)
    assert 0 <= axis.low < axis.high <= 1 + step
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert 0 <= min(places) <= max(places) <= 100
    assert axis.low <= min(values) + 1e-6
    assert max(values) <= axis.high + 1e-6


def test_a_scale_of_nothing():
    assert scale([None, None]) == Scale(0.0, 0.05)
    assert Scale(0, 1).at(None) == 0

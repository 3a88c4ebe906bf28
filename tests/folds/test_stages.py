import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.stages import Stage, moment, total_epochs, without_pretraining

STAGES = st.lists(
    st.builds(Stage, st.floats(0, 1), st.integers(1, 30), st.floats(1e-12, 1e3)),
    min_size=1,
    max_size=5,
)
LAW = settings(max_examples=60, deadline=None)


@LAW
@given(STAGES)
def test_text_and_back(stages):
    assert [Stage.parse(str(stage)) for stage in stages] == stages


@pytest.mark.parametrize("text", ["0:3:0.001", "0.5:3:0.0003", "1:6:0.0001", "1:1:1e-05"])
def test_short_numbers_stay_short(text):
    assert str(Stage.parse(text)) == text


def test_a_stage_is_left_as_it_is():
    stage = Stage(0.5, 3, 1e-3)
    assert Stage.parse(stage) is stage


@pytest.mark.parametrize("text", ["", "1", "1:2", "1:2:3:4", "a:2:1e-3", "1:2.5:1e-3", "1:2:x", 5])
def test_other_forms_are_refused_with_the_right_one(text):
    with pytest.raises(ValueError, match=r"SHARE:EPOCHS:LEARNING_RATE, such as 0\.5:3:3e-4"):
        Stage.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.1:2:1e-3", "share 1.1 is not between"),
        ("-0.1:2:1e-3", "share -0.1 is not between"),
        ("nan:2:1e-3", "share nan is not between"),
        ("1:0:1e-3", "0 epochs; a stage has at least 1"),
        ("1:1:0", "learning rate 0 is not above 0"),
        ("1:1:-1", "learning rate -1 is not above 0"),
        ("1:1:inf", "learning rate inf"),
        ("1:1:nan", "learning rate nan"),
    ],
)
def test_values_out_of_range_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Stage.parse(text)


@LAW
@given(STAGES)
def test_moments_are_all_stages_in_order(stages):
    found = [moment(stages, epoch) for epoch in range(total_epochs(stages))]
    expected = [(i, s, e) for i, s in enumerate(stages) for e in range(s.epochs)]
    assert [(now.index, now.stage, now.epoch) for now in found] == expected


@LAW
@given(STAGES)
def test_there_is_no_moment_after_the_last(stages):
    with pytest.raises(IndexError):
        moment(stages, total_epochs(stages))


@LAW
@given(STAGES)
def test_without_pretraining_is_one_unfrozen_stage_of_equal_length(stages):
    (stage,) = without_pretraining(stages)
    assert stage.share == 1
    assert stage.epochs == total_epochs(stages)
    assert stage.learning_rate == max(one.learning_rate for one in stages)
    assert without_pretraining((stage,)) == (stage,)

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config.stages import Stage, stage_position, total_epochs, without_pretraining

STAGES = st.lists(
    st.builds(
        Stage,
        st.floats(0, 1),
        st.integers(1, 30),
        st.floats(1e-12, 1e3),
        norm=st.sampled_from(["", "frozen", "train"]),
    )
    | st.builds(Stage, st.just(1.0), st.integers(1, 30), st.floats(1e-12, 1e3), st.integers(1, 99)),
    min_size=1,
    max_size=5,
)
LAW = settings(max_examples=60)


@LAW
@given(STAGES)
def test_text_and_back(stages):
    assert [Stage.parse(str(stage)) for stage in stages] == stages


@pytest.mark.parametrize(
    "text", ["0:3:0.001", "0.5:3:0.0003", "1:6:0.0001", "1:1:1e-05", "3blocks:1:0.1:bn=train"]
)
def test_short_numbers_stay_short(text):
    assert str(Stage.parse(text)) == text


def test_a_stage_is_left_as_it_is():
    stage = Stage(0.5, 3, 1e-3)
    assert Stage.parse(stage) is stage


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "1:2", "1:2:3:4", "a:2:1e-3", "1:2.5:1e-3", "1:2:x", 5, "blocks:1:1e-3",
        "1.5blocks:1:1e-3", "3blockss:1:1", "bn=train", "1:1:bn=train", "1:bn=train:1:1",
        "1:1:1:bn=",
    ],
)  # fmt: skip
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
        ("0blocks:1:1", "0blocks; at least 1, or the share 0 for none"),
        ("-2blocks:1:1", "-2blocks; at least 1"),
        ("1:1:1:bn=eval", "bn=eval; use bn=frozen"),
    ],
)
def test_values_out_of_range_are_refused(text, reason):
    with pytest.raises(ValueError, match=reason):
        Stage.parse(text)


def test_one_block_is_a_block():
    assert Stage.parse("1block:2:0.1") == Stage.parse("1blocks:2:0.1")


@LAW
@given(st.integers(1, 60), st.integers(1, 60))
def test_blocks_are_a_share_of_a_backbone(blocks, groups):
    stage = Stage.parse(f"{blocks}blocks:2:0.1:bn=frozen")
    if blocks > groups:
        with pytest.raises(ValueError, match=f"has {groups} blocks; name at most these"):
            stage.of(groups)
        return
    found = stage.of(groups)
    assert found.unfrozen(groups) == stage.unfrozen(groups) == blocks
    assert Stage(found.share, 2, 0.1).unfrozen(groups) == blocks
    assert str(found) == str(stage)


@LAW
@given(st.floats(0, 1), st.integers(1, 60))
def test_a_share_is_rounded_up_and_stays_itself(share, groups):
    stage = Stage(share, 1, 0.1)
    assert stage.of(groups) is stage
    assert share * groups - 1e-6 <= stage.unfrozen(groups) < share * groups + 1
    assert stage.unfrozen(groups) <= groups


@LAW
@given(STAGES)
def test_moments_are_all_stages_in_order(stages):
    found = [stage_position(stages, epoch) for epoch in range(total_epochs(stages))]
    expected = [(i, s, e) for i, s in enumerate(stages) for e in range(s.epochs)]
    assert [(now.index, now.stage, now.epoch) for now in found] == expected


@LAW
@given(STAGES)
def test_there_is_no_moment_after_the_last(stages):
    with pytest.raises(IndexError):
        stage_position(stages, total_epochs(stages))


@LAW
@given(STAGES)
def test_without_pretraining_is_one_unfrozen_stage_of_equal_length(stages):
    (stage,) = without_pretraining(stages)
    assert stage.share == 1
    assert stage.epochs == total_epochs(stages)
    assert stage.learning_rate == max(one.learning_rate for one in stages)
    assert without_pretraining((stage,)) == (stage,)

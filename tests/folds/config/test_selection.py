import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from folds.config import Config
from folds.config.corruptions import CORRUPTIONS
from folds.config.scores import LOSSES, SCORES
from folds.config.selection import SelectBy
from folds.errors import UserError


@given(
    st.dictionaries(
        st.sampled_from([*SCORES, "shift.macro_f1", "shift.jpeg", "external.lab2.ece"]),
        st.floats(0.01, 10),
        min_size=1,
    )
)
def test_a_written_sum_is_read_back(weights):
    text = " + ".join(f"{weight!r} * {name}" for name, weight in weights.items())
    found = SelectBy.parse(text)
    assert {name: weight for weight, name in found.terms} == weights


@pytest.mark.parametrize("name", SCORES)
def test_what_is_better_has_the_larger_value(name):
    select = SelectBy.parse(name)
    less, more = select.value({name: 0.2}), select.value({name: 0.3})
    assert (less > more) == (name in LOSSES)


def test_a_sum_weighs_its_terms():
    select = SelectBy.parse("0.5*macro_f1+2*log_loss+external.lab2.brier")
    scores = {"macro_f1": 0.8, "log_loss": 0.1, "external.lab2.brier": 0.3}
    assert select.value(scores) == pytest.approx(0.4 - 0.2 - 0.3)
    assert select.externals == {"lab2"}


def test_weights_may_have_exponents():
    assert SelectBy.parse("1e+1*accuracy+1e-1*ece").terms == ((10, "accuracy"), (0.1, "ece"))


def test_only_what_is_asked_for_is_measured():
    assert SelectBy.parse("macro_f1").corruptions == ()
    assert SelectBy.parse("shift.jpeg+shift.hue").corruptions == ("hue", "jpeg")
    assert SelectBy.parse("shift.jpeg+shift.worst").corruptions == CORRUPTIONS


@pytest.mark.parametrize(
    "text",
    ["", "f1", "macro_f1-ece", "shift.", "shift.fog", "external.lab2", "external.lab2.f1",
     "-1*accuracy", "inf*accuracy", "macro_f1**2", "2macro_f1", "1-2*ece"],
)  # fmt: skip
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match=r"no score|no sum|above 0|no number"):
        SelectBy.parse(text)


def test_what_is_not_measured_cannot_choose():
    with pytest.raises(UserError, match=r"asks for shift; leave out --shift off"):
        Config.from_flat({"select_by": "shift.worst", "shift": "off"})
    with pytest.raises(UserError, match=r"^--external .*: two of them have one name"):
        Config.from_flat({"external": ["a=x", "a=y"]})
    with pytest.raises(UserError, match=r"there is no --external lab2=SOURCE"):
        Config.from_flat({"select_by": "external.lab2.macro_f1", "external": ["lab3=x"]})


def test_what_is_not_defined_is_worth_least():
    assert SelectBy.parse("roc_auc").value({"roc_auc": float("nan")}) == -math.inf


def test_elsewhere_is_the_part_of_external_images():
    select = SelectBy.parse("0.5*macro_f1+2*external.lab2.accuracy+shift.hue")
    assert select.elsewhere.terms == ((2, "external.lab2.accuracy"),)

import pytest

from tests.tracking.search.made_up import near, search, trial
from tracking.formatting import markdown_text
from tracking.search.fields import ABSENT, fields, text, values_text, varying
from tracking.search.measure import Measure
from tracking.summary_parts import Estimate


class TestMeasure:
    def test_a_share_is_in_per_cent(self):
        measure = Measure("macro_f1")
        assert (measure.title, measure.turn, measure.unit) == ("macro-F1", 1, "points")
        assert measure.value(0.9512) == "95.1%"
        assert measure.interval(near(0.9, 0.01)) == "89.0 to 90.9"
        assert measure.difference(-0.0123) == "\N{MINUS SIGN}1.2"
        assert measure.difference(0.0123) == "+1.2"
        less = Estimate(value=-0.01, low=-0.02, high=0.003)
        assert measure.difference_interval(less) == "\N{MINUS SIGN}2.0 to 0.3"

    def test_a_loss_is_turned_round(self):
        measure = Measure("external.lab2.log_loss")
        assert (measure.turn, measure.is_share) == (-1, False)
        assert measure.value(-0.25) == "0.250"
        own = Estimate(value=-0.25, low=-0.3, high=-0.2)
        assert measure.turned(own) == Estimate(value=0.25, low=0.2, high=0.3)
        assert measure.interval(own) == "0.200 to 0.300"
        assert measure.difference(-0.05) == "+0.050"

    @pytest.mark.parametrize(
        ("search_by", "share"),
        [
            ("accuracy", True), ("shift.worst", True), ("shift.gaussian_noise", True),
            ("0.5*macro_f1+0.5*shift.macro_f1", True), ("macro_f1+accuracy", False),
            ("roc_auc", False), ("2*macro_f1", False), ("0.5*macro_f1+0.5*log_loss", False),
        ],
    )  # fmt: skip
    def test_what_lies_between_0_and_1(self, search_by, share):
        assert Measure(search_by).is_share is share

    def test_a_sum_with_a_loss_stays_as_it_is(self):
        assert Measure("macro_f1+0.1*log_loss").turn == 1
        assert Measure("0.5*log_loss").turn == 1

    def test_what_is_not_known_is_a_dash(self):
        unknown = Estimate(value=None, low=None, high=None)
        measure = Measure("log_loss")
        assert measure.value(None) == measure.difference(None) == "\N{EN DASH}"
        assert measure.interval(unknown) == measure.difference_interval(unknown) == ""


class TestFields:
    def test_ranges_and_levels_are_those_of_the_space(self):
        own = {field.name: field for field in fields(search(importance={}))}
        assert list(own) == [
            "optimizer", "ema", "layer_decay", "weight_decay", "label_smoothing", "head_layers",
            "rate", "epochs",
        ]  # fmt: skip
        assert own["optimizer"].levels == ("adamw", "lion", "sgd")
        assert own["head_layers"].levels == ("none", "128", "512,128")
        assert (own["rate"].low, own["rate"].high, own["rate"].log) == (1e-5, 5e-4, True)
        assert (own["layer_decay"].low, own["layer_decay"].log) == (0.6, False)
        assert own["epochs"].whole

    def test_the_most_important_come_first(self):
        assert fields(search(importance={"rate": 0.8, "ema": 0.2}))[0].name == "rate"

    def test_one_that_does_not_apply_is_a_dash_and_varies(self):
        trials = [
            trial(1, {"a": 1, "b": 2}, [0.9], "complete"),
            trial(2, {"a": 1}, [0.9], "failed"),
        ]
        own = fields(search(trials, space={}))
        assert [own[1].of(one) for one in trials] == ["2", ABSENT]
        assert varying(own, trials) == [own[1]]

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (0.000123456, "0.000123"), (1e-5, "1e-05"), (3, "3"), (True, "true"), (None, "null"),
            ([], "none"), ([512, 128], "512,128"), ([{"op": "cutmix"}], '[{"op": "cutmix"}]'),
            ("x" * 50, "x" * 39 + "…"),
        ],
    )  # fmt: skip
    def test_values_in_few_letters(self, value, words):
        assert text(value) == words

    def test_all_values_in_one_line(self):
        assert values_text({"a": 1.0, "b": []}) == "a 1, b none"


def test_markdown_of_others_is_text():
    assert markdown_text("<b>|_\n*") == "&lt;b&gt;\\|\\_ \\*"

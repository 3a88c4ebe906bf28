"""Search spaces: what may be said, what a draw stands for, and what is refused in one line."""

from importlib.resources import files

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from folds.config import Config
from folds.config.space_parser import parse_space
from folds.errors import UserError

BASE = Config()


def space(text):
    return parse_space(yaml.safe_load(text), BASE)


class TestSettings:
    def test_a_name_in_braces_gives_way_to_its_value(self):
        one = space('rate: {loguniform: [1e-4, 1e-2]}\nstages: ["0:3:{rate}", "1:2:1e-4"]')
        assert one.settings({"rate": 0.00125}) == {"stages": ["0:3:0.00125", "1:2:1e-4"]}

    def test_alone_in_a_text_it_keeps_its_type(self):
        one = space('blur: {uniform: [0, 0.02]}\naugment: [{op: blur, max: "{blur}"}]')
        assert one.settings({"blur": 0.01})["augment"] == [{"op": "blur", "max": 0.01}]

    def test_exponents_without_a_dot_are_numbers(self):
        (one,) = space("weight_decay: {loguniform: [1e-5, 1e-1]}").parameters
        assert (one.low, one.high) == (1e-5, 1e-1)

    def test_flag_spelling_is_taken(self):
        assert space("head-dropout: {uniform: [0, 0.5]}").parameters[0].name == "head_dropout"

    @given(st.floats(1e-6, 1e-1))
    def test_a_rate_within_a_text_reads_back_nearly_the_same(self, rate):
        one = space('rate: {loguniform: [1e-7, 1]}\nstages: ["0:1:{rate}"]')
        config = Config.from_flat(BASE.flat() | one.settings({"rate": rate}))
        assert config.train.stages[0].learning_rate == pytest.approx(rate, rel=1e-5)


class TestSeveralSettingsAtOnce:
    TEXT = """
network: {choice: [{backbone: test_vit, image_size: 160}, {backbone: test_resnet}]}
ema: {choice: [0, 0.9]}
"""

    def test_a_mapping_stands_for_its_settings(self):
        one = space(self.TEXT)
        values = {"network": {"backbone": "test_vit", "image_size": 160}, "ema": 0.9}
        assert one.settings(values) == {"backbone": "test_vit", "image_size": 160, "ema": 0.9}

    def test_the_parameter_makes_the_settings_that_are_in_it(self):
        assert space(self.TEXT).makers({"backbone", "weights"}) == {"network"}
        assert len(space(self.TEXT).grid(only={"network"})) == 2

    def test_a_condition_may_name_one_of_the_mappings(self):
        text = self.TEXT + "clip_grad: {choice: [0, 1], when: {network: {backbone: test_resnet}}}"
        assert len(space(text).grid()) == 2 * (1 + 2)


class TestConditions:
    TEXT = """
ema: {choice: [0, 0.9], when: {optimizer: adamw, loss: [ce, focal]}}
optimizer: {choice: [adamw, sgd]}
loss: {choice: [ce, focal]}
"""

    def test_what_others_depend_on_comes_first(self):
        names = [parameter.name for parameter in space(self.TEXT).parameters]
        assert names.index("ema") == 2

    def test_the_grid_has_a_conditional_value_only_where_it_is_used(self):
        every = space(self.TEXT).grid()
        assert len(every) == 2 * 2 + 2  # adamw with either loss and average, sgd without
        assert all(("ema" in values) == (values["optimizer"] == "adamw") for values in every)
        assert len({str(values) for values in every}) == len(every)

    def test_makers_are_what_a_setting_depends_on(self):
        text = 'backbone: {choice: [test_vit, test_resnet]}\nweights: "{backbone}.pt"\n' + self.TEXT
        assert space(text).makers({"weights"}) == {"backbone"}
        assert space(text).makers({"ema"}) == {"ema", "optimizer", "loss"}


def test_a_grid_of_a_range_is_refused():
    with pytest.raises(UserError, match=r"head_dropout \{uniform.*choice or int"):
        space("head_dropout: {uniform: [0, 0.5]}").grid()


@pytest.mark.parametrize("name", ["head", "full", "augment"])
def test_the_spaces_that_come_along_are_right(name):
    text = (files("recipes") / "spaces" / f"{name}.yaml").read_text("utf-8")
    assert len(space(text).parameters) >= 8


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1]", "must be a mapping"),
        ("network: {choice: [{backbon: test_vit}]}", "backbon: no such setting.*nearest: backbone"),
        ("network: {choice: [{folds: 3}]}", "folds: all trials must have it in common"),
        ("folds: {choice: [3, 5]}", "folds: all trials must have it in common.*--folds"),
        ("shift: {choice: [fast, full]}", "shift: all trials must have it in common"),
        ("head_dropot: {uniform: [0, 0.5]}", "head_dropot: no such setting.*nearest: head_dropout"),
        ("head_dropout: {unifrom: [0, 0.5]}", "must have one of choice.*nearest: uniform"),
        ("head_dropout: {uniform: [0, 1.6]}", "--head-dropout 1.6: must be less than 1"),
        ("head_dropout: {uniform: [0.5, 0.1]}", "the first must be below the second"),
        ("head_dropout: {uniform: 0.5}", "must be a list of values"),
        ("head_dropout: {uniform: [0, much]}", "must be two numbers"),
        ("clip_grad: {loguniform: [0, 1]}", "must be above 0; use uniform"),
        ("batch_size: {int: [8, 64.5]}", "must be whole numbers"),
        ("pool: {choice: [avg, avg]}", "names a value twice"),
        ("pool: {choice: [{1: 2, a: 3}]}", "--space: 1: no such setting"),
        ("pool: {choice: [avg, maxx]}", "--pool 'maxx'"),
        ("augment: {choice: [lite]}", "no policy or operation 'lite'; nearest: light"),
        ("ema: {choice: [0], when: {optimizr: sgd}}\noptimizer: {choice: [sgd]}",
         "optimizr: is no parameter of the space; nearest: optimizer"),
        ("ema: {choice: [0], when: {optimizer: sdg}}\noptimizer: {choice: [sgd, lion]}",
         "sdg: is no value of it; nearest: sgd"),
        ("ema: {choice: [0], when: sgd}", "must be a mapping"),
        ("ema: {choice: [0], when: {ema: 0}}", "depend on each other"),
        ("stages: ['0:{epochs}:1e-3']", r"\{epochs\}: no parameter has this name"),
        ("epoch: {int: [1, 2]}\nepochs: {int: [1, 2]}\nstages: ['0:{epochs}:1e-3']",
         "epoch: no such setting, and no setting holds"),
        ("e: {int: [1, 2], when: {loss: ce}}\nloss: {choice: [ce, focal]}\nstages: ['0:{e}:1e-3']",
         "has no value in trials without its `when`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_in_one_line(text, says):
    with pytest.raises(UserError, match=says) as caught:
        space(text)
    assert "\n" not in str(caught.value)

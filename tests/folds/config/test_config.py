import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.config import Config, groups, read_yaml
from folds.config.head import HeadShape
from folds.config.stages import Stage
from folds.errors import UserError


def flat(**changes):
    return Config.from_flat(changes)


class TestFromFlat:
    def test_nothing_given_is_the_default(self):
        assert flat() == Config()

    def test_a_setting_lands_in_its_group(self):
        assert flat(batch_size=7, folds=3, augment="rand").train.batch_size == 7

    def test_unknown_name_names_the_nearest(self):
        with pytest.raises(UserError, match=r"unknown setting 'batchsize'; nearest: batch_size"):
            flat(batchsize=3)

    def test_unlike_anything_names_nothing(self):
        with pytest.raises(UserError, match=r"^unknown setting 'qqqqqqq'$"):
            flat(qqqqqqq=3)

    @pytest.mark.parametrize(
        ("name", "value", "remedy"),
        [
            ("folds", 1, "greater than or equal to 2"),
            ("batch_size", 0, "greater than or equal to 2"),
            ("dropout", 1.0, "less than 1"),
            ("dropout", -0.1, "greater than or equal to 0"),
            ("drop_path", 1.0, "less than 1"),
            ("tune", "adapter", "use full, or adapters such as lora:r=8"),
            ("tune", "lora:r=8,rank=2", "use full, or adapters such as lora:r=8"),
            ("tune", "lora:r=a", "r and alpha are numbers, as in lora:r=8,alpha=16"),
            ("tune", "lora:r=0", "r is a number from 1 to 1024, and alpha above 0"),
            ("tune", "lora:alpha=nan", "r is a number from 1 to 1024, and alpha above 0"),
            ("label_smoothing", 1, "less than 1"),
            ("image_size", 4, "greater than or equal to 8"),
            ("image_size", "big", "valid integer"),
            ("workers_per_fold", 0, "greater than or equal to 1"),
            ("select_by", "f1", "no score 'f1'"),
            ("select_by", "macro_f1+", "no sum of scores"),
            ("select_by", "0*macro_f1", "weight 0 of macro_f1 must be above 0"),
            ("select_by", "shift.blur", "no score 'shift.blur'"),
            ("shift", "slow", "'off', 'fast' or 'full'"),
            ("external", ["lab2"], "must be NAME=SOURCE"),
            ("balance", "smote", "'undersample' or 'hybrid'"),
            ("class_weights", "a=0", "the weight of a, 0, must be above 0"),
            ("precision", "int8", "'auto', 'fp32', 'bf16' or 'fp16'"),
            ("loss", "mse", "'ce' or 'focal'"),
            ("focal_gamma", -1, "greater than or equal to 0"),
            ("triplet", -0.5, "greater than or equal to 0"),
            ("schedule", "step", "'plateau' or 'onecycle'"),
            ("restart_epochs", 0, "greater than or equal to 1"),
            ("plateau_patience", 0, "greater than or equal to 1"),
            ("plateau_factor", 1.0, "less than 1"),
            ("clip_grad", -1.0, "greater than or equal to 0"),
            ("accumulate", 0, "greater than or equal to 1"),
            ("ema", 1.0, "less than 1"),
            ("seed", -1, "greater than or equal to 0"),
            ("seed", 2**32, "less than"),
            ("limit", 0, "greater than or equal to 1"),
            ("folds", 2.5, "integer"),
            ("augment", "rotat", "no policy or operation 'rotat'; nearest: rotate"),
            ("augment", "", "must be a policy"),
            ("model_name", "a/b", "a name without / :"),
            ("max_failures", "many", "valid integer"),
            ("stages", [], "at least 1 item"),
            ("stages", ["0.5:3"], "SHARE:EPOCHS:LEARNING_RATE"),
            ("stages", ["2:3:1e-3"], "between 0 and 1"),
            ("stages", ["1:3:1e-3:bn=on"], "bn=on; use bn=frozen, bn=train, or leave it out"),
            ("layer_decay", 0, "greater than 0"),
            ("layer_decay", 1.1, "less than or equal to 1"),
            ("warmup", -1, "greater than or equal to 0"),
            ("pool", "mean", "'avgmax' or 'attention'"),
            ("head_layers", "a", "valid integer"),
            ("head_layers", "0", "greater than or equal to 1"),
            ("head_activation", "tanh", "'gelu' or 'silu'"),
            ("head_norm", "group", "'batch' or 'layer'"),
            ("head_dropout", 1, "less than 1"),
            ("head_l2", -1, "greater than or equal to 0"),
            ("tta", "d8", "use none, flips, d4, or a number of views from 2 to 64"),
            ("tta", 1, "a number of views from 2 to 64"),
            ("holdout", 0.6, "less than or equal to 0.5"),
            ("holdout", -0.1, "greater than or equal to 0"),
            ("group_regex", "(", "no regular expression"),
            ("group_regex", "abc", "put them around the part that is the name"),
        ],
    )
    def test_bad_value_gives_one_line_with_flag_value_remedy(self, name, value, remedy):
        with pytest.raises(UserError) as caught:
            flat(**{name: value})
        message = str(caught.value)
        shown = value[0] if isinstance(value, list) and value else value
        assert "\n" not in message
        assert message.startswith(f"--{name.replace('_', '-')} {shown!r}: ")
        assert remedy in message

    @pytest.mark.parametrize("name", ["dropout", "weight_decay", "label_smoothing"])
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_numbers_that_are_not_finite_are_refused(self, name, value):
        with pytest.raises(UserError, match=f"--{name.replace('_', '-')}"):
            flat(**{name: value})

    def test_first_of_several_errors_is_told(self):
        with pytest.raises(UserError) as caught:
            flat(folds=0, batch_size=0)
        assert "folds" in str(caught.value)
        assert "batch" not in str(caught.value)

    @settings(max_examples=40)
    @given(
        folds=st.integers(2, 50),
        seed=st.integers(0, 2**32 - 1),
        dropout=st.floats(0, 0.99),
        image_size=st.one_of(st.just("auto"), st.integers(8, 4096)),
        limit=st.one_of(st.none(), st.integers(1, 10**6)),
        rates=st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=3),
        skip=st.booleans(),
        weights=st.dictionaries(st.text(), st.floats(1e-9, 1e9), max_size=3),
    )
    def test_round_trip_through_flat(
        self, folds, seed, dropout, image_size, limit, rates, skip, weights
    ):
        config = flat(
            folds=folds,
            seed=seed,
            dropout=dropout,
            image_size=image_size,
            limit=limit,
            skip_broken=skip,
            class_weights=weights,
            stages=[Stage(0.5, 2, rate) for rate in rates],
        )
        again = Config.from_flat(json.loads(json.dumps(config.flat())))
        assert again == config
        assert again.digest == config.digest

    def test_the_head_is_read_from_texts_and_numbers(self):
        settings = {"pool": "max", "head_norm": "batch", "head_dropout": 0.5}
        for layers in ("512,128", ["512", 128], ("512,128",)):
            config = flat(head_layers=layers, head_activation="silu", **settings)
            assert config.model.head == HeadShape("max", (512, 128), "silu", "batch", 0.5)
            assert Config.from_flat(json.loads(json.dumps(config.flat()))) == config

    def test_flat_has_every_setting_once(self):
        names = [name for model in groups().values() for name in model.model_fields]
        assert len(names) == len(set(names)), "two groups share a flag"
        assert set(Config().flat()) == set(names)

    def test_is_frozen(self):
        with pytest.raises(ValueError, match="frozen"):
            Config().train.batch_size = 5


def test_a_student_and_a_refit_are_asked_for_by_their_own_names():
    with pytest.raises(UserError, match="--candidate student: there is none without --distill"):
        flat(candidate="student")
    with pytest.raises(UserError, match=r"--candidate refit: with --distill 0\.5 the model of all"):
        flat(candidate="refit", distill=0.5)
    assert flat(candidate="student", distill=0.5).tracking.distill == 0.5


def test_shares_of_a_learning_curve_are_between_0_and_1_and_there_once():
    assert flat(learning_curve=[0.1, 0.5, 0.1]).tracking.learning_curve == (0.5, 0.1)
    for share in (0, 1, 1.5, -0.1):
        with pytest.raises(UserError, match=r"--learning-curve .*: must be (greater|less) than"):
            flat(learning_curve=[share])


class TestDigest:
    CHANGED = {  # noqa: RUF012
        "data": "x.npz", "limit": 9, "skip_broken": True, "image_size": 32, "folds": 3,
        "repeats": 2, "seed": 1, "splits": "s.json", "only_folds": [1],
        "split_by": "site", "holdout": 0.1, "audit": "drop", "relabel": "r.csv",
        "group_regex": "(a)", "site_regex": "(a)", "slices": "sex",
        "backbone": "resnet18", "weights": "none", "dropout": 0.2, "batch_size": 16,
        "stages": ["1:1:1e-3"], "weight_decay": 0.0, "label_smoothing": 0.0,
        "balance": "hybrid", "class_weights": "a=2",
        "shift": "full", "external": ["lab2=x"], "levels": 4095, "choose_epoch": "best",
        "select_by": "log_loss", "patience": 3, "frozen_norm": "train",
        "pool": "max", "head_layers": "512,128", "head_activation": "gelu", "head_norm": "layer",
        "head_dropout": 0.3, "head_l2": 0.01, "tta": "d4", "adapt": "auto",
        "layer_decay": 0.8, "warmup": 1, "drop_path": 0.1, "tune": "lora:r=4",
        "loss": "focal", "focal_gamma": 1.0, "triplet": 0.1, "consistency": 1.0,
        "optimizer": "lion", "common_head": True,
        "schedule": "plateau", "restart_epochs": 2, "plateau_patience": 3, "plateau_factor": 0.5,
        "clip_grad": 1.0, "accumulate": 2, "ema": 0.9, "wise_ft": 0.5, "sam": 0.05,
        "precision": "fp32", "val_augment": "light", "augment": [{"op": "rotate", "max": 1e-5}],
        "coverage": 0.8, "costs": {"a": {"b": 2}},
    }  # fmt: skip
    SAME = {  # noqa: RUF012
        "address": "auto", "device": "cpu", "workers_per_fold": 3, "concurrent_folds": 2,
        "sync_bn": True, "compile": "off", "cache_budget": 1.0, "lanes_per_gpu": 2, "stream": "on",
        "stream_dir": "d", "checkpoint_every": 5, "max_failures": 0, "experiment": "e",
        "tracking_uri": "u", "model_name": "m", "output": "o", "candidate": "soup", "refit": True,
        "distill": 0.5, "learning_curve": [0.5],
        "allow_partial": True,
    }  # fmt: skip

    def test_these_lists_name_every_setting(self):
        assert set(self.CHANGED) | set(self.SAME) == set(Config().flat())

    @pytest.mark.parametrize("name", CHANGED)
    def test_changes_with_what_results_depend_on(self, name):
        assert flat(**{name: self.CHANGED[name]}).digest != Config().digest

    @pytest.mark.parametrize("name", SAME)
    def test_ignores_where_it_runs_and_what_is_remembered(self, name):
        config = flat(**{name: self.SAME[name]})
        assert config != Config()
        assert config.digest == Config().digest

    def test_stages_that_differ_a_little_differ(self):
        one, two = (flat(stages=[f"1:1:{rate}"]) for rate in ("1.0000001e-3", "1.0000002e-3"))
        assert one.digest != two.digest

    def test_is_sixteen_hexadecimal_digits(self):
        assert len(Config().digest) == 16
        int(Config().digest, 16)


class TestReadYaml:
    def write(self, tmp_path, text):
        path = tmp_path / "recipe.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    def test_flat_and_with_sections_are_the_same(self, tmp_path):
        one = read_yaml(self.write(tmp_path, "folds: 3\nbatch-size: 8\n"))
        two = read_yaml(self.write(tmp_path, "split:\n  folds: 3\ntrain:\n  batch_size: 8\n"))
        assert one == two == {"folds": 3, "batch_size": 8}

    def test_data_is_a_section_and_a_setting(self, tmp_path):
        assert read_yaml(self.write(tmp_path, "data: digits\n")) == {"data": "digits"}
        section = "data:\n  data: digits\n  limit: 9\n"
        assert read_yaml(self.write(tmp_path, section)) == {"data": "digits", "limit": 9}

    def test_empty_file_sets_nothing(self, tmp_path):
        assert read_yaml(self.write(tmp_path, "# nothing\n")) == {}

    def test_section_with_everything_commented_out_sets_nothing(self, tmp_path):
        text = "train:\n  # batch_size: 8\nfolds: 3\n"
        assert read_yaml(self.write(tmp_path, text)) == {"folds": 3}

    def test_exponent_without_point_is_a_number(self, tmp_path):
        values = read_yaml(self.write(tmp_path, "weight_decay: 1e-3\nstages: ['1:2:1e-3']\n"))
        config = Config.from_flat(values)
        assert config.train.weight_decay == 1e-3
        assert config.train.stages == (Stage(1.0, 2, 1e-3),)

    @pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "5\n"])
    def test_not_a_mapping_is_refused(self, tmp_path, text):
        with pytest.raises(UserError, match="must be a mapping of settings, such as 'folds: 5'"):
            read_yaml(self.write(tmp_path, text))

    @pytest.mark.parametrize("text", ["a: [1\n", "\tfolds: 3\n", b"\xff\xfe\xfa\x00"])
    def test_not_yaml_is_refused_in_one_line(self, tmp_path, text):
        with pytest.raises(UserError, match="not YAML") as caught:
            read_yaml(self.write(tmp_path, text))
        assert "\n" not in str(caught.value)

    def test_class_weights_are_a_mapping(self, tmp_path):
        values = read_yaml(self.write(tmp_path, "class_weights: {basophil: 2.0, 7: 1e-1}\n"))
        weights = Config.from_flat(values).train.class_weights
        assert weights == {"basophil": 2.0, "7": 0.1}

    def test_code_in_yaml_is_refused(self, tmp_path):
        with pytest.raises(UserError, match="not YAML"):
            read_yaml(self.write(tmp_path, "folds: !!python/object/apply:os.getcwd []\n"))

    def test_missing_file_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"--config .*none\.yaml: No such file.*give a YAML"):
            read_yaml(str(tmp_path / "none.yaml"))

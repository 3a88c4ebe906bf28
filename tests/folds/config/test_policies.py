import json

import pytest
import yaml

from folds.config import Config, read_yaml
from folds.config.policies import KINDS, OPERATIONS, PRESETS, WHOLE, canonical, entries
from folds.errors import UserError


class TestCanonical:
    @pytest.mark.parametrize("text", [*PRESETS, "light+cutmix", "rotate", "rand + noise"])
    def test_names_stay_names(self, text):
        assert canonical(text) == text

    def test_a_list_its_yaml_and_its_file_are_the_same(self, tmp_path):
        lines = [{"op": "rotate", "p": 0.5, "max": 30}, {"op": "light"}]
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(lines))
        text = json.dumps(lines, sort_keys=True)
        inline = "[{op: rotate, p: 0.5, max: 30}, {op: light}]"
        assert canonical(lines) == canonical(str(path)) == canonical(inline) == text
        assert canonical(text) == text

    def test_small_numbers_survive(self):
        text = canonical([{"op": "noise", "max": 1e-5}])
        assert entries(canonical(text))[0].strengths["max"] == 1e-5

    def test_a_preset_in_a_list_is_all_its_operations(self):
        assert entries('[{"op": "light"}]') == entries("light")
        assert entries("none") == ()

    def test_defaults_are_filled_in(self):
        (entry,) = entries("cutmix")
        assert (entry.op, entry.p, dict(entry.strengths)) == ("cutmix", 1.0, {"alpha": 1.0})

    @pytest.mark.parametrize(
        ("policy", "message"),
        [
            ("ligth", "no policy or operation 'ligth'; nearest: light"),
            ("qqq", "such as: light, rotate"),
            ("light+", "no policy or operation ''"),
            ("missing.yaml", "No such file.*give a YAML file"),
            ("[{op: rotate", "the list is not YAML"),
            ("[1]", "1 is no operation; write one such as"),
            ([{"p": 0.5}], "is no operation"),
            ([{"op": "rotate", 1: 0.5}], "rotate has no 1, but p, max"),
            ({"op": "rotate"}, "must be a policy, a .yaml file or a list"),
            ([{"op": "rotat"}], "nearest: rotate"),
            ([{"op": "rotate", "most": 3}], "rotate has no 'most', but p, max"),
            ([{"op": "rotate", "max": 181}], "rotate: max 181 must be a number from 0 to 180"),
            ([{"op": "rotate", "p": 1.5}], "rotate: p 1.5 must be a number from 0 to 1"),
            ([{"op": "rotate", "p": "often"}], "rotate: p 'often' is no number"),
            ([{"op": "rotate", "p": True}], "is no number"),
            ([{"op": "rotate", "max": float("nan")}], "must be a number from"),
            ([{"op": "rand_augment", "n": 2.5}], "n 2.5 must be a whole number from 1 to 8"),
            ([{"op": "light", "p": 0.5}], "light is a policy and takes no 'p'"),
            ({"op": "rotate"}, "must be a policy"),
            (None, "must be a policy"),
            ("", "must be a policy"),
        ],
    )
    def test_refuses_in_one_line(self, policy, message):
        with pytest.raises(ValueError, match=message) as caught:
            canonical(policy)
        assert "\n" not in str(caught.value)

    def test_refuses_files_that_hold_something_else(self, tmp_path):
        path = tmp_path / "policy.yml"
        for content, message in (
            (b"op: rotate", "must be a list"),
            (b"\xff\xfe\x00", "not text"),
            (b"[{", "the file is not YAML"),
        ):
            path.write_bytes(content)
            with pytest.raises(ValueError, match=message):
                canonical(str(path))


class TestTable:
    def test_every_kind_and_default_is_allowed(self):
        for name, operation in OPERATIONS.items():
            assert operation.kind in KINDS, name
            for key, limit in operation.limits.items():
                assert limit.low <= limit.default <= limit.high, (name, key)
                assert limit.default == int(limit.default) or key not in WHOLE

    def test_no_preset_is_called_as_an_operation(self):
        assert not set(PRESETS) & set(OPERATIONS)

    @pytest.mark.parametrize("name", PRESETS)
    def test_presets_are_valid(self, name):
        canonical(list(PRESETS[name]))


class TestInAConfig:
    def test_a_list_in_a_yaml_file_is_kept_whole(self, tmp_path):
        path = tmp_path / "run.yaml"
        path.write_text("folds: 3\naugment:\n  - {op: rotate, max: 45}\n  - {op: cutmix, p: 0.2}\n")
        config = Config.from_flat(read_yaml(str(path)))
        assert [entry.op for entry in entries(config.train.augment)] == ["rotate", "cutmix"]
        again = Config.from_flat(json.loads(json.dumps(config.flat())))
        assert again.digest == config.digest

    def test_a_file_is_part_of_the_digest_by_its_content(self, tmp_path):
        path, digests = tmp_path / "policy.yaml", set()
        for most in (10, 20):
            path.write_text(f"[{{op: rotate, max: {most}}}]")
            config = Config.from_flat({"augment": str(path)})
            digests.add(config.digest)
            assert str(path) not in config.train.augment
        assert len(digests) == 2

    def test_errors_name_the_flag(self):
        with pytest.raises(UserError, match=r"^--augment 'ligth': no policy or operation"):
            Config.from_flat({"augment": "ligth"})

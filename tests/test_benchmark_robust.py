"""The benchmark of robustness runs and marks what a policy has trained on."""

import sys

import pytest

from benchmarks import robust
from folds.config.corruptions import CORRUPTIONS
from folds.errors import UserError
from folds.evaluation.shift import ShiftScores


def test_trains_scores_and_writes_a_table(monkeypatch, tmp_path, capsys):
    out = tmp_path / "ROBUST.md"
    monkeypatch.setattr(
        sys, "argv",
        ["robust", "--data", "digits", "--images", "100", "--backbone", "test_vit", "--folds", "2",
         "--only-folds", "0", "--stages", "1:1:1e-3", "--weights", "none",
         "--configurations", "none", "noise+rotate ema=0.9", "--external", "other=digits",
         "--adapt", "none", "colour", "--out", str(out)],
    )  # fmt: skip
    robust.main()
    text = out.read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["accuracy, %", "none", "noise+rotate ema=0.9"]
    found = {row[0]: row[1:] for row in rows[2:]}
    assert set(found) == {
        "clean", "mean of corruptions", "clean, --adapt auto", "mean of corruptions, --adapt auto",
        "other, --adapt none", "other, --adapt colour",
        f"mean of {len(CORRUPTIONS) - 2} that no policy contains",
        *(name.replace("_", " ") for name in CORRUPTIONS),
    }  # fmt: skip
    starred = {name for name, cells in found.items() if cells[1].endswith("*")}
    assert starred == {"gaussian noise", "rotation"}
    assert not any(cells[0].endswith("*") for cells in found.values())


def test_ranks_at_home_are_held_against_those_elsewhere():
    def row(clean, corrupted, away):
        shift = ShiftScores({("hue", 3): corrupted}, {("hue", 3): corrupted})
        return robust.Row(clean, shift, (0.5, 0.5), {("b", "none"): away})

    worse_at_home = {str(n): row(0.9 - n / 10, n / 10, n / 20) for n in range(4)}
    lines = robust.agreement(worse_at_home)
    assert lines[-1].startswith("- with b, --adapt none: accuracy -1.00, shift.accuracy 1.00")
    del worse_at_home["0"]
    assert robust.agreement(worse_at_home) == []


def test_a_configuration_is_a_policy_and_settings():
    assert robust.read("light ema=0.99 stages=[0:1:1e-3]") == (
        "light",
        {"ema": 0.99, "stages": ["0:1:1e-3"]},
    )
    assert robust.read('[{"op": "hue", "p": 0.5}]') == ('[{"op": "hue", "p": 0.5}]', {})


def test_policies_contain_what_their_chains_may_draw():
    assert robust.contained("none") == set()
    assert {"rotation", "scale", "hue"} <= robust.contained("light")
    assert robust.contained("rand") == {"rotation", "brightness", "contrast", "saturation"}
    assert robust.contained("aug_mix") == {"rotation"}
    assert "defocus" not in robust.contained("strong")
    with pytest.raises(UserError, match="--configurations 'lite': no policy"):
        robust.contained("lite")

"""The benchmark of robustness runs and marks what a policy has trained on."""

import sys

import pytest

from benchmarks import robust
from folds.config.corruptions import CORRUPTIONS
from folds.errors import UserError


def test_trains_scores_and_writes_a_table(monkeypatch, tmp_path, capsys):
    out = tmp_path / "ROBUST.md"
    monkeypatch.setattr(
        sys, "argv",
        ["robust", "--data", "digits", "--images", "100", "--backbone", "test_vit", "--folds", "2",
         "--only-folds", "0", "--stages", "1:1:1e-3", "--weights", "none",
         "--configurations", "none", "noise+rotate ema=0.9", "--external", "other=digits",
         "--adapt", "none", "colour", "--out", str(out),
         "--keep", str(tmp_path / "kept")],
    )  # fmt: skip
    robust.main()
    text = out.read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    monkeypatch.setattr(robust, "fit_fold", None)  # what is known is not measured again
    robust.main()
    assert text.strip() == capsys.readouterr().out.strip()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == [
        "accuracy, %", "clean", "corrupted", f"{len(CORRUPTIONS) - 2} unseen",
        "clean, adapted", "corrupted, adapted", "other, none", "other, colour",
    ]  # fmt: skip
    assert [row[0] for row in rows[2:4]] == ["1. none", "2. noise+rotate ema=0.9"]
    assert all(0 <= float(cell) <= 100 for row in rows[2:4] for cell in row[1:])
    assert rows[4] == ["corruption", "1", "2"]
    found = {row[0]: row[1:] for row in rows[6:]}
    assert set(found) == {name.replace("_", " ") for name in CORRUPTIONS}
    starred = {name for name, cells in found.items() if cells[1].endswith("*")}
    assert starred == {"gaussian noise", "rotation"}
    assert not any(cells[0].endswith("*") for cells in found.values())
    assert (tmp_path / "kept" / "noise+rotate_ema=0.9" / "model.json").exists()


def test_ranks_at_home_are_held_against_those_elsewhere():
    def row(clean, corrupted, away):
        return robust.Row(clean, {"hue": corrupted}, (0.5, 0.5), {"b": {"none": away}})

    worse_at_home = {str(n): row(0.9 - n / 10, n / 10, n / 20) for n in range(4)}
    lines = robust.agreement(worse_at_home)
    assert lines[-1].startswith("- with b, --adapt none: accuracy -1.00, shift.accuracy 1.00")
    del worse_at_home["0"]
    assert robust.agreement(worse_at_home) == []


def test_a_configuration_is_a_policy_and_settings():
    assert robust.read("light audit=off stages=[0:1:1e-3,1:8:1e-3]") == (
        "light",
        {"audit": "off", "stages": ["0:1:1e-3", "1:8:1e-3"]},
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

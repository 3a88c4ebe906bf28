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
         "--only-folds", "0", "--stages", "1:1:1e-3", "--policies", "none", "noise+rotate",
         "--weights", "none", "--out", str(out)],
    )  # fmt: skip
    robust.main()
    text = out.read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["accuracy, %", "none", "noise+rotate"]
    found = {row[0]: row[1:] for row in rows[2:]}
    assert set(found) == {
        "clean", "mean of corruptions", f"mean of {len(CORRUPTIONS) - 2} that no policy contains",
        *(name.replace("_", " ") for name in CORRUPTIONS),
    }  # fmt: skip
    starred = {name for name, cells in found.items() if cells[1].endswith("*")}
    assert starred == {"gaussian noise", "rotation"}
    assert not any(cells[0].endswith("*") for cells in found.values())


def test_policies_contain_what_their_chains_may_draw():
    assert robust.contained("none") == set()
    assert {"rotation", "scale", "hue"} <= robust.contained("light")
    assert robust.contained("rand") == {"rotation", "brightness", "contrast", "saturation"}
    assert robust.contained("aug_mix") == {"rotation"}
    assert "defocus" not in robust.contained("strong")
    with pytest.raises(UserError, match="--policies 'lite': no policy"):
        robust.contained("lite")

"""The benchmark of prediction sets runs and says what they hold."""

import sys

import pytest

from benchmarks import unsure


def test_divides_and_tells_how_promises_hold(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv",
        ["unsure", "--data", "digits", "--images", "900", "--train", "300", "--backbone",
         "test_vit", "--weights", "none", "--splits", "2", "--folds", "3", "--abstain", "0.2"],
    )  # fmt: skip
    unsure.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows[2:]] == [
        "one fold's", "ensemble", "ensemble, by 300 of a hold-out"
    ]  # fmt: skip
    assert float(rows[4][2].split()[0]) == pytest.approx(0.9, abs=0.06)

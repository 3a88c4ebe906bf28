"""The benchmark of augmentation runs, every contender does its work, and the table says who."""

import sys

import pytest
import torch

from benchmarks import augment


def test_measures_every_policy_and_writes_a_table(monkeypatch, tmp_path, capsys):
    out = tmp_path / "AUGMENT.md"
    monkeypatch.setattr(
        sys, "argv",
        ["augment", "--data", "digits", "--size", "16", "--batch-size", "4", "--rounds", "2",
         "--seconds", "0", "--threads", "1", "--out", str(out)],
    )  # fmt: skip
    augment.main()
    text = out.read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert {row[0].removeprefix("| ") for row in rows} == set(augment.POLICIES)
    assert sum(row[1] == augment.OURS for row in rows) == len(augment.POLICIES)
    assert [row[0] for row in rows if "target" in row[-1]] == ["| light", "| rand"]


@pytest.mark.parametrize("policy", augment.POLICIES)
def test_contenders_return_as_many_images_in_range(policy):
    pixels = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8)
    for name, work in augment._contenders(policy, 16).items():
        found = work(pixels)
        assert found.shape == (4, 3, 16, 16), name
        assert found.dtype == torch.float32, name
        assert found.min() > -1, name  # Kornia does not clamp its noise
        assert found.max() < 2, name

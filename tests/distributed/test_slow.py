"""The whole main job on the demo and on real images; minutes each."""

import csv
import json
from pathlib import Path

import pytest

from tests.distributed.test_end_to_end import python

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
SHARED = Path(__file__).parents[3] / "shared"


def summary_of(folder):
    return json.loads((folder / "out" / "summary.json").read_text())


@pytest.mark.parametrize("seed", range(5))
def test_the_demo_is_learnt_and_hard(tmp_path, seed):
    ran = python(
        tmp_path, "distributed.cv", "--recipe", "demo", "--seed", str(seed), "--output", "out"
    )
    assert ran.returncode == 0, ran.stderr
    summary = summary_of(tmp_path)
    home = summary["oof"]["macro_f1"]
    assert 0.90 <= home <= 0.97
    assert summary["oof_shift"]["macro_f1"] < home - 0.1
    assert summary["external"]["lab2"]["models"]["ensemble"]["macro_f1"] < home - 0.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real images of ../shared")
def test_real_blood_cells_with_real_weights(tmp_path):
    ran = python(
        tmp_path, "distributed.cv", "--data", str(SHARED / "data" / "pbc96"), "--limit", "2000",
        "--folds", "5", "--backbone", "mobilenetv2_100",
        "--weights", str(SHARED / "weights" / "mobilenetv2_100.safetensors"),
        "--image-size", "96", "--batch-size", "64", "--stages", "0:3:1e-3", "1:5:5e-4",
        "--output", "out",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert summary_of(tmp_path)["oof"]["accuracy"] >= 0.93
    assert python(tmp_path, "tracking.promote").returncode == 0
    ran = python(
        tmp_path, "tracking.predict", "--data", str(SHARED / "data" / "an2dl_like.npz"),
        "--out", "preds.csv",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert len(list(csv.DictReader((tmp_path / "preds.csv").open()))) == 820

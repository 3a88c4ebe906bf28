"""The benchmark on MedMNIST runs on files of its format, and scores as its package does."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks import medmnist
from folds.config import DataConfig
from folds.errors import UserError
from folds.evaluation.metrics import scores
from folds.images import load
from folds.images.medmnist import CLASSES

PBC96 = ("basophil", "eosinophil", "erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil",
         "platelet")  # fmt: skip


@pytest.fixture
def root(shared, tmp_path, monkeypatch):
    """Real cells in two files as MedMNIST has them, 28 and 64 px."""
    wanted = {"limit": 160, "image_size": 64}
    cells = load(DataConfig(data=str(shared / "data" / "pbc96"), **wanted), seed=0, largest=64)
    assert cells.class_names == PBC96  # in the order of bloodmnist's labels
    rows = np.random.default_rng(0).permutation(len(cells))
    for size, suffix in ((28, ""), (64, "_64")):
        arrays = {}
        for part, own in zip(("train", "val", "test"), np.split(rows, [100, 112]), strict=True):
            pictures = [Image.fromarray(cells.pixels[row]).resize((size, size)) for row in own]
            arrays[f"{part}_images"] = np.stack([np.asarray(one) for one in pictures])
            arrays[f"{part}_labels"] = cells.labels[own][:, None].astype(np.uint8)
        np.savez_compressed(tmp_path / f"bloodmnist{suffix}.npz", **arrays)
    monkeypatch.setenv("MEDMNIST_ROOT", str(tmp_path))
    return tmp_path


def arguments(folder, *more):
    return [
        "medmnist", "--sizes", "28", "64", "--seeds", "0", "1", "--folds", "2", "--backbone",
        "test_resnet", "--weights", "none", "--stages", "1:1:3e-3", "--batch-size", "16",
        "--keep", str(folder / "kept"), "--out", str(folder / "MEDMNIST.md"), *more,
    ]  # fmt: skip


def test_trains_scores_and_writes_a_table(root, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", arguments(root, "--settings", "dropout=0.2"))
    medmnist.main()
    text = (root / "MEDMNIST.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0][:5] == ["test part", "px", "seeds", "ACC", "AUC"]
    own = [row for row in lines[2:] if row[0].startswith("test_resnet")]
    assert [row[1:3] for row in own] == [["28", "2"], ["28", "2"], ["64", "2"], ["64", "2"]]
    for row in own:
        assert all(0 <= float(cell.split(" ± ")[0]) <= 1 for cell in row[3:])
    assert sum("(published)" in row[0] for row in lines) == 3
    kept = json.loads((root / "kept" / "bloodmnist-28-0.json").read_text())
    first = json.loads((root / "kept" / "bloodmnist-28-1.json").read_text())
    assert kept[1] != first[1]
    monkeypatch.setattr(medmnist, "fit_fold", None)  # what is known is not trained again
    medmnist.main()
    assert text.strip() == capsys.readouterr().out.strip()
    monkeypatch.setattr(sys, "argv", arguments(root, "--settings", "dropout=0.2", "ema=0.9"))
    with pytest.raises(UserError, match=r"bloodmnist-28-0\.json is of other settings; remove it"):
        medmnist.main()


@pytest.mark.parametrize("classes", [2, 5])
def test_auc_is_that_of_medmnist(classes):
    roc_auc_score = pytest.importorskip("sklearn.metrics").roc_auc_score
    rng = np.random.default_rng(classes)
    labels = rng.permutation(np.arange(40) % classes)
    probabilities = rng.dirichlet(np.ones(classes), 40).astype(np.float32)
    if classes == 2:
        expected = roc_auc_score(labels, probabilities[:, 1])
    else:
        each = [roc_auc_score(labels == c, probabilities[:, c]) for c in range(classes)]
        expected = np.mean(each)
    assert scores(labels, probabilities)["roc_auc"] == pytest.approx(expected, abs=1e-6)


def test_a_spread_is_told_of_several_seeds_alone():
    def row(value):
        one = {"accuracy": value, "roc_auc": value}
        return medmnist.Row(one, one, one)

    text = medmnist.table({("octmnist", 28, 0): row(0.5)}, "resnet18")
    assert "| resnet18, ensemble of the folds | 28 | 1 | 0.5000 | 0.5000 | 0.5000 |" in text
    assert "published" not in text
    several = {("bloodmnist", 28, seed): row(value) for seed, value in enumerate((0.1, 0.3))}
    assert "| 0.2000 ± 0.1414 |" in medmnist.table(several, "resnet18")
    assert set(medmnist.PUBLISHED) <= set(CLASSES)

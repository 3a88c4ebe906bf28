"""Many files are answered as few are, in their order, whatever the batches."""

import io
import json
import sys

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distributed import predict
from distributed.data.predict import BROKEN, columns_of, predict_files
from folds import cli
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.decision import Decision
from tracking.flavor import load_scorer
from tracking.models import log_model
from tracking.store import connect


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A model that says when it is unsure, one of whose classes is called as a column is."""
    folder = tmp_path_factory.mktemp("bundle")
    card = ModelCard("test_resnet", ("id", "bright"), 32)
    network = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(folder, card, network.state_dict())
    Decision(("id", "bright"), "out-of-fold", 0.9, (0.3, 0.3), (False, False), ()).write(folder)
    return folder


@pytest.fixture
def files(tmp_path):
    """A folder with 23 images of several sizes; the fifth is broken."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(23):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    (folder / "05.png").write_bytes(b"no image")
    return folder


def answered(bundle, folder, out, batch, console=None):
    ids = np.array(sorted(path.name for path in folder.iterdir()))
    console = console or cli.Screen("off", file=io.StringIO())
    told = predict_files(
        bundle,
        columns_of(load_scorer(bundle)),
        folder,
        ids,
        out,
        batch=batch,
        adapt=None,
        console=console,
    )
    return told, _table(out)


def _table(out):
    return pq.ParquetFile(out).read()


@pytest.mark.parametrize("batch", [4, 100])
def test_rows_come_in_order_and_say_what_the_model_says(local_ray, bundle, files, tmp_path, batch):
    told, table = answered(bundle, files, tmp_path / "out.parquet", batch)
    assert told[BROKEN] == 1
    names = [path.name for path in sorted(files.iterdir())]
    assert table.column(0).to_pylist() == names
    assert table.column_names == ["id", "predicted_class", "id", "bright", "prediction_set"]
    good = [name for name in names if name != "05.png"]
    wanted = load_scorer(bundle).predict([{"image": (files / one).read_bytes()} for one in good])
    kept = [row for row, name in enumerate(names) if name != "05.png"]
    found = np.array([table.column(place).to_pylist() for place in (2, 3)], dtype=float).T
    np.testing.assert_allclose(found[kept], wanted.iloc[:, 1:3], atol=1e-5)
    assert [table.column(1).to_pylist()[row] for row in kept] == wanted.iloc[:, 0].to_list()
    assert table.column(1).to_pylist()[5] is None
    assert table.column(4).to_pylist()[5] is None


def test_a_whole_batch_of_broken_files_has_the_same_columns(local_ray, bundle, files, tmp_path):
    for path in sorted(files.iterdir())[:4]:
        path.write_bytes(b"")
    told, table = answered(bundle, files, tmp_path / "out.parquet", 4)
    assert told[BROKEN] == 5
    assert table.column(1).null_count == 5


def test_a_program_is_told_how_far_it_is(local_ray, bundle, files, tmp_path, capsys):
    answered(bundle, files, tmp_path / "out.parquet", 100, cli.Screen("json", file=io.StringIO()))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == {"event": "predicted", "images": 23, "of": 23}


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, words)])
    return cli.run(predict.main)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--data", "digits"), "--data digits: its images are no files; give a folder or a table"),
        (("--data", ".", "--batch", "0"), "--batch 0: must be 1 or more, as 256"),
        (("--data", ".", "--out", "no/where.parquet"), "make it"),
        (("--data", ".", "--adapt", "colours"), "--adapt colours: "),
        (("--data", "."), "no image files"),
    ],
)
def test_bad_input_is_told_in_a_line(monkeypatch, tmp_path, capsys, words, line):
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, *words) == 2
    assert line in capsys.readouterr().err


def test_the_command_writes_a_file(local_ray, bundle, files, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = connect(f"sqlite:///{tmp_path}/mlflow.db")
    with mlflow.start_run(experiment_id=mlflow.create_experiment("b", store.artifact_root)):
        model = f"models:/{log_model(bundle, name='b')}"
    out = tmp_path / "found.parquet"
    asked = ("--model", model, "--data", files, "--out", out, "--tracking-uri", store.uri)
    assert run(monkeypatch, *asked) == 0
    told = capsys.readouterr()
    assert f"23 predictions of {model} are in {out}" in told.out
    assert "1 of 23 files cannot be read; their rows are empty" in told.err
    assert len(_table(out)) == 23

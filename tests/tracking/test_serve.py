"""A registered ensemble behind ``mlflow models serve``, for real."""

import base64
import contextlib
import io
import json
import sys
import urllib.error
import urllib.request

import mlflow
import mlflow.models.cli
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, write_bundle
from folds.model.predictor import Predictor
from tests.servers import Server, free_port
from tracking.models import log_model


@pytest.fixture
def both(tmp_path):
    """Two tiny models as one, looking at images from four sides."""
    card = ModelCard("test_resnet", ("dark", "bright"), 32, tta="flips")
    for seed in range(2):
        model = build("test_resnet", classes=2, size=32, dropout=0, pretrained=None, seed=seed)
        write_bundle(tmp_path / str(seed), card, model.state_dict())
    ensemble([tmp_path / "0", tmp_path / "1"], tmp_path / "both", 0.5)
    return tmp_path / "both"


@contextlib.contextmanager
def served(uri, hidden):
    port = free_port()
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    address, log = f"http://127.0.0.1:{port}", hidden.folder.parent / "server.log"
    with Server(command, hidden.folder, log, f"{address}/ping", hidden.environment):
        yield f"{address}/invocations"


def ask(address, **question):
    request = urllib.request.Request(
        address, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["predictions"]


def test_it_answers_as_the_bundle_does(store, both, images, hidden):
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        mlflow.register_model(f"models:/{log_model(both, name='ensemble')}", "cells")
    expected = Predictor(both, "cpu").predict(images)
    files = [io.BytesIO() for _ in images]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file, "PNG")
    texts = [base64.b64encode(file.getvalue()).decode() for file in files]
    with served("models:/cells/1", hidden) as address:
        table = {"columns": ["image"], "data": [[text] for text in texts]}
        for question in (
            {"inputs": images.tolist()},
            {"instances": images.tolist()},
            {"dataframe_split": table},
            {"dataframe_records": [{"image": text} for text in texts]},
            {"inputs": {"image": texts}},
        ):
            rows = ask(address, **question)
            found = [[row["dark"], row["bright"]] for row in rows]
            np.testing.assert_allclose(found, expected, atol=1e-5)
            chosen = [("dark", "bright")[number] for number in expected.argmax(axis=1)]
            assert [row["predicted_class"] for row in rows] == chosen
        secret = hidden.folder.parent / "secret.png"
        secret.write_bytes(files[0].getvalue())
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(address, dataframe_records=[{"path": str(secret)}])
        assert refused.value.code == 400
        assert "a served model reads no paths" in refused.value.read().decode()
    assert "/code/folds/" in hidden.used


def test_its_image_holds_the_model_its_code_and_no_more_than_that_needs(store, both, tmp_path):
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        mlflow.register_model(f"models:/{log_model(both, name='ensemble')}", "cells")
    words = ["generate-dockerfile", "-m", "models:/cells/1", "--output-directory", "image"]
    done = CliRunner().invoke(mlflow.models.cli.commands, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    image = tmp_path / "image"
    assert "COPY model_dir /opt/ml/model" in (image / "Dockerfile").read_text()
    model = image / "model_dir"
    assert {path.name for path in (model / "code").iterdir()} == {"folds", "tracking"}
    needed = (model / "requirements.txt").read_text().split()
    assert all("==" in line for line in needed)
    names = {line.partition("==")[0] for line in needed}
    assert {"mlflow", "safetensors", "timm", "torch"} <= names
    assert not names & {"crossfold", "ray"}

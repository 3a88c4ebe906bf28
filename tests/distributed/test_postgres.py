"""MLflow on a real PostgreSQL, whose columns take what SQLite does not mind, and no more."""

import json

import mlflow
import numpy as np
import pytest

from tests.distributed.test_end_to_end import python
from tests.servers import mlflow_server, postgres
from tracking.limits import DESCRIPTION

pytestmark = pytest.mark.slow  # two whole runs
CLASSES = 40
TINY = [
    "--backbone", "test_resnet", "--weights", "none", "--image-size", "32", "--batch-size", "16",
    "--folds", "2", "--audit", "off",
]  # fmt: skip
NAME = "o'brien"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with postgres() as database, mlflow_server(folder, database) as uri:
        yield uri


@pytest.fixture(scope="module")
def runs(server, tmp_path_factory):
    """A folder in which two runs of many classes with long names have been made."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(CLASSES), 4)
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    names = [
        f"class {number} of very many with a long name {'x' * 200}" for number in range(CLASSES)
    ]
    np.savez(folder / "many.npz", images=images, labels=labels, class_names=names)
    for number, rate in enumerate(("1e-3", "1e-2"), start=1):
        argv = ["--data", "many.npz", *TINY, "--stages", f"1:1:{rate}", "--model-name", NAME]
        ran = python(
            folder, "distributed.cv", *argv, "--tracking-uri", server, "--output", f"out{number}"
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "Traceback" not in ran.stdout + ran.stderr
    return folder


def test_a_run_of_many_classes_is_registered_with_what_fits_of_its_card(server, runs):
    client = mlflow.MlflowClient(server, server)
    version = client.get_model_version(NAME, "1")
    assert 1000 < len(version.description) <= DESCRIPTION
    scores, title = version.description.split("\n")[:3:2]
    assert scores.startswith("macro-F1 ")
    assert title == "# o'brien: ensemble"
    assert version.description.endswith("MODEL_CARD.md among the files of the model.")
    summary = json.loads((runs / "out1" / "summary.json").read_text())
    run = client.get_run(summary["mlflow"]["parent_run"])
    assert run.info.status == "FINISHED"


def test_its_versions_are_promoted_and_compared(server, runs):
    for force in ([], ["--version", "2", "--force", "a trial"]):
        argv = ["--model-name", NAME, "--tracking-uri", server, "--version", "1"]
        ran = python(runs, "tracking.promote", *argv, *force)
        assert ran.returncode == 0, ran.stdout + ran.stderr
    names = [f"models:/{NAME}/{number}" for number in (1, 2)]
    ran = python(runs, "tracking.compare", *names, "--tracking-uri", server)
    assert ran.returncode == 0, ran.stdout + ran.stderr

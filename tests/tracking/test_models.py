import os
import subprocess
import sys

import mlflow
import numpy as np
import pytest

from folds.bundle import Predictor
from folds.errors import UserError
from tracking.models import load_model, log_model


@pytest.fixture
def model_id(store, bundle):
    experiment = mlflow.create_experiment("test", store.artifact_root)
    with mlflow.start_run(experiment_id=experiment):
        return log_model(bundle, name="fold-1")


def test_a_logged_model_predicts_as_its_bundle_on_images_of_any_size(model_id, bundle, images):
    model, card = load_model(f"models:/{model_id}")
    assert card["class_names"] == ["dark", "bright"]
    for batch in (images, images[:1], images[:, :20, :20]):
        found = model.predict(batch)
        np.testing.assert_allclose(found, Predictor(bundle, "cpu").predict(batch), atol=1e-6)
        assert found.shape == (len(batch), 2)
        assert found.dtype == np.float32


def test_the_signature_refuses_another_dtype(model_id, images):
    model, _ = load_model(f"models:/{model_id}")
    with pytest.raises(mlflow.MlflowException, match="uint8"):
        model.predict(images.astype(np.float32))


def test_nothing_in_a_stored_model_is_a_pickle(model_id):
    folder = mlflow.artifacts.download_artifacts(f"models:/{model_id}")
    names = [name for _, _, files in os.walk(folder) for name in files]
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_it_loads_where_crossfold_is_not_installed(model_id, images, tmp_path):
    """-I and a finder that hides the installed packages stand for another machine."""
    np.save(tmp_path / "images.npy", images)
    script = f"""
import sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("folds", "tracking", "distributed") and not any(
            "code" in entry.split("/") for entry in sys.path
        ):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
sys.path[:] = [entry for entry in sys.path if "crossfold" not in entry]
try:
    import folds
except ModuleNotFoundError:
    pass
else:
    sys.exit("folds was not hidden")
import mlflow, numpy as np
mlflow.set_tracking_uri("sqlite:///{tmp_path}/mlflow.db")
model = mlflow.pyfunc.load_model("models:/{model_id}")
found = model.predict(np.load("images.npy"))
import folds
assert "/code/" in folds.__file__, folds.__file__
print(found.shape)
"""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(5, 2)"


def test_a_model_that_is_not_there_is_refused(store):
    with pytest.raises(UserError, match=r"cannot be loaded.*models:/NAME@champion"):
        load_model("models:/nobody@champion")

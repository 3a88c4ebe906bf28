import base64
import gc
import os
import shutil
import subprocess
import sys
import types

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from folds.adaptation import appearance_of
from folds.augment import to_input
from folds.errors import UserError, masked
from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, write_bundle
from folds.model.predictor import Predictor
from tests.folds.model.test_adapting import SIDE, pictures
from tracking.flavor import _load_pyfunc
from tracking.models import load_model, log_model


@pytest.fixture
def model_id(store, bundle):
    experiment = mlflow.create_experiment("test", store.artifact_root)
    with mlflow.start_run(experiment_id=experiment):
        return log_model(bundle, name="fold-1")


def test_a_logged_model_predicts_as_its_bundle_on_images_of_any_size(model_id, bundle, images):
    model, card = load_model(f"models:/{model_id}")
    assert card["class_names"] == ["dark", "bright"]
    for batch in (images, images[:1], images[:, :20, :20], images.astype(np.int64), images[:0]):
        found = model.predict(batch)
        assert list(found.columns) == ["predicted_class", "dark", "bright"]
        assert list(found.dtypes[1:]) == [np.float32, np.float32]
        expected = Predictor(bundle, "cpu").predict(batch)
        np.testing.assert_allclose(found.iloc[:, 1:], expected, atol=1e-6)
        chosen = np.array(["dark", "bright"])[expected.argmax(axis=1)]
        assert (found["predicted_class"] == chosen).all()


def test_it_takes_tables_too(model_id, bundle, images, tmp_path):
    model, _ = load_model(f"models:/{model_id}")
    expected = Predictor(bundle, "cpu").predict(images)
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(len(images))]
    encoded = [base64.b64encode(file.read_bytes()).decode() for file in files]
    for asked in (
        pd.DataFrame({"image": encoded}),
        pd.DataFrame({"path": [str(file) for file in files]}),
        {"image": encoded},
        [{"image": file.read_bytes()} for file in files],
    ):
        np.testing.assert_allclose(model.predict(asked).iloc[:, 1:], expected, atol=1e-6)


def test_an_ensemble_is_a_model_like_any_other(store, bundle, images, tmp_path):
    ensemble([bundle, bundle], tmp_path / "all", 2.0)
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        model, card = load_model(f"models:/{log_model(tmp_path / 'all', name='ensemble')}")
    assert (card["members"], card["temperature"]) == (2, 2.0)
    expected = Predictor(tmp_path / "all", "cpu").predict(images)
    np.testing.assert_allclose(model.answer(images).probabilities, expected, atol=1e-6)


def test_it_adapts_long_after_it_was_loaded_and_then_leaves_no_file(store, tmp_path):
    seen = appearance_of([to_input(torch.from_numpy(pictures(100, 0)), SIDE)], [0.4, 0.3, 0.3])
    card = ModelCard("test_resnet", ("a", "b", "c"), SIDE, appearance=seen)
    network = build("test_resnet", classes=3, size=SIDE, dropout=0, pretrained=None, seed=2)
    write_bundle(tmp_path / "seen", card, network.state_dict())
    with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
        model, _ = load_model(f"models:/{log_model(tmp_path / 'seen', name='seen')}")
    folder, dark = model._predictor.folder, pictures(64, 3, 20, 60)
    plain, adapted = model.answer(dark), model.answer(dark, adapt="bn", tell=pytest.fail)
    assert np.abs(adapted.probabilities - plain.probabilities).max() > 1e-4
    del model
    gc.collect()
    assert not folder.exists()


def test_fractions_are_refused(model_id, images):
    model, _ = load_model(f"models:/{model_id}")
    with pytest.raises(ValueError, match=r"float32.*whole numbers"):
        model.predict(images.astype(np.float32))


class TestPathsInAServer:
    @pytest.fixture
    def served(self, bundle, images, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "mlflow.pyfunc.scoring_server", types.ModuleType("server"))
        Image.fromarray(images[0]).save(tmp_path / "secret.png")
        model = _load_pyfunc(str(bundle))
        return lambda path: model.predict(pd.DataFrame({"path": [str(path)]}))

    def test_are_refused(self, served, tmp_path):
        with pytest.raises(ValueError, match="row 0: a served model reads no paths"):
            served(tmp_path / "secret.png")

    def test_may_lie_in_a_folder_that_the_server_names(self, served, tmp_path, monkeypatch):
        monkeypatch.setenv("CROSSFOLD_SERVE_PATHS", str(tmp_path))
        assert served(tmp_path / "secret.png").shape == (1, 3)

    @pytest.mark.parametrize("way", ["plain", "dots", "link", "nothing", "prefix"])
    def test_elsewhere_are_refused(self, served, tmp_path, monkeypatch, way):
        (tmp_path / "open").mkdir()
        (tmp_path / "open" / "link.png").symlink_to(tmp_path / "secret.png")
        (tmp_path / "open-not").mkdir()
        shutil.copy(tmp_path / "secret.png", tmp_path / "open-not" / "it.png")
        path = {
            "plain": tmp_path / "secret.png",
            "dots": f"{tmp_path}/open/../secret.png",
            "link": tmp_path / "open" / "link.png",
            "nothing": tmp_path / "nothing.png",
            "prefix": tmp_path / "open-not" / "it.png",
        }[way]
        monkeypatch.setenv("CROSSFOLD_SERVE_PATHS", str(tmp_path / "open"))
        with pytest.raises(ValueError, match=r"row 0: .* is not in"):
            served(path)


def test_nothing_in_a_stored_model_is_a_pickle(model_id):
    folder = mlflow.artifacts.download_artifacts(f"models:/{model_id}")
    names = [name for _, _, files in os.walk(folder) for name in files]
    assert "model.safetensors" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]


def test_it_loads_where_crossfold_is_not_installed(model_id, images, hidden):
    np.save(hidden.folder / "images.npy", images)
    script = f"""
try:
    import folds
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("folds was not hidden")
import mlflow, numpy as np
print(mlflow.pyfunc.load_model("models:/{model_id}").predict(np.load("images.npy")).shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=hidden.folder, env=hidden.environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(5, 3)"
    assert "/code/folds/" in hidden.used


def test_a_model_that_is_not_there_is_refused(store):
    with pytest.raises(UserError, match=r"cannot be loaded.*models:/NAME@champion"):
        load_model("models:/nobody@champion")


def test_an_address_is_no_model_and_repeats_no_password(store):
    with pytest.raises(UserError, match=r"cannot be loaded .*names look like") as e:
        load_model("http://alice:s3cr3tpw@host/m")
    assert "s3cr3t" not in masked(str(e.value))

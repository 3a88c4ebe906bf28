"""A payload in every file that is read: none of it is unpickled, imported or run."""

import io
import json
import pickle
import sys
import tarfile
import zipfile

import mlflow
import numpy as np
import pytest
import torch
import yaml

from folds.audit import store as audit_store
from folds.files import digest, seal, sealed_json
from folds.images.pixelfile import PixelFile
from folds.model.weights import load_pretrained
from folds.training import checkpoint
from folds.training.feature_cache import FeatureCache
from folds.training.outcome import ARRAYS, VALUES, FoldOutcome
from tests.security.conftest import BASE, Trap
from tracking import store as tracking_store

PIXELS = np.zeros((6, 8, 8, 3), np.uint8)
LABELS = np.arange(6) % 2
TAGS = (
    "!!python/object/apply:os.mkdir [sprung]",
    "!!python/object/new:os.mkdir [sprung]",
    "!!python/name:os.mkdir",
    "!!python/module:os",
)


def objects(count=6):
    found = np.empty(count, object)
    found[:] = [Trap()] * count
    return found


def saved(save, *args, **options):
    file = io.BytesIO()
    save(*args, file, **options) if save is torch.save else save(file, *args, **options)
    return file.getvalue()


class TestArrays:
    @pytest.mark.parametrize("name", ["images", "labels", "class_names", "ids", "groups"])
    def test_of_images(self, refused, here, name):
        arrays = {"images": PIXELS, "labels": LABELS, name: objects()}
        np.savez(here / "x.npz", **arrays)
        assert "object arrays" in refused("distributed.cv", *BASE, "--data", "x.npz")
        assert "object arrays" in refused("folds.inspect", "--data", "x.npz")

    def test_that_are_a_pickle_by_another_name(self, refused, here):
        (here / "x.npz").write_bytes(pickle.dumps(Trap()))
        assert "not a readable" in refused("distributed.cv", *BASE, "--data", "x.npz")
        assert "not a readable" in refused("folds.inspect", "--oof", "x.npz")

    def test_of_predictions(self, refused, here):
        np.savez(here / "oof.npz", ids=objects(), labels=LABELS, probabilities=objects())
        assert "not a readable oof.npz" in refused("folds.inspect", "--oof", "oof.npz")

    def test_under_names_that_lead_elsewhere(self, refused, here):
        with zipfile.ZipFile(here / "x.npz", "w") as archive:
            for name in ("../up.npy", f"{here}/absolute.npy", "images.npy/../../up.npy"):
                archive.writestr(name, saved(np.save, PIXELS))
        before = set(here.parent.iterdir())
        assert "expected arrays" in refused("distributed.cv", *BASE, "--data", "x.npz")
        assert set(here.parent.iterdir()) == before
        assert {path.name for path in here.iterdir()} == {"x.npz"}


class TestSettings:
    @pytest.mark.parametrize("tag", TAGS)
    def test_of_a_run(self, refused, here, tag):
        (here / "x.yaml").write_text(f"folds: {tag}\n")
        assert "not YAML" in refused("distributed.cv", "--config", "x.yaml")
        assert "not YAML" in refused("distributed.cv", "--augment", "x.yaml", "--plan")

    @pytest.mark.parametrize("tag", TAGS)
    def test_of_a_policy_or_a_space(self, refused, here, tag):
        (here / "x.yaml").write_text(f"- {tag}\n")
        words = refused("distributed.cv", "--data", "digits", "--augment", "x.yaml", "--plan")
        assert "not YAML" in words
        assert "not YAML" in refused("folds.preview", "--data", "digits", "--augment", "x.yaml")
        words = refused("distributed.tune", "--data", "digits", "--space", "x.yaml")
        assert "not YAML" in words

    def test_of_splits(self, refused, here):
        (here / "splits.json").write_bytes(pickle.dumps(Trap()))
        words = refused("distributed.cv", *BASE, "--data", "digits", "--splits", "splits.json")
        assert "not a splits.json" in words


def old_tar():
    """The first format of `torch.save`: a tar file with pickles in it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sys_info", "storages", "tensors", "pickle", "../up"):
            content = pickle.dumps(Trap())
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return file.getvalue()


def script():
    """A TorchScript archive, which torch.load would execute."""
    return saved(lambda file: torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), file))


WEIGHTS = {
    "zip": lambda: saved(torch.save, Trap()),
    "old": lambda: saved(torch.save, Trap(), _use_new_zipfile_serialization=False),
    "state": lambda: saved(torch.save, {"weight": torch.zeros(2), "more": Trap()}),
    "tar": old_tar,
    "pickle": lambda: pickle.dumps(Trap()),
    "script": script,
}


class TestWeights:
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("suffix", ["pt", "safetensors", "bin", "npz"])
    @pytest.mark.parametrize("kind", WEIGHTS)
    def test_of_a_file(self, refused, here, kind, suffix):
        (here / f"w.{suffix}").write_bytes(WEIGHTS[kind]())
        argv = [*BASE[2:], "--data", "digits", "--weights", f"w.{suffix}"]
        assert f"--weights w.{suffix}: " in refused("distributed.cv", *argv)
        assert {path.name for path in here.iterdir()} == {f"w.{suffix}"}

    @pytest.mark.parametrize("kind", ["zip", "old", "state", "pickle"])
    def test_of_a_folder(self, refused, here, kind):
        settings = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 32, 32]}}
        (here / "config.json").write_text(json.dumps(settings))
        (here / "pytorch_model.bin").write_bytes(WEIGHTS[kind]())
        argv = ["--backbone", "local-dir:.", "--data", "digits", "--plan"]
        assert "no pretrained local-dir:." in refused("distributed.cv", *argv)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("checkpoint_path", "w.pt"),
            ("pretrained", True),
            ("pretrained_cfg", {"file": "w.pt"}),
            ("pretrained_cfg_overlay", {"file": "w.pt"}),
            ("pretrained_custom_load", True),
            ("cache_dir", "elsewhere"),
            ("features_only", True),
            ("act_layer", {"a": 1}),
        ],
    )
    def test_that_a_configuration_points_to(self, refused, here, name, value):
        """An argument of timm's own, as part of somebody's network."""
        (here / "w.pt").write_bytes(WEIGHTS["zip"]())
        settings = {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 32, 32]}}
        settings |= {"model_args": {name: value}}
        (here / "config.json").write_text(json.dumps(settings))
        argv = ["--data", "digits", "--plan", "--weights", "none", "--backbone"]
        assert f"argument '{name}'" in refused("distributed.cv", *argv, "local-dir:.")
        args = json.dumps({"args": {name: value}})
        assert "--backbone test_resnet{" in refused("distributed.cv", *argv, f"test_resnet{args}")


@pytest.fixture
def store(here):
    return tracking_store.connect(f"sqlite:///{here}/mlflow.db")


def logged(store, folder):
    """A folder as a model in MLflow."""
    experiment = mlflow.create_experiment("models", store.artifact_root)
    with mlflow.start_run(experiment_id=experiment) as run:
        mlflow.log_artifacts(str(folder), "model")
    return f"runs:/{run.info.run_id}/model"


def mlmodel(**changes):
    flavor = {"loader_module": "tracking.flavor", "data": "data", "code": "code"} | changes
    about = {"flavors": {"python_function": flavor}, "metadata": {"class_names": ["a", "b"]}}
    return yaml.safe_dump(about)


EVIL = "import os\nos.mkdir('sprung')\ndef _load_pyfunc(path): os.mkdir('sprung')\n"


class TestModels:
    """`tracking.predict` and `tracking.export` of what somebody has put into a registry."""

    def refused(self, refused, uri):
        predicted = refused("tracking.predict", "--data", "digits", "--model", uri)
        assert predicted.startswith(f"error: --model {uri}: ")
        exported = refused("tracking.export", "--model", uri, "--to", "pt2", "--out", "model.pt2")
        assert exported.startswith(f"error: --model {uri}: ")
        return predicted

    def test_with_a_loader_of_its_own(self, refused, here, store):
        (here / "m" / "code").mkdir(parents=True)
        (here / "m" / "code" / "evil.py").write_text(EVIL)
        (here / "m" / "MLmodel").write_text(mlmodel(loader_module="evil"))
        assert "not a model of crossfold" in self.refused(refused, logged(store, here / "m"))
        assert "evil" not in sys.modules

    def test_with_code_in_place_of_ours(self, refused, here, store):
        for package in ("tracking", "folds", "folds/model"):
            (here / "m" / "code" / package).mkdir(parents=True)
            (here / "m" / "code" / package / "__init__.py").write_text(EVIL)
        (here / "m" / "code" / "tracking" / "flavor.py").write_text(EVIL)
        (here / "m" / "data").mkdir()
        (here / "m" / "MLmodel").write_text(mlmodel())
        assert "model.json" in self.refused(refused, logged(store, here / "m"))

    @pytest.mark.filterwarnings("ignore")
    def test_that_is_a_pickle(self, refused, here, store):
        class Model(mlflow.pyfunc.PythonModel):
            def __init__(self):
                self.trap = Trap()

            def predict(self, context, model_input):
                return model_input

        with mlflow.start_run(experiment_id=mlflow.create_experiment("e", store.artifact_root)):
            info = mlflow.pyfunc.log_model(name="m", python_model=Model())
        (here / "sprung").rmdir()  # logging looked at it
        assert "not a model of crossfold" in self.refused(refused, info.model_uri)

    @pytest.mark.parametrize("data", ["a\0b", "a\ud800"])
    def test_whose_data_no_file_can_be(self, refused, here, store, data):
        (here / "m").mkdir()
        (here / "m" / "MLmodel").write_text(mlmodel(data=data))
        assert "not a model of crossfold" in self.refused(refused, logged(store, here / "m"))

    @pytest.mark.parametrize("data", ["../..", "/etc", "data/../../x"])
    def test_whose_data_lie_elsewhere(self, refused, here, store, data):
        (here / "m").mkdir()
        (here / "m" / "MLmodel").write_text(mlmodel(data=data))
        assert "outside of it" in self.refused(refused, logged(store, here / "m"))

    @pytest.mark.parametrize("tag", TAGS)
    def test_with_tags(self, refused, here, store, tag):
        (here / "m").mkdir()
        (here / "m" / "MLmodel").write_text(f"flavors: {tag}\n")
        self.refused(refused, logged(store, here / "m"))

    @pytest.mark.parametrize(
        "backbone",
        ["hf-hub:a/b", "local-dir:.", 'test_resnet{"args": {"checkpoint_path": "w.pt"}}'],
    )
    def test_whose_backbone_is_fetched(self, refused, here, store, backbone):
        (here / "w.pt").write_bytes(WEIGHTS["zip"]())
        card = {"format": "crossfold-model/3", "backbone": backbone, "size": 32}
        card |= {"class_names": ["a", "b"]}
        (here / "m" / "data").mkdir(parents=True)
        (here / "m" / "data" / "model.json").write_text(json.dumps(card))
        (here / "m" / "data" / "model.safetensors").write_bytes(WEIGHTS["zip"]())
        (here / "m" / "MLmodel").write_text(mlmodel())
        self.refused(refused, logged(store, here / "m"))


def test_a_run_that_is_compared(refused, here, store):
    client = mlflow.MlflowClient()
    experiment = mlflow.create_experiment("runs", store.artifact_root)
    np.savez(here / "oof.npz", ids=objects(), labels=LABELS, repeat=LABELS, fold=LABELS)
    (here / "summary.json").write_bytes(pickle.dumps(Trap()))
    for name in ("one", "other"):
        run = client.create_run(experiment, run_name=name, tags={"crossfold.kind": "parent"})
        for file in ("oof.npz", "summary.json"):
            client.log_artifact(run.info.run_id, str(here / file))
        client.set_terminated(run.info.run_id)
    assert "summary.json" in refused("tracking.compare", "one", "other")
    assert "summary.json" in refused("tracking.ensemble", "one", "other")


class TestKept:
    """What crossfold wrote itself, exchanged for something else."""

    def test_caches(self, here):
        array = saved(np.save, objects(), allow_pickle=True)
        (here / "x.npy").write_bytes(array)
        cache = object.__new__(FeatureCache)
        cache._whole = {here / "x.npy"}
        assert cache._read(here / "x.npy") is None
        with pytest.raises(ValueError, match="not uint8"):
            PixelFile(here / "x.npy")
        np.savez(here / "x.npz", ids=objects())
        seal(here / "x.npz")
        with pytest.raises(audit_store._MISSING, match="object arrays"):
            audit_store._read(here / "x.npz", ["ids"])
        assert not (here / "sprung").exists()

    @pytest.mark.parametrize("kind", ["zip", "old", "state", "pickle", "script"])
    def test_checkpoints(self, here, kind):
        with pytest.raises(Exception, match=r"."):
            checkpoint.restore(None, WEIGHTS[kind]())
        assert not (here / "sprung").exists()

    def test_results(self, here):
        np.savez(here / ARRAYS, rows=objects())
        digests = {ARRAYS: digest((here / ARRAYS).read_bytes())}
        (here / VALUES).write_text(sealed_json({"cases": [], "digests": digests}))
        with pytest.raises(ValueError, match="object arrays"):
            FoldOutcome.read(here)
        assert not (here / "sprung").exists()


def test_a_trap_would_have_sprung(here):
    """A test of the tests."""
    pickle.loads(pickle.dumps(Trap()))
    assert (here / "sprung").is_dir()
    (here / "sprung").rmdir()
    torch.load(io.BytesIO(WEIGHTS["zip"]()), weights_only=False)
    assert (here / "sprung").is_dir()


def test_weights_that_are_sound_are_read(here):
    """Another test of the tests."""
    state = load_pretrained("test_byobnet", "demo").state
    torch.save(state, here / "w.pt")
    again = load_pretrained("test_byobnet", str(here / "w.pt")).state
    assert all((again[name] == state[name]).all() for name in state)

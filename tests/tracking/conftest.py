import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from tracking import store as tracking_store

FORMAT_1 = Path(__file__).with_name("summary-1.json")  # of a run before format 2, shortened


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """A process into which another test has brought MLflow's server is none that serves."""
    monkeypatch.delitem(sys.modules, "mlflow.pyfunc.scoring_server", raising=False)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A real sqlite store in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tracking_store.connect(f"sqlite:///{tmp_path}/mlflow.db")


@pytest.fixture
def bundle(tmp_path):
    """A tiny untrained model of two classes, as a bundle."""
    card = ModelCard("test_resnet", ("dark", "bright"), 32)
    model = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(tmp_path / "bundle", card, model.state_dict())
    return tmp_path / "bundle"


@pytest.fixture
def images():
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (5, 40, 48, 3), dtype=torch.uint8, generator=generator)
    return np.asarray(pixels)


_HIDE = """
import os, sys
from importlib.machinery import PathFinder
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name not in ("folds", "tracking", "distributed"):
            return None
        spec = PathFinder.find_spec(name)
        if spec is None:
            raise ModuleNotFoundError(name, name=name)
        if name == "folds":
            with open(os.environ["USED"], "a") as file:
                print(spec.origin, file=file)
        return spec
sys.meta_path.insert(0, Hide())
"""


@dataclass(frozen=True)
class Hidden:
    """Where processes run that find no crossfold but in the models that they load."""

    folder: Path
    environment: dict[str, str]

    @property
    def used(self):
        """The file of `folds` that they imported."""
        (path,) = set(Path(self.environment["USED"]).read_text().split())
        return path


@pytest.fixture
def hidden(store, tmp_path):
    """A finder before all others hides what is installed: only what is on the path is found."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(_HIDE)
    (tmp_path / "elsewhere").mkdir()
    changed = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # MLflow calls uvicorn
        "PYTHONPATH": str(tmp_path / "site"),
        "USED": str(tmp_path / "used"),
        "MLFLOW_TRACKING_URI": store.uri,
    }
    return Hidden(tmp_path / "elsewhere", os.environ | changed)

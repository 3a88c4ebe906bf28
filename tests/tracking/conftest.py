import numpy as np
import pytest
import torch

from folds.backbone import build
from folds.bundle import ModelCard, write_bundle
from tracking import store as tracking_store


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

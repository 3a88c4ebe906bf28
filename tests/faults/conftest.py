import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.faults.faults import LONG, SHARED, calm


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """The output of the undisturbed run of `LONG`."""
    return calm(tmp_path_factory.mktemp("calm") / "run", *LONG)


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """First weights for `SHARED`: without any, no features are shared."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    network = timm.create_model("test_resnet", num_classes=0)
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="session")
def shared_reference(tmp_path_factory, weights):
    """The output of the undisturbed run of `SHARED`."""
    return calm(tmp_path_factory.mktemp("calm") / "run", *SHARED, "--weights", str(weights))

import numpy as np
import timm
import torch

from folds.audit.deep import deep_features
from folds.model.weights import load_pretrained
from folds.runtime.device import Runtime

CPU = Runtime.choose("cpu", "fp32")


def test_they_are_what_timm_gives_before_its_classifier(make_images):
    images = make_images((3, 3))
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=7).eval()
    state = {n: t for n, t in network.state_dict().items() if not n.startswith("fc.")}
    settings = timm.data.resolve_model_data_config(network)
    mean, std = (torch.tensor(settings[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    batch = (torch.from_numpy(images.pixels).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        wanted = network.forward_head(network.forward_features(batch), pre_logits=True)
    found = deep_features(images, "test_resnet", state, CPU)
    assert found.dtype == np.float32
    assert np.allclose(found, wanted.numpy(), atol=1e-4)


def test_an_images_features_do_not_depend_on_those_beside_it(make_images):
    images = make_images((40, 40))
    state = load_pretrained("test_vit", "none").state
    every = deep_features(images, "test_vit", state, CPU)
    rows = np.array([70, 3, 64])
    few = deep_features(images.take(rows), "test_vit", state, CPU)
    assert every.shape[0] == 80
    assert np.allclose(few, every[rows], atol=1e-4)

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from folds.errors import RunError, UserError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, Predictor, ensemble, write_bundle
from folds.model.export import export

ONNX = """
import json, sys
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
about = session.get_modelmeta().custom_metadata_map
run = lambda images: session.run(["probabilities"], {"images": images})[0]
names, size = json.loads(about["class_names"]), int(about["size"])
"""
PT2 = """
import json, sys
import numpy as np, torch
files = {"model.json": ""}
module = torch.export.load(sys.argv[1], extra_files=files).module()
about = json.loads(files["model.json"])
run = lambda images: module(torch.from_numpy(images)).numpy(force=True)
names, size = about["class_names"], about["size"]
"""
THEN = """
images = np.load(sys.argv[2])
assert not {"folds", "kornia", "timm"} & set(sys.modules)
found = np.concatenate([run(images[:1]), run(images[1:])])
print(json.dumps({"names": names, "size": size, "found": found.tolist(), "kind": str(found.dtype)}))
"""


def make(folder, backbone, *, members=1, tta="none", temperature=1.0, size=32):
    card = ModelCard(backbone, ("ant", "bee", "cat"), size, tta=tta)
    for seed in range(members):
        model = build(backbone, classes=3, size=size, dropout=0, pretrained=None, seed=seed)
        with torch.no_grad():
            model.head.weight *= 100
        write_bundle(folder / str(seed), card, model.state_dict())
    ensemble([folder / str(seed) for seed in range(members)], folder / "all", temperature)
    return folder / "all"


@pytest.mark.parametrize(
    ("backbone", "options"),
    [
        ("test_resnet", {"members": 2, "tta": "flips", "temperature": 1.7}),
        ("test_vit", {}),
        ("test_resnet", {"tta": "3"}),
    ],
)
@pytest.mark.parametrize("target", ["onnx", "pt2"])
def test_the_file_says_what_the_bundle_says_where_crossfold_is_not(
    tmp_path, backbone, options, target
):
    if target == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package, reason=f"no {package}: crossfold[export] is not there")
    bundle = make(tmp_path, backbone, **options)
    path = tmp_path / f"model.{target}"
    assert export(bundle, target, path) <= 1e-4
    images = np.random.default_rng(1).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    script = (ONNX if target == "onnx" else PT2) + THEN
    done = subprocess.run(
        [sys.executable, "-I", "-c", script, str(path), str(tmp_path / "images.npy")],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["names"], found["size"], found["kind"]) == (["ant", "bee", "cat"], 32, "float32")
    expected = Predictor(bundle, "cpu").predict(images)
    np.testing.assert_allclose(found["found"], expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


def test_a_missing_package_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("folds.model.export._NEEDED", ("numpy", "onnx_of_nobody"))
    with pytest.raises(UserError, match=r"needs onnx_of_nobody; pip install 'crossfold\[export\]'"):
        export(tmp_path, "onnx", tmp_path / "model.onnx")


def test_a_file_that_says_something_else_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("folds.model.export.TOLERANCE", -1.0)
    with pytest.raises(RunError, match="probabilities are off by"):
        export(make(tmp_path, "test_resnet"), "pt2", tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()

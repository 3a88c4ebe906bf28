import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from folds.errors import RunError, UserError
from folds.images.decode import decode
from folds.images.resize import cover
from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, write_bundle
from folds.model.export import _NEEDED, export
from folds.model.predictor import Predictor
from tests.folds.images.encodings import encoded, marked, turned

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
assert "BICUBIC" in about["preprocessing"]
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


def _preprocess():
    """The function that docs/how-to/export.md gives to users of the file."""
    text = Path(__file__).parents[3].joinpath("docs/how-to/export.md").read_text(encoding="utf-8")
    (block,) = [b for b in text.split("```python\n") if b.startswith("def preprocess(")]
    names = {"np": np, "Image": Image, "ImageOps": ImageOps}
    exec(block.split("```")[0], names)
    return names["preprocess"]


def _answers(target, path, images):
    if target == "pt2":
        module = torch.export.load(path).module()
        return module(torch.from_numpy(images)).numpy(force=True)
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return session.run(["probabilities"], {"images": images})[0]


@pytest.fixture(scope="module")
def awkward(tmp_path_factory):
    """Files of 8 bits a channel of many sizes, modes and orientations."""
    folder = tmp_path_factory.mktemp("files")
    wide = marked().resize((90, 50))
    for number, mode in enumerate(["RGB", "L", "LA", "1", "P", "RGBA", "CMYK"]):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        content = turned(wide.convert(mode), 1 + number, kind)
        (folder / f"{mode}.{kind.lower()}").write_bytes(content)
    for number, size in enumerate([(32, 32), (9, 9), (300, 300), (20, 41)]):
        content = turned(marked().resize(size), 8 - number, "JPEG")
        (folder / f"{number}.jpg").write_bytes(content)
    (folder / "clear.png").write_bytes(encoded(marked().quantize(9), transparency=3))
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A bundle for 24 px, and what its files say of images."""
    folder = tmp_path_factory.mktemp("exported")
    bundle = make(folder, "test_resnet", size=24)
    for target in ("onnx", "pt2"):
        if target == "pt2" or all(map(importlib.util.find_spec, _NEEDED)):
            export(bundle, target, folder / f"model.{target}")
    return folder


def _same(exported, target, files):
    """Whether an exported file says of files, by the docs' preprocessing, what the bundle says."""
    path = exported / f"model.{target}"
    if not path.exists():
        pytest.skip("crossfold[export] is not there")
    images = np.stack([_preprocess()(file, 24) for file in files])
    for file, image in zip(files, images, strict=True):
        assert (image == cover(decode(file), 24)).all(), file
    expected = Predictor(exported / "all", "cpu").predict({"path": [str(f) for f in files]})
    np.testing.assert_allclose(_answers(target, path, images), expected, atol=1e-4)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("target", ["onnx", "pt2"])
class TestReadmesPreprocessing:
    def test_is_the_predictors_on_awkward_files(self, exported, target, awkward):
        _same(exported, target, awkward)

    def test_is_the_predictors_on_real_files(self, exported, target, shared):
        _same(exported, target, sorted((shared / "data" / "pbc96").rglob("*.jpg"))[::1200])

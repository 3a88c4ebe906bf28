"""All readers of files from elsewhere: sound files to begin with, and how each is read."""

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
import yaml
from hypothesis.strategies import SearchStrategy
from PIL import Image
from safetensors.torch import save

from distributed.search.backbones import read_backbones
from distributed.search.options import read_space
from folds.audit import store
from folds.audit.suspects import read_predictions
from folds.config import Config, DataConfig, read_yaml
from folds.config.space_parser import parse_space
from folds.files import seal
from folds.images import load, load_unlabelled
from folds.images.relabel import read_relabelling
from folds.model.backbone import build
from folds.model.bundle import ModelCard, bundle_files
from folds.model.mixture import MixtureCard
from folds.model.names import resolve
from folds.model.weights import load_pretrained
from folds.splits.manifest import SplitManifest
from tests.folds.images.encodings import encoded, marked, png16, tiff
from tests.folds.images.test_hub import table as hub_table
from tests.fuzz import mutations
from tracking.comparison.evidence import _external, _load, _sorted
from tracking.models import fetch_bundle, load_model
from tracking.summary_file import read_summary

SUMMARY = Path(__file__).parents[1] / "tracking" / "summary-1.json"
_RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Reader:
    """A way in.

    Parameters
    ----------
    file : str
        Where the damaged file lies in a folder.
    sound : bytes
        What can be read, undamaged.
    damaged : strategy of bytes
    read : callable
        Takes the folder; returns, or raises one of `allowed` with a message of one line.
    others : dict of str to bytes
        Sound files that lie beside it.
    allowed : tuple of types
        Beside UserError: what its callers are told that it raises.
    """

    file: str
    sound: bytes
    damaged: SearchStrategy[bytes]
    read: Callable[[Path], Any]
    others: dict[str, bytes]
    allowed: tuple[type[Exception], ...] = ()


def _saved(save_to, *args, **options):
    file = io.BytesIO()
    save_to(file, *args, **options)
    return file.getvalue()


def _images():
    grey, colour = _RNG.integers(0, 2**16, (9, 7, 1), np.uint16), marked()
    pages = [marked(), marked().rotate(90)]
    return {
        "JPEG": [encoded(colour, "JPEG", quality=q, **more) for q, more in
                 ((90, {}), (30, {"progressive": True}), (60, {"exif": _exif()}))]
        + [encoded(colour.convert("CMYK"), "JPEG")],
        "PNG": [encoded(colour), png16(grey), encoded(colour.convert("P")),
                png16(_RNG.integers(0, 2**16, (5, 6, 4), np.uint16)),
                encoded(pages[0], "PNG", save_all=True, append_images=pages[1:])],
        "BMP": [encoded(colour, "BMP"), encoded(colour.convert("P"), "BMP"),
                encoded(colour.convert("1"), "BMP")],
        "TIFF": [tiff(grey), tiff(np.asarray(colour)), tiff(_RNG.random((4, 5, 1), np.float32)),
                 encoded(colour, "TIFF", compression="tiff_lzw"),
                 encoded(colour, "TIFF", compression="jpeg"),
                 encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])],
        "WEBP": [encoded(colour, "WEBP"), encoded(colour, "WEBP", lossless=True),
                 encoded(pages[0], "WEBP", save_all=True, append_images=pages[1:])],
    }  # fmt: skip


def _yaml(value):
    return yaml.safe_dump(value).encode()


def _json(value):
    return json.dumps(value).encode()


def _exif():
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _image_readers():
    suffixes = {"JPEG": "jpg", "PNG": "png", "BMP": "bmp", "TIFF": "tif", "WEBP": "webp"}
    for kind, contents in _images().items():
        strategy = mutations.png_of(contents) if kind == "PNG" else mutations.any_of(contents)
        yield f"image {kind}", Reader(
            f"set/1.{suffixes[kind]}", contents[0], strategy,
            lambda folder: load_unlabelled(str(folder / "set"), size=16), {},
        )  # fmt: skip


def _array_readers():
    images = _RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
    arrays = {
        "images": images, "labels": np.arange(6) % 2, "class_names": np.array(["a", "bb"]),
        "ids": np.array([f"i{n}" for n in range(6)]), "groups": np.array(list("aabbcc")),
    }  # fmt: skip
    npz = _saved(np.savez, **arrays)
    yield "npz of images", Reader(
        "x.npz", npz, mutations.zip_of(npz),
        lambda folder: load(DataConfig(data=str(folder / "x.npz")), seed=0, largest=16), {},
    )  # fmt: skip
    yield "npz for predictions", Reader(
        "x.npz", npz, mutations.zip_of(npz),
        lambda folder: load_unlabelled(str(folder / "x.npz"), size=16), {},
    )  # fmt: skip
    chances = _RNG.dirichlet([1, 1], 6).astype(np.float32)
    oof = _saved(
        np.savez, ids=arrays["ids"], labels=arrays["labels"], probabilities=chances,
        fold=np.arange(6) % 2, repeat=np.zeros(6, int), groups=arrays["groups"],
    )  # fmt: skip
    yield (
        "oof.npz",
        Reader("oof.npz", oof, mutations.zip_of(oof), lambda folder: read_predictions(folder), {}),
    )
    lost = (ValueError, LookupError, OSError)  # what `tracking.comparison` turns into one line
    yield (
        "a run's oof.npz",
        Reader(
            "oof.npz",
            oof,
            mutations.zip_of(oof),
            lambda folder: _sorted(folder / "oof.npz"),
            {},
            lost,
        ),
    )
    external = _saved(
        np.savez, ids=arrays["ids"], labels=arrays["labels"], groups=arrays["groups"],
        candidates=np.array(["soup"]), candidate_probabilities=chances[None],
    )  # fmt: skip
    yield "a run's external.npz", Reader(
        "x.npz", external, mutations.zip_of(external),
        lambda folder: _external(_load(folder / "x.npz")), {}, lost,
    )  # fmt: skip
    yield "audit's cache", Reader(
        "x.npz", oof, mutations.zip_of(oof),
        lambda folder: store._read(_sealed(folder / "x.npz"), ("ids", "labels")), {},
        store._MISSING,
    )  # fmt: skip


def _sealed(path):
    """A file whose seal is right, though its content may be anything."""
    seal(path)
    return path


def _table_readers():
    rows = {"path": ["1.png", "2.png"], "label": ["a", "b"], "group": ["p", "q"]}
    csv = pd.DataFrame(rows).to_csv(index=False)
    pictures = {f"{n}.png": encoded(marked(16)) for n in (1, 2)}
    others = ['path,label,more\n"1.png","a ""b""",\n2.png,c,x\n', csv.replace("\n", "\r\n")]
    yield "csv", Reader(
        "x.csv", csv.encode(), mutations.text_of([csv, *others]),
        lambda folder: load(DataConfig(data=str(folder / "x.csv")), seed=0, largest=16), pictures,
    )  # fmt: skip
    labels = 'id,label,was\n1.png,b,a\n"2""x.png",,b\n'
    yield "csv of new labels", Reader(
        "x.csv", labels.encode(), mutations.text_of([labels, "\ufeff" + labels]),
        lambda folder: read_relabelling(str(folder / "x.csv")), {},
    )  # fmt: skip
    parquet = _saved(lambda file: pd.DataFrame(rows).to_parquet(file))
    dictionary = _saved(lambda file: pd.DataFrame(rows).astype("category").to_parquet(file))
    yield "parquet", Reader(
        "x.parquet", parquet, mutations.any_of([parquet, dictionary]),
        lambda folder: load(DataConfig(data=str(folder / "x.parquet")), seed=0, largest=16),
        pictures,
    )  # fmt: skip


def _hub_readers():
    one = hub_table(range(4))
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, one.schema) as writer:
        writer.write_table(one)
    state, whole = {"_data_files": [{"filename": "a.arrow"}]}, {"splits": ["train"]}
    files = {
        "set/dataset_dict.json": _json(whole),
        "set/train/state.json": _json(state),
        "set/train/dataset_info.json": b"{}",
        "set/train/a.arrow": stream.getvalue(),
    }
    strategies = {
        "set/dataset_dict.json": mutations.json_of(whole),
        "set/train/state.json": mutations.json_of(state),
        "set/train/a.arrow": mutations.any_of([stream.getvalue()]),
    }

    def reading(folder):
        return load(DataConfig(data=str(folder / "set")), seed=0, largest=16)

    for file, strategy in strategies.items():
        others = {name: content for name, content in files.items() if name != file}
        yield f"hub {file.rsplit('/')[-1]}", Reader(file, files[file], strategy, reading, others)
    parquet = _saved(lambda file: pq.write_table(one, file))
    name = "set/train-00000-of-00001.parquet"
    yield "hub parquet", Reader(name, parquet, mutations.any_of([parquet]), reading, {})


def _settings_readers():
    settings = {
        "data": "digits", "folds": 3, "backbone": "test_resnet", "stages": ["0:1:1e-3", "1:2:1e-4"],
        "augment": [{"op": "light"}, {"op": "rotate", "p": 0.5, "max": 20}], "ema": 0.9,
        "head_layers": [16, 8], "class_weights": {"a": 2.0}, "select_by": "macro_f1", "tta": "d4",
        "train": {"loss": "focal"}, "external": ["lab2=demo-lab2"], "levels": 4095,
    }  # fmt: skip
    aliases = "a: &a [1, 2]\nb: &b [*a, *a]\nfolds: 3\nstages: [*b, *b]\n"
    yield "settings", Reader(
        "run.yaml", _yaml(settings), mutations.yaml_of(settings, [aliases]),
        lambda folder: Config.from_flat(read_yaml(str(folder / "run.yaml"))), {},
    )  # fmt: skip
    policy = [{"op": "light"}, {"op": "rotate", "p": 0.5, "max": 30}, {"op": "cutmix", "alpha": 1}]
    yield "policy", Reader(
        "policy.yaml", _yaml(policy), mutations.yaml_of(policy),
        lambda folder: Config.from_flat({"augment": str(folder / "policy.yaml")}), {},
    )  # fmt: skip
    space = {
        "optimizer": {"choice": ["adamw", "sgd"]}, "weight_decay": {"loguniform": ["1e-5", 0.1]},
        "ema": {"choice": [0, 0.99], "when": {"optimizer": "adamw"}}, "epochs": {"int": [2, 8]},
        "stages": ["0:{epochs}:1e-3"], "head_dropout": {"uniform": [0, 0.6]},
        "network": {"choice": [{"backbone": "test_resnet"}, {"backbone": "test_vit"}]},
    }  # fmt: skip
    yield "space", Reader(
        "space.yaml", _yaml(space), mutations.yaml_of(space),
        lambda folder: parse_space(read_space(str(folder / "space.yaml")), Config()), {},
    )  # fmt: skip
    texts = ["test_resnet\ntest_vit=x.pt # a\n", "resnet18\nresnet50"]
    yield "backbones", Reader(
        "b.txt", texts[0].encode(), mutations.text_of(texts),
        lambda folder: read_backbones(str(folder / "b.txt")), {},
    )  # fmt: skip


def _document_readers():
    ids = [f"i{n}" for n in range(8)]
    manifest = SplitManifest(
        np.array(ids), np.array(ids), np.arange(8)[None] % 2, 2, "made", {"labels": "0" * 16}
    )
    splits = {
        "format": "crossfold-splits/2", "digest": manifest.digest, "folds": 2, "repeats": 1,
        "method": "made", "data": manifest.data, "images": manifest._assignments(),
    }  # fmt: skip
    yield "splits.json", Reader(
        "s.json", _json(splits), mutations.json_of(splits),
        lambda folder: SplitManifest.read(str(folder / "s.json")), {},
    )  # fmt: skip
    yield "summary.json", Reader(
        "s.json", SUMMARY.read_bytes(), mutations.json_of(json.loads(SUMMARY.read_text())),
        lambda folder: read_summary(folder / "s.json"), {},
    )  # fmt: skip


def _weights_readers():
    model = timm.create_model("test_byobnet", num_classes=0)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    read = {
        "safetensors": lambda folder: load_pretrained(
            "test_byobnet", str(folder / "w.safetensors")
        ),
        "torch": lambda folder: load_pretrained("test_byobnet", str(folder / "w.pt")),
    }
    weights = save(state, {"trained_on": '{"a": "b"}'})
    yield "weights safetensors", Reader(
        "w.safetensors", weights, mutations.safetensors_of(weights),
        read["safetensors"], {},
    )  # fmt: skip
    zipped = _saved(lambda file: torch.save(state, file))
    yield "weights torch", Reader("w.pt", zipped, mutations.zip_of(zipped), read["torch"], {})
    small = {name: tensor for name, tensor in state.items() if tensor.numel() < 99}
    old = [
        _saved(partial(torch.save, one, _use_new_zipfile_serialization=False))
        for one in (state, small, {"state_dict": small}, [1, "a", None], Trap())
    ]
    yield (
        "weights torch, old format",
        Reader("w.pt", old[0], mutations.any_of(old), read["torch"], {}),
    )
    config = {
        "architecture": "test_vit", "num_classes": 0, "num_features": 64,
        "pretrained_cfg": {
            "input_size": [3, 32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2],
            "tag": "x", "fixed_input_size": True,
        },
        "model_args": {"embed_dim": 32, "depth": 2, "num_heads": 2, "act_layer": "relu"},
    }  # fmt: skip
    yield "config.json of a folder", Reader(
        "net/config.json", _json(config), mutations.json_of(config),
        lambda folder: resolve(f"local-dir:{folder / 'net'}"), {},
    )  # fmt: skip


class Trap:
    """Unpickling makes a folder beside the working directory."""

    def __reduce__(self):
        import os

        return os.mkdir, ("../sprung",)


def _model_readers():
    card = ModelCard("test_resnet", ("a", "b"), 32, tta="flips")
    made = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    decision = {
        "format": "crossfold-decision/1", "class_names": ["a", "b"], "evidence": "holdout",
        "coverage": 0.9, "thresholds": [0.5, 0.25], "marginal": [False, True],
        "curve": [{"threshold": 0.5, "answered": 1.0, "accuracy": 0.9, "low": 0.8}],
        "costs": [[0, 1], [5, 0]],
    }  # fmt: skip
    bundle = bundle_files(card, made.state_dict()) | {"decision.json": _json(decision)}
    about = {
        "flavors": {"python_function": {
            "loader_module": "tracking.flavor", "data": "data/b", "code": "code", "env": "e.yaml",
        }},
        "metadata": {"class_names": ["a", "b"], "size": 32}, "model_id": "m-1",
        "mlflow_version": "3.17.2", "utc_time_created": "2026-11-26 12:00:00",
    }  # fmt: skip
    files = {"m/MLmodel": yaml.safe_dump(about).encode()}
    files |= {f"m/data/b/{name}": content for name, content in bundle.items()}
    mixture = {"format": "crossfold-mixture/1", "weights": [2, 1], "class_names": ["a", "b"]}
    mixed = {"m/MLmodel": files["m/MLmodel"], "m/data/b/model.json": json.dumps(mixture).encode()}
    for part in (0, 1):
        mixed |= {f"m/data/b/part-{part}/{name}": content for name, content in bundle.items()}
    pixels = np.zeros((1, 32, 32, 3), np.uint8)

    def read(folder):
        load_model(str(folder / "m"))[0].predict(pixels)

    def fetched(folder):
        with tempfile.TemporaryDirectory() as scratch:
            fetch_bundle(str(folder / "m"), Path(scratch))

    def card_of(folder):
        MixtureCard.read(folder / "m/data/b")

    unread = (ValueError, OSError)  # what `tracking.models` turns into one line
    for name, file, all_files, strategy, reading, allowed in (
        ("MLmodel", "m/MLmodel", files, mutations.yaml_of(about), fetched, ()),
        ("model.json", "m/data/b/model.json", files,
         mutations.json_of(json.loads(bundle["model.json"])), read, ()),
        ("decision.json", "m/data/b/decision.json", files, mutations.json_of(decision), read, ()),
        ("model.safetensors", "m/data/b/model.safetensors", files,
         mutations.safetensors_of(bundle["model.safetensors"]), read, ()),
        ("model.json of an ensemble", "m/data/b/model.json", mixed, mutations.json_of(mixture),
         card_of, unread),
    ):  # fmt: skip
        others = {other: content for other, content in all_files.items() if other != file}
        yield name, Reader(file, all_files[file], strategy, reading, others, allowed)


def readers():
    """All readers by name."""
    makers = (
        _image_readers, _array_readers, _table_readers, _hub_readers, _settings_readers,
        _document_readers, _weights_readers, _model_readers,
    )  # fmt: skip
    return {name: reader for maker in makers for name, reader in maker()}

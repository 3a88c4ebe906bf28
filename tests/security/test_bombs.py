"""Small files that would fill a memory or never end: refused before they are unpacked."""

import io
import json
import resource
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save

from folds.documents import DocumentError, read_yaml
from folds.errors import UserError
from folds.images import load_unlabelled
from folds.images.decode import MOST_PIXELS, UndecidedError, decode, header
from folds.model.bundle import ModelCard
from folds.model.predictor import Predictor
from folds.model.weights import load_pretrained
from folds.splits.manifest import SplitManifest
from tests.folds.images.encodings import encoded, marked
from tests.security.conftest import BASE

HUGE = 100_000
GIB = 2**30


@pytest.fixture
def little_memory():
    """At most 2 GiB more than now."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * GIB, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


pytestmark = pytest.mark.usefixtures("little_memory")


def chunk(kind, data):
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check


def png(width, height, colour=2):
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels)
            + chunk(b"IEND", b""))  # fmt: skip


def jpeg(width, height):
    content = encoded(marked(), "JPEG")
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]


def bmp(width, height):
    content = encoded(marked(), "BMP")
    return content[:18] + struct.pack("<ii", width, height) + content[26:]


def tiff(width, height):
    content = bytearray(encoded(marked(), "TIFF", compression="tiff_lzw"))
    (start,) = struct.unpack("<I", content[4:8])
    for entry in range(struct.unpack("<H", content[start : start + 2])[0]):
        place = start + 2 + 12 * entry
        tag = struct.unpack("<H", content[place : place + 2])[0]
        if tag in (256, 257):
            size = width if tag == 256 else height
            content[place : place + 12] = struct.pack("<HHII", tag, 4, 1, size)
    return bytes(content)


def webp(width, height):
    """The canvas of an animation: 24 bits a side, and no frame that fits."""
    content = bytearray(
        encoded(marked(), "WEBP", save_all=True, append_images=[marked().rotate(90)])
    )
    place = content.index(b"VP8X") + 12
    content[place : place + 6] = (
        struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    )
    return bytes(content)


def gif(width, height):
    return b"GIF89a" + struct.pack("<HH", min(width, 65535), min(height, 65535)) + b"\x80\0\0"


class TestImages:
    @pytest.mark.parametrize("make", [png, jpeg, bmp, tiff, webp, gif])
    def test_of_absurd_size_are_not_decoded(self, make, tmp_path, refused):
        side = 65_000 if make is jpeg else 16_000_000 if make is webp else HUGE
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "1.png").write_bytes(make(side, side))
        with pytest.raises(UserError, match="1 of 1 image files cannot be read") as why:
            load_unlabelled(str(tmp_path / "set"), size=32)
        assert header(tmp_path / "set" / "1.png") is None
        if make in (png, jpeg, bmp, tiff):
            assert "pixels, more than 100,000,000; make it smaller" in str(why.value)

    def test_at_the_limit_are_tried_and_above_it_are_not(self):
        assert header(io.BytesIO(png(10_000, 10_000))).size == (10_000, 10_000)
        with pytest.raises(UndecidedError, match=r"has 100,010,000 pixels, more than 100,000,000"):
            decode(io.BytesIO(png(10_001, 10_000)))
        assert MOST_PIXELS == 100_000_000

    @pytest.mark.parametrize("colour", [0, 2, 3, 6])
    def test_that_are_large_and_sound_are_decoded(self, colour):
        image = Image.new({0: "L", 2: "RGB", 3: "P", 6: "RGBA"}[colour], (9000, 9000))
        assert decode(io.BytesIO(encoded(image, "PNG", compress_level=1))).size == (9000, 9000)

    def test_of_very_many_pages_are_looked_at_once(self):
        """Pages that follow each other without end, or 100,000 of them: the second is enough."""
        first = encoded(marked(), "TIFF")
        (start,) = struct.unpack("<I", first[4:8])
        count = struct.unpack("<H", first[start : start + 2])[0]
        page, link = first[start : start + 2 + 12 * count], start + 2 + 12 * count
        content = bytearray(first)
        content[link : link + 4] = struct.pack("<I", len(content))
        for _ in range(100_000):
            content += page + struct.pack("<I", len(content) + len(page) + 4)
        assert header(io.BytesIO(bytes(content))).several
        loop = bytearray(first)
        loop[link : link + 4] = struct.pack("<I", start)
        header(io.BytesIO(bytes(loop)))

    def test_with_texts_that_unpack_to_gigabytes(self):
        text = b"Comment\0\0" + zlib.compress(bytes(200 * 2**20))
        content = png(8, 8)
        content = content[:33] + chunk(b"zTXt", text) * 3 + content[33:]
        header(io.BytesIO(content))


def npy(shape, descr="|u1", data=b""):
    file = io.BytesIO()
    head = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    file.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data)
    return file.getvalue()


def archive(path, kind=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", kind) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return path


LABELS = npy((6,), data=bytes([0, 1] * 3))
PIXELS = npy((6, 8, 8, 3), data=bytes(6 * 192))


class TestArchives:
    @pytest.mark.parametrize(
        "shape",
        ["(10**15,)", "(1000000000000000, 32, 32, 3)", "(-1, 8, 8, 3)", "(6, -8, -8, 3)",
         "(4294967296, 4294967296, 4294967296)", "(0, 99999999999999999999)",
         "(" + "1, " * 200 + ")", "(6.5,)", "('x',)", "[6]", "6", "(True, 8, 8, 3)"],
    )  # fmt: skip
    @pytest.mark.parametrize("name", ["images", "labels"])
    @pytest.mark.parametrize("stream", ["on", "off"])
    def test_that_claim_what_they_have_not(self, refused, here, shape, name, stream):
        members = {"images": PIXELS, "labels": LABELS, name: npy(shape, data=bytes(1152))}
        archive(here / "x.npz", **members)
        words = refused("distributed.cv", *BASE, "--data", "x.npz", "--stream", stream)
        assert words.startswith("error: --data x.npz: ")

    @pytest.mark.parametrize(
        "descr", ["<U1000000000", "|V8", "|O", "<M8[s]", "|S0", "<U0", "(1000,1000)u1"]
    )
    def test_of_types_that_are_none(self, refused, here, descr):
        archive(here / "x.npz", images=PIXELS, labels=npy((6,), descr, bytes(64)))
        assert "error: --data x.npz: " in refused("distributed.cv", *BASE, "--data", "x.npz")

    def test_that_unpack_to_far_more(self, refused, here):
        """Much of nothing in a megabyte, as images, as labels, and as what nobody reads."""
        zeros = npy((2**21, 8, 8, 3), data=bytes(2**21 * 192))
        archive(here / "x.npz", images=zeros, labels=LABELS)
        assert (here / "x.npz").stat().st_size < 2 * 2**20
        assert "would grow from" in refused("distributed.cv", *BASE, "--data", "x.npz")
        archive(here / "x.npz", images=PIXELS, labels=zeros)
        assert "would grow from" in refused("distributed.cv", *BASE, "--data", "x.npz")
        archive(here / "x.npz", images=PIXELS, unasked=zeros)
        assert "no array 'labels'" in refused("distributed.cv", *BASE, "--data", "x.npz")

    def test_that_are_packed_otherwise(self, refused, here):
        archive(here / "x.npz", zipfile.ZIP_BZIP2, images=PIXELS, labels=LABELS)
        assert "as numpy never does" in refused("distributed.cv", *BASE, "--data", "x.npz")

    def test_whose_size_is_a_lie(self, refused, here):
        """The directory of the archive says one size, its content has another."""
        content = bytearray(
            archive(here / "x.npz", zipfile.ZIP_STORED, images=PIXELS, labels=LABELS).read_bytes()
        )
        place = content.index(b"PK\x01\x02")
        content[place + 20 : place + 28] = struct.pack("<II", 2**31, 2**31)
        (here / "x.npz").write_bytes(content)
        assert "not a readable" in refused("distributed.cv", *BASE, "--data", "x.npz")

    def test_of_predictions(self, refused, here):
        chances = npy((10**9, 2), "<f4", bytes(48))
        ids = npy((6,), "<U1", bytes(24))
        archive(here / "oof.npz", ids=ids, labels=LABELS, probabilities=chances)
        assert "claims 8,000,000,000 bytes" in refused("folds.inspect", "--oof", "oof.npz")


class TestTables:
    def test_with_giant_cells(self, refused, here):
        rows = "".join(f"{n}.png,{n % 2}\n" for n in range(1000))
        for name in ("label", "path"):
            giant = f"{'x' * 10_001},a\n" if name == "path" else f"x.png,{'x' * 10_001}\n"
            (here / "x.csv").write_text("path,label\n" + rows + giant)
            words = refused("distributed.cv", *BASE, "--data", "x.csv")
            assert "10,001 characters; give each at most 10,000" in words or "not there" in words
            assert len(words) < 1000

    def test_of_few_bytes_and_many_rows(self, refused, here):
        """Parquet: one text, 40 million times, in a megabyte."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        column = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10**6, np.int8)), ["a" * 99])
        table = pa.table({"path": column, "label": column})
        with pq.ParquetWriter(here / "x.parquet", table.schema) as writer:
            for _ in range(40):
                writer.write_table(table)
        assert (here / "x.parquet").stat().st_size < 2 * 2**20
        words = refused("distributed.cv", *BASE, "--data", "x.parquet")
        assert "more than 536,870,912 bytes of cells" in words

    def test_with_one_long_name_among_many_rows(self, here):
        content = {"id": "i", "group": "g", "fold": [0]}
        images = [content | {"id": str(n), "fold": [n % 2]} for n in range(60_000)]
        images.append(content | {"id": "x" * 10_000})
        text = json.dumps({"format": "crossfold-splits/2", "images": images, "folds": 2,
                           "method": "x", "data": {}, "digest": ""})  # fmt: skip
        (here / "s.json").write_text(text)
        with pytest.raises(UserError, match="an id, group or site has 10,000 characters"):
            SplitManifest.read(str(here / "s.json"))


@pytest.mark.parametrize("folds", [10**12, 10**30, -1, 1, 0])
def test_splits_of_very_many_folds(refused, here, folds):
    images = [{"id": f"{n:07d}", "group": f"{n:07d}", "fold": [n % 2]} for n in range(10)]
    content = {"format": "crossfold-splits/2", "images": images, "folds": folds, "method": "x",
               "data": {}, "digest": "x"}  # fmt: skip
    (here / "s.json").write_text(json.dumps(content))
    refused("distributed.cv", *BASE, "--data", "digits", "--splits", "s.json")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
YAML = {
    "laughs": LAUGHS,
    "merged": "a: &a {x: 1}\n" + "".join(
        f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 99)}]}}\n"
        for old, new in zip("abcd", "bcde", strict=True)
    ),
    "circle": "a: &a [*a]\n",
    "circle of mappings": "a: &a {b: *a}\n",
    "deep": "a: " + "[" * 50_000,
    "deep and closed": "a: " + "[" * 400 + "]" * 400,
    "long number": "folds: " + "9" * 100_000,
    "long": "# " + "x" * 10**7,
    "date": "folds: 2026-99-99",
}  # fmt: skip


class TestDocuments:
    @pytest.mark.parametrize("kind", YAML)
    def test_of_yaml(self, refused, here, kind):
        (here / "x.yaml").write_text(YAML[kind])
        assert "--config x.yaml: not YAML" in refused("distributed.cv", "--config", "x.yaml")
        assert "x.yaml" in refused("distributed.tune", "--data", "digits", "--space", "x.yaml")
        assert "--augment" in refused("distributed.cv", "--augment", "x.yaml", "--plan")

    def test_of_yaml_with_harmless_aliases_are_read(self):
        assert read_yaml("a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}") == {
            "a": [1, 2], "b": [1, 2], "c": {"d": 1},
        }  # fmt: skip
        with pytest.raises(DocumentError):
            read_yaml(LAUGHS)

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 100_000, "\0", ""])
    def test_of_json(self, refused, here, text):
        (here / "s.json").write_text(text)
        refused("distributed.cv", *BASE, "--data", "digits", "--splits", "s.json")
        (here / "config.json").write_text(text)
        refused("distributed.cv", "--data", "digits", "--backbone", "local-dir:.", "--plan")


class TestWeights:
    def refused(self, path):
        with pytest.raises(UserError) as why:
            load_pretrained("test_byobnet", str(path))
        assert "\n" not in str(why.value)
        return str(why.value)

    def test_of_torch_that_grow(self, tmp_path):
        torch.save({"weight": torch.zeros(1)}, tmp_path / "plain.pt")
        with zipfile.ZipFile(tmp_path / "plain.pt") as plain:
            names = plain.namelist()
            with zipfile.ZipFile(tmp_path / "w.pt", "w", zipfile.ZIP_DEFLATED) as packed:
                for name in names:
                    zeros = bytes(GIB // 4) if name.endswith("/data/0") else plain.read(name)
                    packed.writestr(name, zeros)
        assert (tmp_path / "w.pt").stat().st_size < 2 * 2**20
        assert "would grow to" in self.refused(tmp_path / "w.pt")

    def test_of_torch_that_are_one_number_repeated(self, tmp_path):
        torch.save({"pos_embed": torch.zeros(1).expand(10**12)}, tmp_path / "w.pt")
        assert "does not fit" in self.refused(tmp_path / "w.pt")

    def test_of_positions_beyond_any_image(self, tmp_path):
        many = {"pos_embed": torch.zeros(1).expand(1, 10**14, 64),
                "patch_embed.proj.weight": torch.zeros(1).expand(64, 3, 16, 16)}  # fmt: skip
        torch.save(many, tmp_path / "w.pt")
        with pytest.raises(UserError, match="does not fit test_vit"):
            load_pretrained("test_vit", str(tmp_path / "w.pt"))

    @pytest.mark.parametrize(
        "head",
        [
            {"a": {"dtype": "F32", "shape": [10**15], "data_offsets": [0, 4 * 10**15]}},
            {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 0]}},
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]},
             "b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [4], "data_offsets": [16, 0]}},
            {"a": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "X", "shape": [4], "data_offsets": [0, 16]}},
            {"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}},
            [],
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("told", [None, 2**63, 0, 10**8])
    def test_safetensors_with_a_hostile_header(self, tmp_path, head, told):
        text = json.dumps(head).encode()
        size = len(text) if told is None else told
        (tmp_path / "w.safetensors").write_bytes(struct.pack("<Q", size) + text + bytes(16))
        self.refused(tmp_path / "w.safetensors")


class TestBundles:
    def refused(self, folder, changes, weights=None):
        card = {"format": "crossfold-model/3", "backbone": "test_resnet", "size": 32}
        card |= {"class_names": ["a", "b"]} | changes
        (folder / "model.json").write_text(json.dumps(card))
        content = save({"x": torch.zeros(1)}) if weights is None else weights
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises((ValueError, UserError)) as why:
            Predictor(folder, "cpu")
        assert "\n" not in str(why.value)

    @pytest.mark.parametrize(
        "changes",
        [
            {"size": 10**6}, {"size": -1}, {"size": 10**30}, {"size": "x"}, {"members": 10**12},
            {"members": 0}, {"temperature": 0}, {"temperature": "nan"}, {"levels": -1},
            {"head": {"layers": [10**9]}}, {"head": {"layers": [65536] * 101}},
            {"head": {"pool": "x"}}, {"tta": "100000"}, {"tta": 5}, {"class_names": 5},
            {"class_names": [1, 2]}, {"backbone": 5}, {"backbone": "no_such"}, {"more": 1},
            {"backbone": "vit_7b_patch16_dinov3"},  # 27 GB
            {"backbone": 'test_vit{"args": {"embed_dim": 60000, "depth": 400}}'},
            {"backbone": 'test_vit{"args": {"depth": 100000}}'},
            {"backbone": 'test_vit{"size": 1000000}'}, {"backbone": "test_vit{" + "[" * 10**5},
        ],
        ids=lambda changes: str(changes)[:40],
    )  # fmt: skip
    def test_that_ask_for_too_much(self, tmp_path, changes):
        self.refused(tmp_path, changes)

    def test_are_cards_that_can_be_written(self):
        for wrong in ({"size": 0}, {"members": 1001}, {"tta": "d6"}, {"backbone": "hf-hub:a/b"}):
            with pytest.raises(ValueError, match=r"."):
                ModelCard(**{"backbone": "test_resnet", "class_names": ("a",), "size": 32, **wrong})

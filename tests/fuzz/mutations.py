"""Damaged files: strategies that begin with sound ones, some of which know the format."""

import io
import json
import struct
import zipfile
import zlib
from copy import deepcopy

import yaml
from hypothesis import strategies as st

_EDGES = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1]
_FORMS = ["<B", "<H", ">H", "<I", ">I", "<Q", ">Q"]
_VALUES = [
    None, True, False, 0, -1, 1, 2, 10**5, 2**31, 2**63, 10**30, 10**400, -0.0, 1e-300, 1e308,
    float("inf"), float("nan"), "", "0", "x", "nan", "\0", "\n", "\x1b[31m", "../../x", "/etc",
    "\u202e", "\ud800", "<script>", "x" * 10_000, "hf-hub:a/b", "local-dir:/", "d4", "1e999",
    [], {}, [[]], {"": ""}, [None] * 3, list(range(2000)), {"op": "light"}, {"choice": [1]},
]  # fmt: skip
_TOKENS = [
    "&a ", "*a", "<<: ", "!!python/object/apply:os.mkdir [x]", "!!int ", "!!timestamp ", "!!set ",
    "? ", ": ", "- ", "{", "}", "[", "]", ",", ";", "'", '"', "#", "|", ">", "%", "@", "`", "\t",
    "\n", "\r", "\0", "\x1b", "\ufeff", "\u2028", "\ud800", "0x", "1:2:3", "2026-13-45", "9" * 5000,
    "[" * 3000, "=", "\\", "\x85", "a" * 9000, "\n---\n", "~", "é",
]  # fmt: skip


@st.composite
def damaged(draw, content, others=()):
    """Bytes with some flipped, overwritten, inserted, deleted, repeated, exchanged or cut off."""
    content = bytearray(content)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 5]))):
        place = draw(st.integers(0, len(content)) | st.integers(0, min(len(content), 100)))
        span = draw(st.integers(1, 64))
        act = draw(st.sampled_from(["flip", "edge", "insert", "delete", "repeat", "splice", "cut"]))
        if act == "flip" and place < len(content):
            content[place] ^= draw(st.integers(1, 255))
        elif act == "edge":
            form = draw(st.sampled_from(_FORMS))
            number = draw(st.sampled_from(_EDGES)) % 2 ** (8 * struct.calcsize(form))
            content[place : place + struct.calcsize(form)] = struct.pack(form, number)
        elif act == "insert":
            content[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif act == "delete":
            del content[place : place + span]
        elif act == "repeat":
            content[place:place] = content[place : place + span] * draw(st.sampled_from([1, 3, 50]))
        elif act == "splice" and others:
            other = draw(st.sampled_from(others))
            start = draw(st.integers(0, len(other)))
            content[place:] = other[start:]
        elif act == "cut":
            del content[place:]
    return bytes(content)


@st.composite
def any_of(draw, contents):
    """One of several sound contents, damaged."""
    return draw(damaged(draw(st.sampled_from(contents)), contents))


@st.composite
def text_of(draw, texts):
    """Text with tokens of YAML, CSV and JSON put in and pieces taken out; sometimes bytes."""
    if draw(st.integers(0, 3)) == 0:
        return draw(any_of([text.encode() for text in texts]))
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.sampled_from([1, 1, 2, 5]))):
        place, span = draw(st.integers(0, len(text))), draw(st.integers(0, 12))
        token = draw(st.sampled_from(_TOKENS) | st.text(max_size=4))
        text = text[:place] + token + text[place + span :]
    return text.encode("utf-8", "surrogatepass")


def _places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(one, (*path, key))


@st.composite
def values_of(draw, value):
    """A value of JSON some parts of which are replaced, gone or there twice."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        paths = list(_places(value))
        *above, last = draw(st.sampled_from(paths)) or (None,)
        if last is None:
            return deepcopy(draw(st.sampled_from(_VALUES)))
        holder = value
        for key in above:
            holder = holder[key]
        act = draw(st.sampled_from(["replace", "replace", "drop", "more", "nested"]))
        if act == "replace":
            other = draw(st.sampled_from(_VALUES) | st.text(max_size=5) | st.floats())
            holder[last] = deepcopy(other)
        elif act == "drop":
            del holder[last]
        elif act == "more" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8) | st.sampled_from(["format", "pretrained"]))] = 1
        elif act == "more":
            holder *= 2
        else:
            holder[last] = [holder[last]]
    return value


@st.composite
def json_of(draw, value):
    """A file of JSON, damaged in its values or in its letters."""
    if draw(st.integers(0, 3)) == 0:
        return draw(text_of([json.dumps(value)]))
    return json.dumps(draw(values_of(value))).encode()


@st.composite
def yaml_of(draw, value, texts=()):
    """A file of YAML, damaged in its values or in its letters."""
    if draw(st.booleans()):
        return draw(text_of([yaml.safe_dump(value), *texts]))
    changed = draw(values_of(value))
    text = yaml.dump(changed, allow_unicode=draw(st.booleans()), Dumper=yaml.SafeDumper)
    return text.encode("utf-8", "surrogatepass")


@st.composite
def zip_of(draw, content):
    """A zip archive, damaged in one of its members or as a whole."""
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(member, archive.read(member)) for member in archive.namelist()]
    chosen = draw(st.integers(0, len(members) - 1))
    kind = draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for number, (member, data) in enumerate(members):
            hit = number == chosen
            name = draw(st.sampled_from([member, "../" + member, "/x.npy"])) if hit else member
            archive.writestr(name, draw(damaged(data)) if hit else data)
    return file.getvalue()


@st.composite
def png_of(draw, contents):
    """A PNG, damaged in one of its chunks, whose checksum is then right; or as a whole."""
    content = draw(st.sampled_from(contents))
    if draw(st.integers(0, 3)) == 0:
        return draw(damaged(content, contents))
    chunks, place = [], 8
    while place < len(content):
        size = struct.unpack(">I", content[place : place + 4])[0]
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    chosen = draw(st.integers(0, len(chunks) - 1))
    kind, data = chunks[chosen]
    if kind == b"IDAT" and draw(st.booleans()):
        data = zlib.compress(draw(damaged(zlib.decompress(data))))
    else:
        data = draw(damaged(data))
    kinds = [
        b"IHDR",
        b"IDAT",
        b"tEXt",
        b"iTXt",
        b"zTXt",
        b"eXIf",
        b"acTL",
        b"fcTL",
        b"PLTE",
        b"tRNS",
    ]
    chunks[chosen] = (draw(st.sampled_from([kind, kind, *kinds])), data)
    return content[:8] + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@st.composite
def safetensors_of(draw, content):
    """A safetensors file, damaged in its header's values or as a whole."""
    if draw(st.booleans()):
        return draw(damaged(content))
    size = struct.unpack("<Q", content[:8])[0]
    head = draw(values_of(json.loads(content[8 : 8 + size])))
    text = json.dumps(head).encode()
    told = draw(st.sampled_from([len(text), len(text), len(text), *_EDGES]))
    return struct.pack("<Q", told % 2**64) + text + content[8 + size :]

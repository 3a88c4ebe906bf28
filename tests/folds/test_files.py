"""Files that are written whole or not at all."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.errors import RunError
from folds.files import (
    DamagedError,
    DoubtedFile,
    opened_json,
    output_file,
    read_sealed,
    read_values,
    replacing,
    seal,
    seal_holds,
    sealed_json,
    write_sealed,
    write_values,
    write_whole,
)

once = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
keys = st.text().filter(lambda key: key != "seal")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "x.json"
    write_whole(path, b"old")
    monkeypatch.setattr(type(path), "write_bytes", lambda *_: (_ for _ in ()).throw(OSError()))
    with pytest.raises(OSError, match=r"^$"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(tmp_path, monkeypatch):
    path, flushed = tmp_path / "x.json", []

    def fsync(handle):
        place = Path(f"/proc/self/fd/{handle}").resolve()
        flushed.append((place == tmp_path, path.exists() and path.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(path, b"old")
    write_whole(path, b"new")
    assert flushed == [(False, False), (True, b"old"), (False, b"old"), (True, b"new")]


def test_two_at_once_do_not_meet_and_leave_nothing_else(tmp_path):
    path = tmp_path / "cache" / "x.npz"
    with replacing(path) as one, replacing(path) as other:
        one.write_bytes(b"one, longer")
        other.write_bytes(b"other")
    assert path.read_bytes() == b"one, longer"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("size", [-1, None, 3, 99_999, 100_000, 2**60])
def test_a_file_is_not_asked_for_more_than_it_has(tmp_path, size):
    (tmp_path / "file").write_bytes(content := os.urandom(100_000))
    with DoubtedFile(tmp_path / "file") as file:
        assert file.read(size) == content[: 100_000 if size in (-1, None) else size]


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match=r"x\.html: cannot be written \(.+\)"),
        output_file(tmp_path / "file" / "x.html"),
    ):
        pass


@st.composite
def damaged(draw, content):
    """Content with a byte changed, a piece gone, or something behind it."""
    place = draw(st.integers(0, len(content) - 1))
    kind = draw(st.sampled_from(["changed", "cut", "longer", "without"]))
    if kind == "changed":
        return (
            content[:place]
            + bytes([content[place] ^ draw(st.integers(1, 255))])
            + content[place + 1 :]
        )
    if kind == "cut":
        return content[:place]
    if kind == "longer":
        return content + draw(st.binary(min_size=1, max_size=9))
    return content[:place] + content[place + draw(st.integers(1, 9)) :]


class TestSeals:
    @once
    @given(content=st.binary(), data=st.data())
    def test_damage_to_a_file_is_found(self, tmp_path, content, data):
        path = tmp_path / "x"
        write_sealed(path, content)
        assert read_sealed(path) == content
        assert seal_holds(path)
        path.write_bytes(data.draw(damaged(path.read_bytes())))
        with pytest.raises(DamagedError, match="x: damaged, its checksum"):
            read_sealed(path)
        assert not seal_holds(path)

    @once
    @given(values=st.dictionaries(keys, json_values), data=st.data())
    def test_damage_to_json_is_found_or_does_not_matter(self, values, data):
        """Where a blank was changed, or 1e5 became 1E5, the values are the same."""
        text = sealed_json(values)
        assert json.loads(text)["seal"]
        truth = json.dumps(opened_json(text, "x"))
        assert truth == json.dumps(json.loads(json.dumps(values)))
        try:
            found = opened_json(data.draw(damaged(text.encode())), "x")
        except DamagedError:
            return
        assert json.dumps(found) == truth

    def test_a_large_file_can_be_sealed_where_it_is(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(bytes(3 * 2**20 + 5))
        seal(path)
        assert seal_holds(path)
        assert read_sealed(path) == bytes(3 * 2**20 + 5)

    def test_the_file_before_is_kept(self, tmp_path):
        path, before = tmp_path / "x", tmp_path / "before"
        for content in (b"1", b"2", b"3"):
            write_sealed(path, content, before=before)
        assert (read_sealed(path), read_sealed(before)) == (b"3", b"2")


class TestValues:
    @pytest.mark.parametrize("damage", [b"", b"{}", b"{", None])
    def test_the_values_before_stand_in(self, tmp_path, damage):
        path = tmp_path / "x.json"
        write_values(path, {"a": 1})
        for values in ({"a": 1}, {"a": 2}):
            before = read_values(path)
            write_values(path, values)
            assert read_values(path) == values
            path.unlink() if damage is None else path.write_bytes(damage)
            assert read_values(path) == before
            write_values(path, values)

    def test_without_any_it_is_an_error(self, tmp_path):
        path = tmp_path / "x.json"
        with pytest.raises(FileNotFoundError):
            read_values(path)
        write_values(path, {"a": 1})
        for file in tmp_path.iterdir():
            file.write_bytes(b"{}")
        with pytest.raises(DamagedError, match=r"x\.json: damaged"):
            read_values(path)

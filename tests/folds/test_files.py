"""Files that are written whole or not at all."""

import os
from pathlib import Path

import pytest

from folds.errors import RunError
from folds.files import output_file, replacing, write_whole


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


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(RunError, match=r"x\.html: cannot be written \(.+\)"),
        output_file(tmp_path / "file" / "x.html"),
    ):
        pass

import pytest

from distributed.data import memory


@pytest.mark.parametrize(
    ("most", "used", "expected"),
    [("1000", "400", 600), ("1000", "1200", 0), ("max", "400", None), (None, None, None)],
)
def test_a_container_bounds_what_is_free(tmp_path, monkeypatch, most, used, expected):
    for name, content in (("most", most), ("used", used)):
        if content is not None:
            (tmp_path / name).write_text(content)
    monkeypatch.setattr(memory, "_LIMITS", ())
    free = memory.available_memory()
    assert free > 10**6
    limits = [(str(tmp_path / "most"), str(tmp_path / "used"))]
    monkeypatch.setattr(memory, "_LIMITS", limits)
    found = memory.available_memory()
    assert found > 10**6 if expected is None else found == expected

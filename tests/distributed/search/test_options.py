import pytest

from distributed.search.options import read_space, seconds
from folds.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1h1m1s", 3661)],
)
def test_times(text, expected):
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "0", "soon", "-5", "1.5h", "30 m", "m", "1m1h"])
def test_no_times(text):
    with pytest.raises(UserError, match="must be a time above 0"):
        seconds(text)


def test_a_space_is_a_file_or_one_of_ours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("ema: {choice: [0, 0.9]}")
    assert read_space("own.yaml") == {"ema": {"choice": [0, 0.9]}}
    assert "head_layers" in read_space("head")


@pytest.mark.parametrize("content", [b"a: [", b"\xff\xfe"])
def test_what_is_no_yaml_is_refused(tmp_path, content):
    (tmp_path / "bad.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"bad.yaml: (not YAML|is not text)"):
        read_space(str(tmp_path / "bad.yaml"))

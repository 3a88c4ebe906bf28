import sys

import pytest
from PIL import Image

from folds import preview
from folds.errors import UserError


class TestCommand:
    def run(self, monkeypatch, *argv):
        monkeypatch.setattr(sys, "argv", ["preview", *argv])
        preview.main()

    def test_writes_a_picture(self, monkeypatch, tmp_path, capsys):
        out = tmp_path / "sheet.png"
        self.run(
            monkeypatch, "--data", "digits", "--augment", "light+mixup", "--columns", "2",
            "--out", str(out),
        )  # fmt: skip
        with Image.open(out) as picture:
            assert f"{picture.width} x {picture.height}" in capsys.readouterr().out

    @pytest.mark.parametrize(
        ("argv", "message"),
        [
            (["--augment", "ligth"], "--augment 'ligth': no policy.*nearest: light"),
            (["--rows", "0"], "--rows 0: must be 1 or more"),
            (["--out", "sheet.txt"], "--out sheet.txt: give a file that ends in .png or .jpg"),
            (["--data", "none.npz"], "--data none.npz"),
            (["--out", "no/where.png"], "--out no/where.png: no folder .*/no; make it"),
        ],
    )
    def test_refuses_in_one_line(self, monkeypatch, argv, message):
        with pytest.raises(UserError, match=message):
            self.run(monkeypatch, *argv)

    def test_a_broken_file_has_a_remedy_that_the_command_has(self, monkeypatch, tmp_path, capsys):
        for name in ("cat/0.png", "cat/1.png", "dog/0.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (12, 12)).save(tmp_path / name)
        (tmp_path / "cat" / "1.png").write_bytes(b"")
        asked = ("--data", str(tmp_path), "--out", str(tmp_path / "sheet.png"))
        with pytest.raises(UserError, match=r"1 of 3 .*leave them out with --skip-broken"):
            self.run(monkeypatch, *asked)
        self.run(monkeypatch, *asked, "--skip-broken")
        assert "notice: 1 unreadable file left out: cat/1.png" in capsys.readouterr().err

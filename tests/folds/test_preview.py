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
            (["--data", "digits", "--out", "no/where.png"], "--out no/where.png: "),
        ],
    )
    def test_refuses_in_one_line(self, monkeypatch, argv, message):
        with pytest.raises(UserError, match=message):
            self.run(monkeypatch, *argv)

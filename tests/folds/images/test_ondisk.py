import numpy as np
import pytest
from PIL import Image

from folds.config import DataConfig
from folds.errors import UserError
from folds.files import cache_folder
from folds.images import load, ondisk
from folds.images.pixelfile import PixelFile


@pytest.fixture
def tree(tmp_path, make_images):
    """Class folders of PNG files, one of which is broken."""
    images = make_images((9, 8))
    for row, (label, pixels) in enumerate(zip(images.labels, images.pixels, strict=True)):
        path = tmp_path / "tree" / f"class{label}" / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "tree/class0/broken.png").write_bytes(b"no image")
    return tmp_path / "tree"


@pytest.fixture
def archive(tmp_path, make_images):
    images = make_images((9, 8))
    np.savez(tmp_path / "set.npz", images=images.pixels, labels=images.labels)
    return tmp_path / "set.npz"


@pytest.mark.parametrize("kind", ["tree", "archive"])
@pytest.mark.parametrize("limit", [None, 8])
def test_it_is_the_same_set_in_a_file(request, monkeypatch, kind, limit):
    monkeypatch.setattr(ondisk, "MOST", 0)
    config = DataConfig(data=str(request.getfixturevalue(kind)), limit=limit, skip_broken=True)
    with ondisk.opened(config, seed=3, largest=64) as images:
        assert isinstance(images.pixels, PixelFile)
        wanted = load(config, seed=3, largest=64)
        assert images.digest == wanted.digest
        assert images.notices == wanted.notices
        assert list(cache_folder().glob("inspect-*"))
    assert not list(cache_folder().glob("inspect-*"))


def test_few_images_stay_in_memory(archive):
    with ondisk.opened(DataConfig(data=str(archive)), seed=0, largest=64) as images:
        assert isinstance(images.pixels, np.ndarray)


def test_broken_files_are_refused_and_nothing_is_left(tree, monkeypatch):
    monkeypatch.setattr(ondisk, "MOST", 0)
    config = DataConfig(data=str(tree))
    with (
        pytest.raises(UserError, match="1 of 18 image files cannot be read"),
        ondisk.opened(config, seed=0, largest=64),
    ):
        pass
    assert not list(cache_folder().glob("inspect-*"))

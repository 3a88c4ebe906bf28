"""Images that change while a run is interrupted: it is refused, and what has changed is named."""

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.distributed.test_end_to_end import python
from tests.faults.interrupted import epochs, flags, interrupt

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    """A folder with images, and a run on them that was interrupted."""
    folder = tmp_path_factory.mktemp("images")
    digits = load_digits()
    for number in range(60):
        image = Image.fromarray((digits.images[number] * 15).astype(np.uint8)).resize((32, 32))
        place = folder / "digits" / f"class {digits.target[number] % 2}"
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number:02d}.png")
    argv = flags("--data", "digits/")
    interrupt(folder, lambda: len(epochs(folder, 0)) > 1, *argv)
    return folder


def refused(folder):
    ran = python(folder, "distributed.cv", "--resume")
    assert ran.returncode == 2, ran.stdout
    (line,) = ran.stderr.splitlines()
    return line


def test_a_run_is_not_resumed_on_other_images_and_says_which(cut):
    some = sorted((cut / "digits").rglob("*.png"))
    kept = {path: path.read_bytes() for path in some[:3]}
    some[0].unlink()
    Image.new("RGB", (32, 32), "red").save(some[1])
    added = some[2].with_name("new.png")
    some[2].rename(added)
    line = refused(cut)
    names = [str(path.relative_to(cut / "digits")) for path in (*some[:3], added)]
    assert f"1 image added ({names[3]})" in line
    assert f"2 images removed ({names[0]}, {names[2]})" in line
    assert f"1 image changed ({names[1]})" in line
    assert "since the run began; restore what was there, or start a new run" in line
    added.unlink()
    for path, content in kept.items():
        path.write_bytes(content)
    other = some[0].parent.with_name("class 1") / some[0].name
    some[0].rename(other)  # the path is the id
    assert f"1 image removed ({names[0]})" in refused(cut)
    other.rename(some[0])
    ran = python(cut, "distributed.cv", "--resume")
    assert ran.returncode == 0, ran.stderr

"""What `pip install` brings: built from here, installed elsewhere, run there."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("distributed", "folds", "recipes", "tracking")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def quietly(*command, **how):
    done = subprocess.run(command, capture_output=True, text=True, **how)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the sdist of this source, and the wheel that is made from that."""
    folder, source = (
        tmp_path_factory.mktemp("dist"),
        tmp_path_factory.mktemp("source") / "crossfold",
    )
    named = ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md")
    source.mkdir()
    for name in named:
        shutil.copy(ROOT / name, source / name)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    quietly(sys.executable, "-m", "build", "--outdir", folder, source)
    return folder


@pytest.fixture(scope="module")
def there(built, tmp_path_factory):
    """``bin`` of an environment with the wheel, and with what it needs from this one's."""
    place = tmp_path_factory.mktemp("there") / "venv"
    quietly(sys.executable, "-m", "venv", place)
    (packages,) = place.glob("lib/python*/site-packages")
    # a plain line: the .pth files in there, an editable install's too, are not read
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (wheel,) = built.glob("*.whl")
    quietly(place / "bin" / "pip", "install", "--no-deps", "--force-reinstall", wheel)
    return place / "bin"


def test_every_file_of_the_packages_is_in_the_wheel(built):
    (wheel,) = built.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for name in PACKAGES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= inside
    rest = {name for name in inside - wanted if ".dist-info/" not in name}
    assert not rest
    assert any(name.endswith("licenses/LICENSE") for name in inside)


def test_the_sdist_has_what_the_wheel_is_made_of(built):
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "recipes/demo.yaml"} <= names


def test_it_is_used_without_its_source(there, tmp_path):
    where = "import folds, distributed, tracking, recipes; print(folds.__file__)"
    found = quietly(there / "python", "-c", where, cwd=tmp_path)
    assert Path(found.strip()).is_relative_to(there.parent)
    version = quietly(there / "crossfold", "--version", cwd=tmp_path)
    assert version.startswith("crossfold 0.")


def test_a_run_a_promotion_and_predictions_elsewhere(there, tmp_path):
    command = there / "crossfold"
    said = quietly(
        command, "cv", "--data", "digits", "--limit", "200", "--folds", "2", "--backbone",
        "test_resnet", "--weights", "none", "--stages", "1:1:1e-3", "--shift", "off",
        "--output", "run", cwd=tmp_path,
    )  # fmt: skip
    assert "registered" in said + (tmp_path / "run" / "report.html").read_text()
    quietly(command, "promote", "--model-name", "crossfold", cwd=tmp_path)
    quietly(command, "predict", "--data", "digits", "--out", "found.csv", cwd=tmp_path)
    assert len((tmp_path / "found.csv").read_text().splitlines()) > 1000


@pytest.mark.parametrize("name", ["tune", "doctor", "inspect", "preview", "compare", "export"])
def test_every_command_says_what_it_takes(there, tmp_path, name):
    assert "usage:" in quietly(there / "crossfold", name, "--help", cwd=tmp_path)


def test_dask_in_the_same_environment_is_refused_whichever_came_last(built, there, tmp_path):
    # the last test: it spoils the environment
    def refused(*command):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith("error: dask's package 'distributed' "), done.stderr
        assert len(done.stderr.strip().splitlines()) == 1

    pip = (there / "python", "-m", "pip", "install")
    quietly(*pip, "--ignore-installed", "distributed")
    refused(there / "crossfold", "cv", "--help")
    refused(there / "python", "-m", "distributed.cv", "--help")
    quietly(*pip, "--no-deps", "--force-reinstall", *built.glob("*.whl"))
    refused(there / "crossfold", "cv", "--help")
    refused(there / "python", "-m", "distributed.cv", "--help")
    refused(there / "python", "-c", "import distributed")

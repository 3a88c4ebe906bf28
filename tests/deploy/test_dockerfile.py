"""The image: linted, and what its steps do tried without a builder."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.deploy.tools import tool

ROOT = Path(__file__).parents[2]
PATH = ROOT / "deploy" / "Dockerfile"


def steps(word):
    """Arguments of all instructions of a kind, each on one line."""
    text = re.sub(r"\\\n\s*", "", PATH.read_text(encoding="utf-8"))
    return [line.removeprefix(f"{word} ") for line in text.splitlines() if line.startswith(word)]


def linted(path):
    return subprocess.run([tool("hadolint"), str(path)], capture_output=True, text=True)


def test_hadolint_finds_nothing():
    found = linted(PATH)
    assert found.returncode == 0, found.stdout


def test_hadolint_is_alive(tmp_path):
    broken = tmp_path / "Dockerfile"
    broken.write_text(
        PATH.read_text().replace("--no-cache-dir ", "").replace("3.11-slim", "latest")
    )
    found = linted(broken)
    assert found.returncode == 1
    assert "DL3042" in found.stdout
    assert "DL3007" in found.stdout


def test_nobody_is_root_and_the_number_is_the_manifests():
    assert steps("USER") == ["1000"]
    assert any("useradd --uid 1000 " in step for step in steps("RUN"))


def test_all_packages_are_installed_by_their_hashes():
    for step in steps("RUN"):
        if "pip install" in step:
            assert "--require-hashes -r requirements.lock" in step or "--no-deps" in step


def locked():
    """Versions by name, of a file in which each is followed by its hashes."""
    lines = (ROOT / "deploy" / "requirements.lock").read_text().splitlines()
    pins = [line.partition(";")[0].rstrip(" \\") for line in lines if line[:1].isalpha()]
    hashes = sum("--hash=sha256:" in line for line in lines)
    assert hashes >= len(pins)
    return {Requirement(pin).name.replace("_", "-").lower(): Requirement(pin) for pin in pins}


def test_what_the_project_needs_is_locked():
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = locked()
    for requirement in map(Requirement, needed):
        (pin,) = pins[requirement.name].specifier
        assert requirement.specifier.contains(pin.version), requirement


def test_locked_versions_are_those_that_are_tested():
    pins = locked()
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#") and (own := pins.get(Requirement(line).name.lower())):
            assert own.specifier == Requirement(line).specifier, "run `make lock`"


@pytest.mark.parametrize("name", ["folds", "tracking", "distributed", "recipes"])
def test_the_code_is_copied_and_not_ignored(name):
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert f"{name} {name}" in steps("COPY")
    assert f"!{name}" in ignored


def test_every_file_that_is_copied_is_there_and_sent_to_the_builder():
    allowed = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    for step in steps("COPY"):
        *sources, _ = step.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert source in allowed, source


def test_python_is_one_that_the_project_takes():
    (image,) = steps("FROM")
    version = image.removeprefix("python:").removesuffix("-slim")
    assert version == "3.11"
    assert f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text()

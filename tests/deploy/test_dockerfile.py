"""The image: linted, and what its steps do tried without a builder."""

import re
import subprocess
import sys
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


def test_all_packages_are_installed_with_the_constraints():
    for step in steps("RUN"):
        if "pip install" in step:
            assert "-c constraints.txt" in step or "--no-deps" in step


def test_what_is_installed_first_is_what_the_project_needs(tmp_path):
    (step,) = [step for step in steps("RUN") if "tomllib" in step]
    program = re.search(r'python -c "(.*?)" > needs.txt', step)[1]
    ran = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "{program}"'], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert [str(Requirement(line)) for line in ran.stdout.splitlines()] == [
        str(Requirement(one)) for one in needed
    ]


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

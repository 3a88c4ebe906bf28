"""The one name of all commands."""

import importlib
import subprocess
import sys

import pytest

import folds
from folds import crossfold


def run(monkeypatch, capsys, *words):
    """Exit status and output of ``crossfold`` in this process."""
    monkeypatch.setattr(sys, "argv", ["crossfold", *words])
    try:
        crossfold.main()
        status = 0
    except SystemExit as end:
        status = end.code
    return status, capsys.readouterr()


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_what_there_is_is_told(monkeypatch, capsys, words):
    status, told = run(monkeypatch, capsys, *words)
    assert status == 0
    assert all(f"  {name} " in told.out for name in crossfold.COMMANDS)
    assert max(map(len, told.out.splitlines())) <= 80


def test_the_version_is_that_of_the_package(monkeypatch, capsys):
    assert run(monkeypatch, capsys, "--version")[1].out == f"crossfold {folds.__version__}\n"


def test_a_word_that_is_no_command_is_refused_with_the_nearest(monkeypatch, capsys):
    status, told = run(monkeypatch, capsys, "prodict", "--data", "x")
    assert status == 2
    assert told.err.startswith("error: crossfold prodict: is no command; nearest: predict")


@pytest.mark.parametrize("name", crossfold.COMMANDS)
def test_each_is_a_module_with_a_command(name):
    module = importlib.import_module(crossfold.COMMANDS[name][0])
    assert callable(module.main)


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("predict", "--data", "nowhere.csv", "--abstain", "2"), 2, "error: --abstain 2.0: must"),
        (("cv", "--folds", "1"), 2, "--folds"),
        (("compare", "--help"), 0, "usage: python -m tracking.compare"),
    ],
)
def test_it_does_what_the_module_does(tmp_path, words, status, told):
    command = "from folds.crossfold import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == status
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr

"""Commands with hostile files, in this process."""

import importlib
import os
import sys

import pytest

from distributed import cluster
from folds import cli

BASE = ("--weights", "none", "--backbone", "test_resnet", "--stages", "1:1:1e-3", "--plan")


class Trap:
    """Unpickling it makes the folder `sprung` where the command runs."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)
    for name in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    # these are for a process of their own
    monkeypatch.setattr(cluster, "set_environment", lambda address: [])
    monkeypatch.setattr(cluster.Starter, "begin", lambda self: None)
    return tmp_path


@pytest.fixture
def refused(here, monkeypatch, capsys):
    """Run a command that must end with status 2 and one line, which it gives; nothing else ran."""

    def call(module, *argv):
        monkeypatch.setattr(sys, "argv", [module, *map(str, argv)])
        status = cli.run(importlib.import_module(module).main)
        lines = capsys.readouterr().err.rstrip("\n").split("\n")
        assert (status, len(lines)) == (2, 1), lines
        assert lines[0].startswith("error: ")
        assert lines[0].isprintable()
        assert not (here / "sprung").exists()
        return lines[0]

    return call

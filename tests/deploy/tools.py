"""Programs that wheels bring, beside the interpreter of the tests."""

import shutil
import sys
from pathlib import Path

import pytest


def tool(name):
    """The path of a program."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: pip install -e .[test]")
    return found

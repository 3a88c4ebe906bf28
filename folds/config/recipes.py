"""What ``--recipe`` may name: whole configurations, YAML files of the package `recipes`."""

from importlib.resources import as_file, files
from typing import Any

from folds.config import read_yaml
from folds.errors import UserError, nearest


def names() -> list[str]:
    """Names of all recipes, in alphabetical order."""
    entries = (entry.name for entry in files("recipes").iterdir())
    return sorted(name.removesuffix(".yaml") for name in entries if name.endswith(".yaml"))


def read(name: str) -> dict[str, Any]:
    """Read the settings of a recipe, by flag name.

    Raises
    ------
    UserError
        There is no such recipe.
    """
    if name not in names():
        near = nearest(name, names()) or f"; there are {', '.join(names())}"
        raise UserError(f"--recipe {name}: no such recipe{near}")
    with as_file(files("recipes") / f"{name}.yaml") as path:
        return read_yaml(str(path))


def listing() -> str:
    """A line for each recipe: its name, and what the file says first about it."""
    width = max(map(len, names()))
    lines = []
    for name in names():
        text = (files("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
        lines.append(f"{name:{width}}  {text.splitlines()[0].removeprefix('# ')}")
    return "\n".join(lines)

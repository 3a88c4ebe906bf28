"""Reading YAML and JSON of others: plain values, no more of them than the file has room for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

LARGEST_YAML = 2**17  # bytes; settings, policies and spaces are some lines
_MOST_VALUES = 100_000  # of a YAML file, with what its aliases repeat
_DEEPEST = 100  # lists and mappings in one another


class DocumentError(ValueError):
    """Not what it should be; one line says why."""


def read_yaml(text: str, most: int = LARGEST_YAML) -> Any:
    """Plain values from YAML; tags that would make objects are refused.

    Parameters
    ----------
    most : int
        Characters that it may have.

    Raises
    ------
    DocumentError
        It is not YAML, too long or too deep, or its aliases repeat too much or themselves.
    """
    if len(text) > most:
        raise DocumentError(f"has {len(text):,} characters, more than {most:,}")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, 0)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise DocumentError(" ".join(str(error).split())) from None
    except RecursionError:
        raise DocumentError("has too many lists in one another") from None
    except DocumentError:
        raise
    except (ValueError, OverflowError, TypeError, LookupError, AttributeError) as error:
        # dates such as 2026-99-99, numbers of thousands of digits, tags that their value belies
        raise DocumentError(f"holds a value that is none ({error})") from None


def _count(node: yaml.Node, sizes: dict[int, int], depth: int) -> int:
    """Values of a node and of all below, each alias as what it stands for."""
    if depth > _DEEPEST:
        raise DocumentError(f"has more than {_DEEPEST} lists in one another")
    if id(node) not in sizes:
        sizes[id(node)] = _MOST_VALUES + 1  # what holds itself has no end
        sizes[id(node)] = 1 + sum(_count(inner, sizes, depth + 1) for inner in _inner(node))
    if sizes[id(node)] > _MOST_VALUES:
        raise DocumentError(
            f"holds more than {_MOST_VALUES:,} values, those that aliases (*) repeat with them"
        )
    return sizes[id(node)]


def _inner(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def read_yaml_file(path: Path, most: int = LARGEST_YAML) -> Any:
    """As `read_yaml`, from a file of UTF-8.

    Raises
    ------
    OSError
        It cannot be read.
    DocumentError
        See `read_yaml`; or it is too large or not text.
    """
    if (size := path.stat().st_size) > most:
        raise DocumentError(f"has {size:,} bytes, more than {most:,}")
    try:
        return read_yaml(path.read_text(encoding="utf-8"), most)
    except UnicodeDecodeError:
        raise DocumentError("is not text (UTF-8)") from None


def read_json(text: str) -> Any:
    """Plain values from JSON.

    Raises
    ------
    DocumentError
        It is not JSON, or too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise DocumentError("has too many lists in one another") from None
    except ValueError as error:
        raise DocumentError(" ".join(str(error).split())) from None


def read_json_file(path: Path) -> Any:
    """As `read_json`, from a file of UTF-8; raises OSError, too."""
    try:
        return read_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise DocumentError("is not text (UTF-8)") from None

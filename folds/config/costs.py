"""``--costs``: what it costs to take one class for another, from a YAML file."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from folds.documents import DocumentError, read_json, read_yaml_file
from folds.errors import reason
from folds.text import one_line, shortened

_MOST = 1e9


def canonical(value: Any) -> str:
    """Read costs from a file, or from what this returned, as JSON; empty where there are none.

    Parameters
    ----------
    value : str, mapping or None
        A YAML file, or its content: ``{true class: {predicted class: cost}}``.

    Raises
    ------
    ValueError
        It cannot be read, has another form, or a cost is no number from 0 to a thousand million.
    """
    if value is None or value == "":
        return ""
    if isinstance(value, str):
        value = read_json(value) if value.startswith("{") else _read(value)
    if not isinstance(value, Mapping) or not all(isinstance(v, Mapping) for v in value.values()):
        raise ValueError("must say {true class: {predicted class: cost}}, as 'ig: {basophil: 5}'")
    rows = {
        str(true): {str(other): _cost(true, other, cost) for other, cost in row.items()}
        for true, row in value.items()
    }
    return json.dumps(rows, ensure_ascii=False)


def _read(path: str) -> Any:
    try:
        return read_yaml_file(Path(path))
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror}); give a YAML file") from None
    except DocumentError as error:
        raise ValueError(f"is not YAML: {reason(error)}") from None


def _cost(true: Any, other: Any, cost: Any) -> float:
    number = isinstance(cost, int | float) and not isinstance(cost, bool)
    if not number or not math.isfinite(cost) or not 0 <= cost <= _MOST:
        where = one_line(f"{true}: {other}")
        raise ValueError(
            f"{where}: {shortened(repr(cost))} must be a number from 0 to {_MOST:,.0f}"
        )
    return float(cost)

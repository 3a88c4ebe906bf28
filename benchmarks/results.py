"""``results.json``: the raw runs of every row, with what they were measured on."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.sides import Round
from folds.errors import UserError
from folds.files import write_whole

FORMAT = "crossfold-benchmarks/1"


@dataclass(frozen=True)
class Entry:
    """A measured row.

    Parameters
    ----------
    what : str
        What was timed, in the sizes that it was timed with.
    sides : dict of str to str
        Labels of the commands, by name.
    date : str
        ISO 8601.
    hardware, versions : dict of str to str
        Of `benchmarks.machine`.
    runs : list of dict
        Numbers by command, a run each.
    """

    what: str
    sides: dict[str, str]
    date: str
    hardware: dict[str, str]
    versions: dict[str, str]
    runs: list[Round]


Results = dict[str, Entry]  # by "cpu/ROW" or "gpu/ROW"


def read(path: Path) -> Results:
    """Read the rows of a file; none if there is no file.

    Raises
    ------
    UserError
        It is not a ``results.json`` of this format.
    """
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}")
        return {name: Entry(**entry) for name, entry in content["rows"].items()}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a {FORMAT} file ({error!r}); move it away") from None


def write(path: Path, results: Results) -> None:
    """Write rows; a reader never sees half a file."""
    rows = {name: asdict(entry) for name, entry in sorted(results.items())}
    text = json.dumps({"format": FORMAT, "rows": rows}, indent=1) + "\n"
    write_whole(path, text.encode())


def merged(old: Results, new: Results) -> Results:
    """Rows of both; a row that was measured again replaces the older one with all its runs."""
    return old | new

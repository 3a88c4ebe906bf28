"""Finding a data set of the Hugging Face hub in a folder: its parts, and the files of each.

A data set is a table: a column has images, as the bytes of a file each, another their labels.
Either what ``save_to_disk`` of the package ``datasets`` writes (Arrow streams beside a
``state.json``), or Parquet files as on the hub, ``data/train-00000-of-00002.parquet``.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from folds.documents import DocumentError, read_json_file
from folds.errors import UserError, listed, reason
from folds.files import is_file, is_folder

TEST = "test"
_TRAIN = ("train", "validation", "valid", "val", "dev")
_PARQUET = re.compile(r"(?P<part>.+)-\d{5}-of-\d{5}(-[0-9a-f]+)?\.parquet")
_DICT, _INFO, _STATE = "dataset_dict.json", "dataset_info.json", "state.json"

Parts = Mapping[str, Sequence[Path]]


def parts_of(folder: Path) -> dict[str, list[Path]]:
    """The parts of a data set and their files; a part without a name is called "".

    Returns
    -------
    dict of str to list of Path
        Empty where the folder is no such data set.

    Raises
    ------
    UserError
        It is one, and damaged.
    """
    if not is_folder(folder):
        return {}
    if is_file(folder / _DICT):
        names = _described(folder / _DICT).get("splits")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"--data {folder}: {_DICT} names no splits; save the data set anew")
        return {name: _arrow_files(folder / name) for name in names}
    if is_file(folder / _STATE) and is_file(folder / _INFO):
        return {"": _arrow_files(folder)}
    parts: dict[str, list[Path]] = {}
    for place in (folder, folder / "data"):
        for path in sorted(place.glob("*.parquet")):
            if match := _PARQUET.fullmatch(path.name):
                parts.setdefault(match["part"], []).append(path)
    return parts


def trained_on(parts: Parts) -> Parts:
    """Those parts that are trained on: the only one; train and validation; or else all but test."""
    if len(parts) == 1:
        return parts
    usual = {name: parts[name] for name in _TRAIN if name in parts}
    return usual or {name: files for name, files in parts.items() if name != TEST}


def _arrow_files(folder: Path) -> list[Path]:
    """The files of a part, as its state names them."""
    try:
        names = [str(one["filename"]) for one in _described(folder / _STATE)["_data_files"]]
    except (KeyError, TypeError):
        raise UserError(
            f"--data {folder}: {_STATE} names no files; save the data set anew"
        ) from None
    files = [folder / Path(name).name for name in names]
    missing = [file.name for file in files if not is_file(file)]
    if missing:
        raise UserError(f"--data {folder}: {listed(missing)} of {_STATE} is not there; copy all")
    return files


def _described(path: Path) -> dict[str, Any]:
    try:
        content = read_json_file(path)
    except (OSError, DocumentError) as error:
        raise UserError(f"--data {path}: cannot be read ({reason(error)})") from None
    return content if isinstance(content, dict) else {}

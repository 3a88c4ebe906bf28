"""Reading ``summary.json``, also as earlier versions wrote it."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from folds.documents import read_json_file
from folds.errors import UserError, reason
from folds.text import one_line
from tracking.summary import Summary

_NEW = ("date", "scored", "class_images", "groups", "software")  # what format 1 did not tell


def read_summary(path: Path, source: str | None = None) -> Summary:
    """Read a file of format 2, or of format 1 as format 2 has it.

    Parameters
    ----------
    source : str, optional
        What a message calls the file; default: its path.

    Raises
    ------
    UserError
        It cannot be read, is of another format, or lacks something.
    """
    try:
        content = read_json_file(path)
        if content["format"] == "crossfold-summary/1":
            _upgrade(content)
        return Summary.model_validate(content)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{source or path}: not of format crossfold-summary/2 or /1 ({_reason(error)}); give "
            "what a finished run wrote"
        ) from None


def _upgrade(content: dict[str, Any]) -> None:
    """Bring the content of a file from format 1 to 2, in place."""
    content |= {"format": "crossfold-summary/2"} | dict.fromkeys(_NEW)
    content["oof_other_views"] = content.pop("oof_beside")
    for fold in content["folds"]:
        fold["other_views"], fold["kept_epoch"] = fold.pop("beside"), fold.pop("best_epoch")
        repeat = f"repeat {fold['repeat'] + 1} " if content["config"]["repeats"] > 1 else ""
        fold["name"] = f"{repeat}fold {fold['fold'] + 1}"
    content["epoch_choice"] = content.pop("gap") | {"rule": "best", "crossfit": None}
    if content["oof_shift"] is not None:
        content["oof_shift"]["clean"] = None


def _reason(error: Exception) -> str:
    """What is wrong, in one line; of several things the first."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return one_line(f"{'.'.join(map(str, first['loc']))}: {first['msg']}")
    if isinstance(error, KeyError):
        return f"no {error}"
    return reason(error)

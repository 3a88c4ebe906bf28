"""What image files say before any is decoded: their size, and what the user must know of them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from folds.errors import counted, listed
from folds.images.decode import Header, header
from folds.images.resize import own_side


@dataclass(frozen=True)
class Target:
    """What image files are decoded to.

    Parameters
    ----------
    size : int
        Side of the network's input in pixels; with `auto` the most that it may be.
    auto : bool
        It shall be the images' own, see `folds.images.resize.own_side`.
    levels : float, optional
        See `folds.images.decode.decode`.
    """

    size: int
    auto: bool = False
    levels: float | None = None


def surveyed(files: Sequence[Path], target: Target) -> tuple[int, list[str]]:
    """Read files' headers.

    Returns
    -------
    side : int
        In pixels, that they are to be decoded to.
    notices : list of str
        What the user must know of them.
    """
    with ThreadPoolExecutor() as pool:
        headers = list(pool.map(header, files))
    return summed_up([file.name for file in files], headers, target)


def summed_up(
    names: Sequence[str], headers: Sequence[Header | None], target: Target
) -> tuple[int, list[str]]:
    """What `surveyed` returns, of files whose headers are read; None: it could not be."""
    sizes = {found.size for found in headers if found}
    side = own_side(sizes, target.size, auto=target.auto) if sizes else target.size
    return side, _notices(names, headers, target.levels)


def _notices(
    names: Sequence[str], headers: Sequence[Header | None], levels: float | None
) -> list[str]:
    several = [name for name, found in zip(names, headers, strict=True) if found and found.several]
    whites = sorted({found.white for found in headers if found and found.white is not None})
    deep = sum(found is not None and found.white is not None for found in headers)
    lines = []
    if several:
        lines.append(
            f"{counted(len(several), 'file')} with several pages or frames, of which the first is "
            f"read: {listed(several)}"
        )
    if deep and levels is None:
        white = " or ".join(f"{value:,.0f}" for value in whites)
        lines.append(
            f"{counted(deep, 'file')} with more than 8 bits a channel: white is {white}, the "
            "greatest value of the type (1 of floating-point numbers), unless --levels says "
            "otherwise when a model is trained"
        )
    if levels is not None and not deep:
        lines.append(f"levels {levels:g} are of no effect: all files have 8 bits a channel")
    return lines

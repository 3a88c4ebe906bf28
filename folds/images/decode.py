"""One image file's pixels, as a person sees them: the same in training and serving.

Everything that reads image files goes through `decode`: class folders, tables, Ray Data's tasks,
external sets, the audit, the preview, predictions and the registered model.
"""

import math
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from folds.files import DoubtedFile

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")  # nothing that is executed, as EPS is
KINDS = "JPEG, PNG, BMP, TIFF and WebP"
MOST_PIXELS = 100_000_000  # of an image; what says it has more is not decoded
_LARGE = 2**24  # pixels; of such images one at a time is decoded, as each takes hundreds of MB
_ONE_AT_A_TIME = threading.Lock()
# Pillow warns of large images and damaged EXIF: here a file is decoded, or refused in one line
warnings.filterwarnings("ignore", module=r"PIL\.")
_ORIENTATION, _BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 274, 258, 262, 339  # tags of EXIF and TIFF
_TELL = "say which value is white with --levels, when the model is trained"
_MEND = "save them with values from 0 up, in RGB or grey"
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}

Array = NDArray[Any]


class UnreadableError(ValueError):
    """A file that gives no pixels: damaged, or not of `FORMATS`."""


class UndecidedError(UnreadableError):
    """A file that may be sound, and cannot be brought to pixels as it is.

    Its values do not say which is white, or it has more than `MOST_PIXELS`.

    Parameters
    ----------
    reason : str
        What it has, as in ``has values below 0 (-3)``.
    remedy : str
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


@dataclass(frozen=True)
class Header:
    """What a file says of its image before any pixel is decoded.

    Parameters
    ----------
    size : tuple of int
        Width and height, upright.
    white : float, optional
        Of an image with more than 8 bits a channel: the value that becomes 255.
    several : bool
        It has more pages or frames than the first, which alone is read.
    """

    size: tuple[int, int]
    white: float | None
    several: bool


def decode(file: Path | BinaryIO, levels: float | None = None) -> Image.Image:
    """Decode one image file.

    Parameters
    ----------
    file : Path or binary file
        Of one of `FORMATS`.
    levels : float, optional
        Of images with more than 8 bits a channel: the value that becomes 255, and all above it.
        Default: the greatest of the type (65,535 of 16 bits), 1 of floating-point numbers.

    Returns
    -------
    Image
        RGB, upright (EXIF), on white where it is transparent; the first page or frame.

    Raises
    ------
    UnreadableError
        The file is damaged, or of another kind.
    UndecidedError
        Without `levels`: 32-bit integers, or floating-point numbers beyond 0 and 1. In any case:
        numbers below 0, or that are none; more than `MOST_PIXELS`.

    Notes
    -----
    - Values are scaled by what is known beforehand, never by an image's own extremes: equal values
      of two files are equal pixels.
    - The pixels of a plain 8-bit RGB file are as they are stored.
    - CMYK becomes RGB by the plain formula; colour profiles are not applied.
    """
    with _opened(file) as image, _in_turn(image):
        white = _white(image)
        image.load()
        turn = _TURNS.get(_orientation(image))
        shown = on_white(image) if white is None else _reduced(image, file, white, levels)
        return shown if turn is None else shown.transpose(turn)


def _in_turn(image: Image.Image) -> AbstractContextManager[Any]:
    """Wait, if the image is large, until no other large one is being decoded."""
    return _ONE_AT_A_TIME if math.prod(image.size) > _LARGE else nullcontext()


def header(file: Path | BinaryIO) -> Header | None:
    """Read a file's header alone; None if it has none that can be read."""
    try:
        with _opened(file) as image:
            width, height = image.size
            # Pillow gives the size of a TIFF upright, of others as stored; a PNG that has its EXIF
            # behind the pixels would have to be decoded for it
            if image.format != "TIFF" and _orientation(image, of=Image.Image.getexif) >= 5:
                width, height = height, width
            return Header((width, height), _white(image), _several(image))
    except UnreadableError:
        return None


def _several(image: Any) -> bool:
    """Whether there are more pages or frames than the first; those of a TIFF are not counted."""
    if image.format == "TIFF":
        try:
            image.seek(1)
        except EOFError:
            return False
        return True
    # the other images in a JPEG are its preview and gain map
    return image.format != "MPO" and getattr(image, "n_frames", 1) > 1


@contextmanager
def _opened(file: Path | BinaryIO) -> Iterator[Any]:
    """Open an image; whatever Pillow raises in the block means that the file is damaged."""
    try:
        # never by its path: Pillow would map an uncompressed TIFF into memory, and scrambles those
        # that are to be turned by a quarter
        with DoubtedFile(file) if isinstance(file, Path) else nullcontext(file) as stream:
            stream.seek(0)
            with Image.open(stream, formats=FORMATS) as image:
                if math.prod(image.size) > MOST_PIXELS:
                    raise _too_large(f"{math.prod(image.size):,} pixels")
                yield image
    except (UnreadableError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large("too many pixels") from None
    except Exception as error:  # damaged files make Pillow raise nearly everything there is
        raise UnreadableError(f"damaged, or none of {KINDS}") from error


def _too_large(has: str) -> UndecidedError:
    return UndecidedError(f"has {has}, more than {MOST_PIXELS:,}", "make it smaller")


def _orientation(image: Any, of: Callable[[Any], Any] | None = None) -> int:
    """EXIF's number for how to turn an image; 1, as it is, where EXIF is damaged."""
    try:
        return int((of or type(image).getexif)(image).get(_ORIENTATION, 1))
    except Exception:  # EXIF is no reason to refuse an image, whatever its parser says
        return 1


def _white(image: Any) -> float | None:
    """The greatest value of an image's type, 1 of floats; None where it has 8 bits or fewer."""
    if image.mode == "F":
        return 1.0
    bits, kinds = (8,), (1,)
    if image.format == "TIFF":
        bits, kinds = image.tag_v2.get(_BITS, (1,)), image.tag_v2.get(_SAMPLE_FORMAT, (1,))
    elif image.format == "PNG" and any(";16" in _mode_of(tile) for tile in image.tile):
        bits = (16,)
    signed = 2 in kinds
    if max(bits) <= 8 and not signed:
        return None
    return float(2 ** (max(bits) - signed) - 1)


def on_white(image: Image.Image) -> Image.Image:
    """RGB of an image of 8 bits or fewer; colours of what was cut away do not come back."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def _reduced(image: Any, file: Path | BinaryIO, white: float, levels: float | None) -> Image.Image:
    """RGB of an image with more than 8 bits, or of signed or floating-point numbers."""
    if image.mode in ("F", "I", "L") or image.mode.startswith("I;16"):
        values, opacity = _grey(image, white)
    else:
        values, opacity = _colour(image, file, levels)
    top = white if levels is None else levels
    _check(values, white, top, told=levels is not None)
    scaled = values.astype(np.float32)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:  # white is zero
        scaled = np.float32(top) - scaled
    scaled = (scaled * np.float32(255 / top)).clip(0, 255)
    if opacity is not None:
        scaled = scaled * opacity + 255 * (1 - opacity)
    shown = np.rint(scaled).astype(np.uint8)
    return Image.fromarray(np.broadcast_to(shown, (*shown.shape[:2], 3)).copy())


def _check(values: Array, white: float, top: float, *, told: bool) -> None:
    """Refuse values of which nobody can say what a person sees."""
    low, high = float(values.min()), float(values.max())
    slack = 0.5 / 255 * top if values.dtype.kind == "f" else 0.0  # it is rounded away
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UndecidedError("has values that are no numbers", _MEND)
    if low < -slack:
        raise UndecidedError(f"has values below 0 ({low:g})", _MEND)
    if not told and white > 2**16:
        raise UndecidedError("has 32-bit integers, which do not say what is white", _TELL)
    if not told and high > top + slack:
        raise UndecidedError(f"has floating-point numbers above 1 ({high:g})", _TELL)


def _grey(image: Any, white: float) -> tuple[Array, Array | None]:
    """Values (H, W, 1) of one channel; and 0 where they are transparent, 1 elsewhere."""
    values = np.asarray(image)[..., None]
    kinds = {2.0**32 - 1: np.uint32, 2.0**7 - 1: np.int8}  # of which Pillow has the others alone
    if white in kinds:
        values = values.view(kinds[white])
    clear = image.info.get("transparency")
    return values, None if clear is None else (values != clear).astype(np.float32)


def _colour(image: Any, file: Path | BinaryIO, levels: float | None) -> tuple[Array, Array | None]:
    """Values (H, W, 3) of 16-bit colours, of which Pillow keeps the high bytes; and opacity.

    The file is read twice, the second time as if its bytes were in the other order.
    """
    modes = {str(_mode_of(tile)) for tile in _tiles(file)}
    kind = "premultiplied" if any(mode.startswith("RGBa") for mode in modes) else image.mode
    if kind not in ("RGB", "RGBA"):
        if levels is not None:
            raise UndecidedError(f"has 16-bit {kind} values, which --levels cannot scale", _MEND)
        return np.asarray(on_white(image)).astype(np.uint16) * 257, None
    if modes == {"LA;16B"}:  # four bytes a pixel
        read = _read_as(file, lambda _: "RGBA").astype(np.uint16)
        values = read[..., 0::2] * 256 + read[..., 1::2]
        return values[..., :1], _share(values[..., 1:])
    order = "B" if image.format == "PNG" or image.tag_v2.prefix == b"MM" else "L"
    high, low = (_read_as(file, _named(order, swap)).astype(np.uint16) for swap in (False, True))
    values = high * 256 + low
    clear = image.info.get("transparency")
    if values.shape[2] == 4:
        return values[..., :3], _share(values[..., 3:])
    if clear is not None:
        return values, (values != clear).any(axis=2, keepdims=True).astype(np.float32)
    return values, None


def _share(values: Array) -> Array:
    return values.astype(np.float32) / np.float32(65535)


def _mode_of(tile: Any) -> str:
    """Pillow's name for how pixels lie in a file."""
    return tile.args if isinstance(tile.args, str) else tile.args[0]


def _tiles(file: Path | BinaryIO) -> list[Any]:
    with _opened(file) as image:
        return list(image.tile)


def _named(order: str, swap: bool) -> Callable[[str], str]:
    """A function that renames how 16-bit values lie, with their bytes in order or swapped."""

    def renamed(mode: str) -> str:
        # planes one after another are named by their channel alone, as if they had 8 bits
        name, _, bits = mode.partition(";")
        own = bits.removeprefix("16") or order
        return f"{name};16{_SWAPPED[own] if swap else own}"

    return renamed


def _read_as(file: Path | BinaryIO, renamed: Callable[[str], str]) -> NDArray[np.uint8]:
    """Pixels (H, W, C) of a file, had its pixels lain there in another way."""
    with _opened(file) as image:
        tiles = []
        for tile in image.tile:
            mode = renamed(_mode_of(tile))
            args = mode if isinstance(tile.args, str) else (mode, *tile.args[1:])
            tiles.append(tile._replace(args=args))
        image.tile = tiles
        image.load()
        return np.asarray(image)

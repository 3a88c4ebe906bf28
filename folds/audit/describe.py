"""Numbers that tell what an image looks like, whichever way it is turned.

They need no network: colour and its spread, rings around the centre, gradients at several scales,
and low frequencies. One pass over the pixels, a piece at a time.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from torch import Tensor
from torch.nn import functional

from folds.images.pixelfile import Pixels, pieces
from folds.runtime.device import as_tensor

SIDE = 24  # of the thumbnails that are compared
_FREQUENCIES = 10  # of each axis that the fingerprint keeps
_QUANTILES = (0.02, 0.1, 0.25, 0.75, 0.9, 0.98)
_LIGHTS = 0.3  # quantile of each channel above which its lights begin
_RINGS = 4
_SCALES = (1, 2, 4, 8)
_AT_ONCE = 16  # images whose floats stay in the processor's cache
_LEAST_SIDE = 4  # pixels that gradients are taken of
_TOLERANCE = {"cast": 0.1, "colour": 0.02, "layout": 0.02, "exposure": 0.02, "texture": 0.05}
_FAINT = 1e-3  # a gradient below any real one


@dataclass(frozen=True)
class ImageDescriptors:
    """What N images look like.

    Parameters
    ----------
    statistics : ndarray of float32, shape (N, S)
        Colour, texture and layout. The same for an image turned by 90 degrees or mirrored.
    names : tuple of str
        Of each statistic: what it is about.
    tolerance : ndarray of float32, shape (S,)
        Differences of each statistic that mean little: another light shifts an image's whole
        colour further than its contents are shifted.
    fingerprints : ndarray of float32, shape (N, 2, F)
        Magnitudes of low frequencies with norm 1: close together for images that are the same but
        for brightness, contrast, compression, mirroring and turns by 90 degrees. Of the image,
        and of the image without its lights, which a brighter copy has lost.
    thumbs : ndarray of uint8, shape (N, SIDE, SIDE, 3)
        Small versions.
    digest : ndarray of uint64, shape (N, 2)
        BLAKE2 of the pixels: equal for equal images alone.
    """

    statistics: NDArray[np.float32]
    names: tuple[str, ...]
    tolerance: NDArray[np.float32]
    fingerprints: NDArray[np.float32]
    thumbs: NDArray[np.uint8]
    digest: NDArray[np.uint64]

    def take(self, rows: NDArray[np.int64]) -> "ImageDescriptors":
        """The same of these images, in this order."""
        return replace(
            self,
            statistics=self.statistics[rows],
            fingerprints=self.fingerprints[rows],
            thumbs=self.thumbs[rows],
            digest=self.digest[rows],
        )

    def beside(self, other: "ImageDescriptors") -> "ImageDescriptors":
        """These images, then those of another set, of whatever size, without the statistics."""
        return replace(
            self,
            statistics=np.empty((0, len(self.names)), np.float32),
            fingerprints=np.concatenate([self.fingerprints, other.fingerprints]),
            thumbs=np.concatenate([self.thumbs, other.thumbs]),
            digest=np.concatenate([self.digest, other.digest]),
        )


def describe(pixels: Pixels) -> ImageDescriptors:
    """Compute what junk and duplicates are told by, in parallel and a piece at a time.

    Parameters
    ----------
    pixels : ndarray of uint8 or PixelFile, shape (N, H, W, 3)
    """
    # images are many and small: a thread for each piece beats many threads for one operation
    threads = torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        blocks = pool.map(lambda rows: _describe_block(pixels[rows]), pieces(pixels.shape))
        parts = [part for block in blocks for part in block]
    torch.set_num_threads(threads)
    statistics, fingerprints, thumbs, digest = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    names = _names(pixels.shape)
    tolerance = np.array([_TOLERANCE[name] for name in names], np.float32)
    return ImageDescriptors(statistics, names, tolerance, fingerprints, thumbs, digest)


def _describe_block(pixels: NDArray[np.uint8]) -> list[tuple[NDArray, ...]]:
    count = len(pixels) // _AT_ONCE + 1
    return [_describe(np.ascontiguousarray(part)) for part in np.array_split(pixels, count)]


def _describe(pixels: NDArray[np.uint8]) -> tuple[NDArray, ...]:
    image = as_tensor(pixels).permute(0, 3, 1, 2).contiguous().float().div_(255)
    thumb = functional.adaptive_avg_pool2d(image, SIDE)
    light = (image[:, 0] + image[:, 1] + image[:, 2]) / 3
    statistics = torch.cat([_colours(thumb), _rings(thumb), _extremes(light), _texture(light)], 1)
    small = (thumb * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    lights = thumb.flatten(2).quantile(_LIGHTS, 2)[..., None, None]
    prints = torch.stack([_fingerprint(thumb), _fingerprint(thumb.minimum(lights))], 1)
    return statistics.numpy(), prints.numpy(), small.numpy(), _digests(pixels)


def _digests(pixels: NDArray[np.uint8]) -> NDArray[np.uint64]:
    each = [hashlib.blake2b(image.data, digest_size=16).digest() for image in pixels]
    return np.frombuffer(b"".join(each), dtype=np.uint64).reshape(-1, 2)


def _names(shape: tuple[int, ...]) -> tuple[str, ...]:
    scales = len(_scales(*shape[1:3]))
    counts = {
        "cast": 3,
        "colour": 3 * len(_QUANTILES),
        "layout": 3 * _RINGS,
        "exposure": 2,
        "texture": 2 * scales,
    }
    return tuple(name for name, count in counts.items() for _ in range(count))


def _opponent(image: Tensor) -> Tensor:
    """Lightness, red against green, yellow against blue, of (B, 3, ...)."""
    red, green, blue = image.unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, (red + green) / 2 - blue], 1)


def _colours(thumb: Tensor) -> Tensor:
    """Medians of the opponent colours, then other quantiles relative to them, (B, 21)."""
    values = _opponent(thumb).flatten(2).sort(-1).values
    at = (torch.tensor(_QUANTILES) * (values.shape[-1] - 1)).round().long()
    median = values[..., values.shape[-1] // 2]
    return torch.cat([median, (values[..., at] - median[..., None]).flatten(1)], 1)


def _rings(thumb: Tensor) -> Tensor:
    """Mean opponent colours in rings around the centre, relative to their mean, (B, 12)."""
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    radius = (axis[:, None].square() + axis[None].square()).sqrt() / (SIDE / 2)
    ring = (radius * _RINGS).long().clamp_max(_RINGS - 1).flatten()
    share = functional.one_hot(ring, _RINGS).float()
    colours = _opponent(thumb).flatten(2)
    rings = colours @ (share / share.sum(0))
    return (rings - colours.mean(2, keepdim=True)).flatten(1)


def _extremes(light: Tensor) -> Tensor:
    """Shares of black and white pixels, (B, 2)."""
    return torch.stack(
        [(light < 0.05).float().mean((1, 2)), (light > 0.95).float().mean((1, 2))], 1
    )


def _scales(height: int, width: int) -> list[int]:
    return [scale for scale in _SCALES if min(height, width) // scale >= _LEAST_SIDE]


def _texture(light: Tensor) -> Tensor:
    """Logarithms of the mean gradient and of its sparsity at each scale, (B, 2 scales)."""
    columns = []
    for scale in _scales(*light.shape[1:]):
        coarse = functional.avg_pool2d(light, scale)
        steps = [coarse.diff(dim=dim).flatten(1) for dim in (1, 2)]
        mean = sum(torch.linalg.vector_norm(step, 1, dim=1) / step.shape[1] for step in steps) / 2
        square = sum(torch.linalg.vector_norm(s, dim=1).square() / s.shape[1] for s in steps) / 2
        sparsity = (square.sqrt() + _FAINT) / (mean + _FAINT)
        columns += [(mean + _FAINT).log(), sparsity.log()]
    return torch.stack(columns, 1)


def _fingerprint(thumb: Tensor) -> Tensor:
    """Low frequencies without phase, (B, F), norm 1.

    Mirroring changes the signs of a cosine transform's coefficients and a turn swaps its axes;
    the sum and the difference of two magnitudes that a turn swaps do not change.
    """
    basis = torch.from_numpy(dct(np.eye(SIDE), axis=0, norm="ortho")[:_FREQUENCIES]).float()
    magnitude = (basis @ _opponent(thumb) @ basis.T).abs()
    row, column = torch.triu_indices(_FREQUENCIES, _FREQUENCIES, 1)
    upper, lower = magnitude[..., row, column], magnitude[..., column, row]
    straight = magnitude.diagonal(dim1=2, dim2=3)[..., 1:]
    whole = torch.cat([upper + lower, (upper - lower).abs(), straight * 2**0.5], -1).flatten(1)
    return functional.normalize(whole, eps=0.1)

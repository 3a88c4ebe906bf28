"""Images/s of each augmentation policy against Kornia's own modules and torchvision's.

Run: python -m benchmarks.augment --data images/ --out benchmarks/AUGMENT.md
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import kornia
import numpy as np
import torch
import torchvision
from kornia import augmentation as ka
from torch import Tensor, nn
from torchvision.transforms import v2

from benchmarks.machine import hardware, kind
from folds.augment import augment, make_policy
from folds.augment.draws import RAND
from folds.config import DataConfig
from folds.images import load
from folds.runtime.cpu import keep_memory
from folds.sampling import uniform_table

POLICIES = ("light", "rand", "trivial", "augmix", "strong")
OURS, KORNIA = "crossfold", "Kornia, AugmentationSequential"
KORNIA_BATCH = "Kornia, one choice a batch"
VISION, VISION_BATCH = "torchvision, an image at a time", "torchvision, one choice a batch"
TARGETS = {"light": 4.0, "rand": 3.0}  # times Kornia's AugmentationSequential
Work = Callable[[Tensor], Any]  # of pixels uint8 (B, S, S, 3) on the device


def main() -> None:
    """Measure, print a table and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="demo", help="images, as for distributed.cv")
    parser.add_argument("--out", type=Path, help="markdown file to write")
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=POLICIES)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument("--rounds", type=int, default=7, help="in which all take turns")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_memory()
    pixels = _pixels(options)
    rates = {
        policy: _race(_contenders(policy, options.size), pixels, options)
        for policy in options.policies
    }
    text = _table(rates, options)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _pixels(options: argparse.Namespace) -> Tensor:
    """A batch of images (B, S, S, 3) on the device."""
    size, count = options.size, options.batch_size
    config = DataConfig(data=options.data, image_size=size, limit=max(count, 100))
    images = load(config, seed=0, largest=size)
    device = "cuda" if kind() == "gpu" else "cpu"
    return torch.from_numpy(np.ascontiguousarray(images.pixels[:count])).to(device)


def _race(
    contenders: dict[str, Work], pixels: Tensor, options: argparse.Namespace
) -> dict[str, list[float]]:
    """Images/s of each contender in each round; they take turns within a round."""
    repeats = {}
    for name, work in contenders.items():
        seconds = min(_timed(work, pixels, 1) for _ in range(3))  # the first warms up
        repeats[name] = max(1, round(options.seconds / seconds))
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        order = list(contenders)
        for name in order if number % 2 else reversed(order):
            seconds = _timed(contenders[name], pixels, repeats[name])
            rates[name].append(repeats[name] * len(pixels) / seconds)
    return rates


def _timed(work: Work, pixels: Tensor, repeats: int) -> float:
    _wait(pixels)
    start = time.perf_counter()
    for _ in range(repeats):
        work(pixels)
    _wait(pixels)
    return time.perf_counter() - start


def _wait(pixels: Tensor) -> None:
    if pixels.is_cuda:
        torch.cuda.synchronize()


def _contenders(policy: str, size: int) -> dict[str, Work]:
    """Ways to do the same to a batch; each begins with bytes and ends with floats."""
    found: dict[str, Work] = {OURS: _crossfold(policy, size)}
    if policy in _KORNIAS:
        found[KORNIA] = _by_kornia(ka.AugmentationSequential(*_KORNIAS[policy]()))
    if policy in _CHOICES:
        found[KORNIA_BATCH] = _by_kornia(_CHOICES[policy]())
    if policy in _VISIONS:
        found[VISION] = _by_vision(_VISIONS[policy](), each=True)
        found[VISION_BATCH] = _by_vision(_VISIONS[policy](), each=False)
    return found


def _crossfold(name: str, size: int) -> Work:
    policy, tables = make_policy(name), _tables(make_policy(name).columns)

    def work(pixels: Tensor) -> Tensor:
        table = next(tables)[: len(pixels)]
        image = augment(pixels, table, policy, size)
        if not policy.mixes:
            return image
        mixing = policy.mixing(table, np.zeros(len(pixels), np.int64))
        partners = torch.from_numpy(mixing.partners).to(image.device, non_blocking=True)
        return policy.mix(image, image[partners], mixing)[0]

    return work


def _tables(columns: int) -> Iterator[np.ndarray]:
    """Another epoch's table each time, drawn beforehand as in training."""
    tables = [uniform_table(0, epoch, 1024, columns) for epoch in range(16)]
    while True:
        yield from tables


def _by_kornia(modules: nn.Module) -> Work:
    def work(pixels: Tensor) -> Any:
        with torch.no_grad():
            return modules(pixels.permute(0, 3, 1, 2).float() / 255)

    return work


def _by_vision(transform: v2.Transform, *, each: bool) -> Work:
    """On bytes, as torchvision's documentation advises; floats at the end."""

    def work(pixels: Tensor) -> Tensor:
        image = pixels.permute(0, 3, 1, 2).contiguous()
        done = torch.stack([transform(one) for one in image]) if each else transform(image)
        return v2.functional.to_dtype(done, torch.float32, scale=True)

    return work


def _mirrors() -> list[nn.Module]:
    return [ka.RandomHorizontalFlip(p=0.5), ka.RandomVerticalFlip(p=0.5)]


def _light() -> list[nn.Module]:
    affine = ka.RandomAffine(
        180.0, (0.05, 0.05), (0.9, 1.1), (-5, 5, -5, 5), padding_mode="reflection", p=1.0
    )
    return [*_mirrors(), affine, ka.ColorJiggle(0.1, 0.1, 0.1, 0.02, p=1.0)]


def _choices(share: float, level: float) -> list[nn.Module]:
    """RandAugment's operations, each on its share of the images, so that images differ."""

    def reach(name: str) -> float:
        return level * (RAND[name] or 0.0)

    def factors(name: str) -> tuple[float, float]:
        return 1 - reach(name), 1 + reach(name)

    affine = {"p": share, "padding_mode": "reflection"}
    lean, shift = reach("shear_x"), reach("translate_x")
    return [
        ka.RandomAffine(reach("rotate"), **affine),
        ka.RandomAffine(0.0, shear=(-lean, lean, 0.0, 0.0), **affine),
        ka.RandomAffine(0.0, shear=(0.0, 0.0, -lean, lean), **affine),
        ka.RandomAffine(0.0, translate=(shift, 0.0), **affine),
        ka.RandomAffine(0.0, translate=(0.0, shift), **affine),
        ka.RandomBrightness(factors("brightness"), p=share),
        ka.RandomContrast(factors("contrast"), p=share),
        ka.RandomSaturation(factors("saturation"), p=share),
        ka.RandomSharpness(1.0, p=share),
        ka.RandomPosterize((7.0, 7.0), p=share),
        ka.RandomSolarize(0.1, 0.0, p=share),
        ka.RandomAutoContrast(p=share),
        ka.RandomEqualize(p=share),
    ]


def _strong() -> list[nn.Module]:
    """The operations of ``strong`` with its probabilities, as far as Kornia has them.

    Without stain and grid mask, and without mixing.
    """
    return [
        *_light(),
        ka.RandomElasticTransform((31, 31), (8.0, 8.0), p=0.1),
        *_choices(0.25 * 2 / 14, 0.3),
        ka.RandomBrightness((0.6, 1.4), p=0.25),
        ka.RandomContrast((0.5, 1.5), p=0.25),
        ka.RandomSaturation((0.4, 1.6), p=0.2),
        ka.RandomGrayscale(p=0.15),
        ka.RandomChannelShuffle(p=0.05),
        ka.RandomSharpness(1.0, p=0.1),
        ka.RandomGaussianBlur((9, 9), (0.1, 1.5), p=0.2),
        ka.RandomMotionBlur(7, 180.0, 0.0, p=0.1),
        ka.RandomJPEG((30.0, 100.0), p=0.1),
        ka.RandomGaussianNoise(0.0, 0.06, p=0.2),
        ka.RandomErasing((0.01, 0.15), (0.5, 2.0), p=0.1),
    ]


_KORNIAS: dict[str, Callable[[], list[nn.Module]]] = {
    "light": _light,
    "rand": lambda: [*_mirrors(), *_choices(2 / 14, 0.3)],
    "trivial": lambda: [*_mirrors(), *_choices(1 / 14, 1.0)],
    "strong": _strong,
}
_CHOICES: dict[str, Callable[[], nn.Module]] = {
    "rand": lambda: nn.Sequential(*_mirrors(), ka.auto.RandAugment(2, 9)),
    "trivial": lambda: nn.Sequential(*_mirrors(), ka.auto.TrivialAugment()),
}


def _vision(*last: v2.Transform) -> v2.Transform:
    return v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), *last])


_BILINEAR = v2.InterpolationMode.BILINEAR
_VISIONS: dict[str, Callable[[], v2.Transform]] = {
    "light": lambda: _vision(
        v2.RandomAffine(180, (0.05, 0.05), (0.9, 1.1), 5, _BILINEAR),
        v2.ColorJitter(0.1, 0.1, 0.1, 0.02),
    ),
    "rand": lambda: _vision(v2.RandAugment(2, 9, interpolation=_BILINEAR)),
    "trivial": lambda: _vision(v2.TrivialAugmentWide(interpolation=_BILINEAR)),
    "augmix": lambda: _vision(v2.AugMix(interpolation=_BILINEAR)),
}


def _table(rates: dict[str, dict[str, list[float]]], options: argparse.Namespace) -> str:
    """The measurement as markdown."""
    machine = ", ".join(f"{name} {value}" for name, value in hardware().items())
    lines = [
        "# Augmentation: images/s",
        "",
        f"{machine}; torch {torch.__version__}, Kornia {kornia.__version__}, torchvision "
        f"{torchvision.__version__}; {options.batch_size} images of {options.size} px a batch, "
        f"{options.threads} threads, on the {kind().upper()}.",
        f"Median of {options.rounds} rounds in which all take turns, least and greatest behind it.",
        "From bytes to floats. Only crossfold, AugmentationSequential and 'an image at a time'",
        "choose for each image; 'one choice a batch' does the same to all of them.",
        "",
        "| policy | by | images/s | least to greatest | crossfold is |",
        "|---|---|--:|--:|--:|",
    ]
    for policy, found in rates.items():
        lines += _rows(policy, found)
    return "\n".join(lines)


def _rows(policy: str, found: dict[str, list[float]]) -> Sequence[str]:
    ours = statistics.median(found[OURS])
    lines = []
    for name, values in found.items():
        median = statistics.median(values)
        ratio = "" if name == OURS else f"{ours / median:.1f} times"
        if name == KORNIA and policy in TARGETS:
            ratio += f" (target {TARGETS[policy]:g})"
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        lines.append(f"| {policy} | {name} | {median:,.0f} | {spread} | {ratio} |")
    return lines


if __name__ == "__main__":
    main()

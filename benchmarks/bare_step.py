"""The tightest training loop there is: the same model on random tensors that lie in memory.

The ceiling for a trainer's full stage: no images read, no augmentation, no validation, no records.
It prints one line of JSON: the median images/s of the steps after warm-up.

Run: python -m benchmarks.bare_step --precision bf16 --threads 2
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator

import timm
import torch
from torch import Tensor, nn

from benchmarks.baseline import LABEL_SMOOTHING, WEIGHT_DECAY
from folds.runtime.cpu import clamp_without_copy, keep_memory, widen_strided_depthwise

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCHES = 4  # different ones, so that no cache holds them all


def main() -> None:
    """Time steps and print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--classes", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--compile", action="store_true", help="by torch.compile")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=100, help="steps that are timed")
    parser.add_argument("--warm-up", type=int, default=10, help="steps before them")
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    model = timm.create_model(options.backbone, num_classes=options.classes)
    use_trainer_settings(model, options)
    model = model.to(DEVICE, memory_format=torch.channels_last).train()
    if options.compile:
        model = torch.compile(model)
    seconds = list(step_seconds(model, options))[options.warm_up :]
    print(json.dumps({"images_per_s": options.batch_size / statistics.median(seconds)}))


def use_trainer_settings(model: nn.Module, options: argparse.Namespace) -> None:
    """Give this process the trainer's memory settings, and the model its layers."""
    keep_memory()
    if DEVICE == "cpu" and options.precision == "bf16":
        widen_strided_depthwise(model)
    if DEVICE == "cpu" and not options.compile:
        clamp_without_copy(model)


def step_seconds(model: nn.Module, options: argparse.Namespace) -> Iterator[float]:
    """Yield the seconds of each step, those of warm-up first."""
    images, labels = random_batches(options)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=WEIGHT_DECAY, fused=True)
    loss_of = nn.CrossEntropyLoss(label_smoothing=LABEL_SMOOTHING)
    for step in range(options.warm_up + options.steps):
        start = time.perf_counter()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=options.precision == "bf16"):
            loss = loss_of(model(images[step % BATCHES]), labels[step % BATCHES])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - start


def random_batches(options: argparse.Namespace) -> tuple[list[Tensor], Tensor]:
    """Make images, a channels_last tensor a batch, and labels (BATCHES, B)."""
    shape = (options.batch_size, 3, options.image_size, options.image_size)
    images = [
        torch.randn(shape).to(DEVICE, memory_format=torch.channels_last) for _ in range(BATCHES)
    ]
    labels = torch.randint(options.classes, (BATCHES, options.batch_size), device=DEVICE)
    return images, labels


if __name__ == "__main__":
    main()

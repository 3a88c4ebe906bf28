"""Which precision, layout and compilation are fastest here: measured in a few real steps.

The answer differs from machine to machine and from network to network: bf16 makes one twice as
fast and another twice as slow. So a worker tries, and remembers the answer for the next run.
"""

import hashlib
import json
import math
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from folds.config.stages import Stage
from folds.files import cache_folder, opened_json, sealed_json, write_whole
from folds.model.backbone import Classifier, build
from folds.model.folding import predicting
from folds.model.layer_groups import train_mode, unfreeze
from folds.runtime.cpu import keep_memory
from folds.runtime.device import Runtime
from folds.runtime.trial import Probed, Rates, Trial

STEPS = 3
CLEARLY = 1.1  # a candidate must be faster by this factor, so that noise does not choose
LIMIT_S = 10.0  # on a CPU no further way is tried after this
# Training that takes less is not worth compiling for: on a CPU that alone takes a minute.
COMPILE_AFTER_S = {"cpu": 1200.0, "cuda": 300.0}


def remembered(trial: Trial, runtime: Runtime) -> Probed | None:
    """What an earlier run on this machine measured, if it tried the same; else None."""
    try:
        stored = opened_json(_memory_of(trial, runtime).read_bytes(), "what was measured")
        return Probed(replace(runtime, **stored["settings"]), Rates(**stored["rates"]))
    except (OSError, ValueError, TypeError, KeyError):  # not there, or from another version
        return None


def probe(trial: Trial, runtime: Runtime) -> Probed:
    """Find the fastest way to train on this device, or remember it.

    Parameters
    ----------
    runtime : Runtime
        The device, and what to begin with.
    """
    if (known := remembered(trial, runtime)) is not None:
        return known
    keep_memory()
    threads = torch.get_num_threads()
    torch.set_num_threads(trial.threads)
    fastest = measure(trial, runtime)
    torch.set_num_threads(threads)
    content = {"settings": fastest.runtime.settings, "rates": asdict(fastest.rates)}
    with suppress(OSError):  # a home that cannot be written to: measured again next time
        write_whole(_memory_of(trial, runtime), sealed_json(content).encode())
    return fastest


def measure(trial: Trial, runtime: Runtime) -> Probed:
    """Time the candidates and take the fastest; on a CPU for `LIMIT_S` and a step, or less."""
    kind = runtime.device.type
    until = time.perf_counter() + (LIMIT_S if kind == "cpu" else math.inf)
    best, seconds = runtime, math.inf
    for change in _changes(trial, runtime):
        if time.perf_counter() > until:
            break
        candidate = replace(best, **change)
        of_best, of_candidate = _race(trial, best, candidate, until=until)
        faster = of_candidate * CLEARLY < of_best
        best, seconds = (candidate, of_candidate) if faster else (best, of_best)
    needed = _peak(runtime)  # before anything is compiled, which takes memory of its own
    left = trial.images / trial.batch_size * seconds
    if trial.compile == "on" or (trial.compile == "auto" and left > COMPILE_AFTER_S[kind]):
        candidate = replace(best, compiled=True)
        warm, compiled = _compiled_seconds(trial, candidate)
        total = warm * trial.stages + trial.images / trial.batch_size * compiled
        if trial.compile == "on" or total < left:
            best, seconds = candidate, compiled
    rates = Rates(
        train=trial.batch_size / seconds,
        forward=trial.batch_size / _forward_seconds(trial, best),
        step_bytes=needed,
        busy=_busy(trial, best, seconds),
        device_bytes=_device_bytes(best),
    )
    return Probed(best, rates)


def _changes(trial: Trial, runtime: Runtime) -> Iterator[dict[str, Any]]:
    """What to try, one change at a time, each on top of the best so far."""
    half = runtime.half
    if trial.precision == "auto" and half is not None:
        yield {"precision": "fp32" if runtime.precision == half else half}
    yield {"channels_last": not runtime.channels_last}


def _race(trial: Trial, *runtimes: Runtime, until: float) -> list[float]:
    """Seconds of the fastest step of each way, after a first one that warms up.

    They take turns, and the fastest counts: what disturbs the machine meanwhile makes some steps
    of each slower, and no step faster. There is one turn at least, and none begins after `until`.
    """
    steps = [_stepper(trial, runtime) for runtime in runtimes]

    def turn() -> list[float]:
        return [_timed(step, runtime) for step, runtime in zip(steps, runtimes, strict=True)]

    turn()
    turns = [turn()]
    while len(turns) < STEPS and time.perf_counter() < until:
        turns.append(turn())
    return [min(times) for times in zip(*turns, strict=True)]


def _compiled_seconds(trial: Trial, runtime: Runtime) -> tuple[float, float]:
    """Seconds until the first step is done, and of a later one; infinite if it does not work."""
    start = time.perf_counter()
    try:
        step = _stepper(trial, runtime)
        _timed(step, runtime)
        warm = time.perf_counter() - start
        return warm, min(_timed(step, runtime) for _ in range(STEPS))
    except Exception:  # whatever a compiler may raise: then this way is not taken
        return math.inf, math.inf


def _network(trial: Trial, runtime: Runtime) -> tuple[Classifier, Tensor]:
    """The network on its device, and a batch of images."""
    model = build(
        trial.backbone, classes=trial.classes, size=trial.size, dropout=0.0, pretrained=None, seed=0
    )
    runtime.place(model)
    image = torch.rand(trial.batch_size, 3, trial.size, trial.size, device=runtime.device)
    return model.eval(), image


def _stepper(trial: Trial, runtime: Runtime) -> Callable[[], None]:
    """A training step of the whole network on images in memory."""
    model, image = _network(trial, runtime)
    everything = Stage(share=1.0, epochs=1, learning_rate=1e-5)
    unfreeze(model, everything)
    train_mode(model, everything, trial.frozen_norm)
    wrapped = runtime.wrap(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    labels = torch.arange(trial.batch_size, device=runtime.device) % trial.classes

    def step() -> None:
        with runtime.autocast():
            logits = wrapped(image)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(nn.functional.cross_entropy(logits.float(), labels))
        optimizer.step()

    return step


def _forward_seconds(trial: Trial, runtime: Runtime) -> float:
    """Seconds of the fastest pass of a batch without gradients; the first one warms up."""
    model, image = _network(trial, runtime)

    def forward() -> None:
        with runtime.autocast():
            model(image)

    with predicting(model):
        forward()
        return min(_timed(forward, runtime) for _ in range(STEPS))


def _timed(action: Callable[[], None], runtime: Runtime) -> float:
    start = time.perf_counter()
    action()
    _wait(runtime)
    return time.perf_counter() - start


def _wait(runtime: Runtime) -> None:
    if runtime.device.type == "cuda":
        torch.cuda.synchronize()


def _peak(runtime: Runtime) -> int:
    """Peak memory so far in bytes: of the device, or of this process."""
    if runtime.device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _device_bytes(runtime: Runtime) -> int:
    if runtime.device.type != "cuda":
        return 0
    return int(torch.cuda.get_device_properties(0).total_memory)


def _busy(trial: Trial, runtime: Runtime, seconds: float) -> float:
    """Share of a step's time in which kernels run; see `Rates`."""
    if runtime.device.type != "cuda":
        return 1.0
    step = _stepper(trial, replace(runtime, compiled=False))  # compiling again takes minutes
    step()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        _wait(runtime)
    kernels = sum(event.self_device_time_total for event in profile.key_averages())
    return min(1.0, max(0.01, kernels * 1e-6 / seconds))


def _memory_of(trial: Trial, runtime: Runtime) -> Path:
    """Where the answer is kept: named after all it depends on, the work only roughly."""
    rough = asdict(trial) | {"images": trial.images.bit_length()}
    versions = torch.__version__, timm.__version__, platform.python_version()
    facts = json.dumps([rough, runtime.settings, _device_name(runtime), versions])
    name = hashlib.sha256(facts.encode()).hexdigest()[:24]
    return cache_folder() / "probe" / f"{name}.json"


def _device_name(runtime: Runtime) -> str:
    """The GPU, or the processor with its instruction set and number of cores."""
    if runtime.device.type == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model} {torch.backends.cpu.get_cpu_capability()} {os.cpu_count()}"

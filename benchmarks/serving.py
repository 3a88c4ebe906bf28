"""Images/s of a registered model against the network alone, and the latency of a served one.

The network alone is a bare forward pass of float32 images that lie in memory: nothing decoded,
checked, tempered or written. The models have random weights, which take as long as others.

Run: python -m benchmarks.serving --data images/ --out benchmarks/SERVING.md
"""

import argparse
import base64
import io
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import mlflow
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks import measure
from benchmarks.inputs import at_least
from benchmarks.machine import hardware, kind, versions
from folds import cli
from folds.errors import RunError
from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, write_bundle
from folds.runtime.cpu import keep_memory
from tracking import store
from tracking.models import load_model, log_model

CLASSES = tuple("abcdefgh")
WARM_UP = 10  # requests

Work = Callable[[], object]


def parser() -> argparse.ArgumentParser:
    """Make the command line."""
    made = argparse.ArgumentParser(
        prog="python -m benchmarks.serving", description=(__doc__ or "").splitlines()[0]
    )
    made.add_argument("--data", type=Path, required=True, help="folder of class folders")
    made.add_argument("--out", type=Path, help="markdown file to write")
    made.add_argument("--backbone", default="mobilenetv2_100")
    made.add_argument("--images", type=int, default=512)
    made.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    made.add_argument("--rounds", type=int, default=5, help="in which all take turns")
    made.add_argument("--requests", type=int, default=200, help="over HTTP, of one image each")
    return made


def main() -> None:
    """Measure, print two tables and write them."""
    options = parser().parse_args()
    keep_memory()
    pixels = at_least(options.images, options.data).pixels[: options.images]
    with tempfile.TemporaryDirectory(prefix="crossfold-serving-") as folder:
        os.chdir(folder)
        store.connect("sqlite:///mlflow.db")
        models = dict(_registered(options, Path(folder)))
        rates = _race(_contenders(models, pixels, options), options)
        rates["`tracking.predict`, the whole command but its start"] = _commands(models, pixels)
        latency = _latency(models["one model"], pixels[0], options.requests)
    text = _page(rates, latency, options)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def _registered(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str]]:
    """What is asked, and where MLflow has it."""
    for tta, views in (("none", ""), ("flips", ", 4 views"), ("d4", ", 8 views")):
        card = ModelCard(options.backbone, CLASSES, options.size, tta=tta)
        model = build(
            options.backbone, classes=len(CLASSES), size=options.size, dropout=0.0,
            pretrained=None, seed=0,
        )  # fmt: skip
        write_bundle(folder / tta, card, model.state_dict())
        yield f"one model{views}", _log(folder / tta)
    ensemble([folder / "none"] * 5, folder / "five", 1.0)
    yield "ensemble of five", _log(folder / "five")


def _log(bundle: Path) -> str:
    with mlflow.start_run():
        return f"models:/{log_model(bundle, name='model')}"


PASSES = {", 4 views": 4, ", 8 views": 8, "ensemble of five": 5}  # of the network, an image


def _contenders(
    models: dict[str, str], pixels: NDArray[np.uint8], options: argparse.Namespace
) -> dict[str, Work]:
    network = timm.create_model(options.backbone, num_classes=len(CLASSES)).eval()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    device = "cuda" if kind() == "gpu" else "cpu"
    network = network.to(device, memory_format=torch.channels_last)
    batches = images.to(device, memory_format=torch.channels_last).split(128)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def bare() -> None:
        for batch in batches:
            network(batch).cpu()

    def asked(uri: str) -> Work:
        model, _ = load_model(uri)
        return lambda: model.predict(pixels)

    return {"the network alone": bare} | {name: asked(uri) for name, uri in models.items()}


def _race(contenders: dict[str, Work], options: argparse.Namespace) -> dict[str, list[float]]:
    """Images/s of each in each round, after one that warms up."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds + 1):
        for name, work in contenders.items():
            start = time.perf_counter()
            work()
            if number:
                rates[name].append(options.images / (time.perf_counter() - start))
    return rates


def _commands(models: dict[str, str], pixels: NDArray[np.uint8]) -> list[float]:
    """Images/s of the command, of what many images take longer than a few; PNG files."""
    few, many = 16, 16 + 4 * len(pixels)
    for name, count in (("few", few), ("many", many)):
        Path(name).mkdir()
        for row in range(count):
            Image.fromarray(pixels[row % len(pixels)]).save(Path(name, f"{row:05d}.png"))
    database = f"sqlite:///{Path('mlflow.db').resolve()}"

    def seconds(name: str) -> float:
        flags = ["--data", str(Path(name).resolve()), "--model", models["one model"]]
        return measure.run("tracking.predict", [*flags, "--tracking-uri", database]).wall_s

    seconds("few")
    return [(many - few) / (seconds("many") - seconds("few")) for _ in range(3)]


def _latency(uri: str, image: NDArray[np.uint8], count: int) -> list[float]:
    """Seconds of each answer of ``mlflow models serve`` to one PNG image."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    question = {"dataframe_records": [{"image": base64.b64encode(file.getvalue()).decode()}]}
    seconds = []
    with _served(uri) as address:
        for _ in range(WARM_UP + count):
            start = time.perf_counter()
            _ask(f"{address}/invocations", json.dumps(question).encode())
            seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


@contextmanager
def _served(uri: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "--env-manager", "local",
        "--host", "127.0.0.1", "--port", str(port),
    ]  # fmt: skip
    changed = {
        "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri(),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # it calls uvicorn
    }
    with Path("server.log").open("w") as log:
        server = subprocess.Popen(
            command, env=os.environ | changed, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        while not _answers(f"{address}/ping"):
            if server.poll() is not None:
                raise RunError(f"mlflow models serve: {Path('server.log').read_text()[-300:]}")
            time.sleep(0.2)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait()


def _answers(address: str) -> bool:
    with suppress(OSError):
        _ask(address)
        return True
    return False


def _ask(address: str, content: bytes | None = None) -> None:
    request = urllib.request.Request(address, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        answer.read()


def _page(rates: dict[str, list[float]], latency: list[float], options: argparse.Namespace) -> str:
    about = [f"{name} {value}" for name, value in (hardware() | versions()).items()]
    bare = statistics.median(rates["the network alone"])
    cuts = statistics.quantiles(latency, n=100)
    lines = [
        "# Prediction: images/s and latency",
        "",
        f"{', '.join(about)}; {options.backbone}, {options.images} images of {options.size} px,",
        f"float32, {torch.get_num_threads()} threads. Median of {options.rounds} rounds in which "
        "all take turns (of the command 3), least and greatest behind it.",
        "",
        "| what | images/s | least to greatest | network's passes/s against the network alone |",
        "|---|--:|--:|--:|",
    ]
    for name, values in rates.items():
        median = statistics.median(values)
        passes = next((n for end, n in PASSES.items() if name.endswith(end)), 1)
        spread = f"{min(values):,.0f} to {max(values):,.0f}"
        lines.append(f"| {name} | {median:,.0f} | {spread} | {passes * median / bare:.2f} |")
    return "\n".join(
        [
            *lines,
            "",
            f"One PNG image over HTTP (`mlflow models serve`, {len(latency)} requests one after "
            f"another): median {cuts[49] * 1e3:.1f} ms, 99th percentile {cuts[98] * 1e3:.1f} ms.",
        ]
    )


if __name__ == "__main__":
    sys.exit(cli.run(main))

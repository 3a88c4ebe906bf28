"""``python -m tracking.export``: a registered model as one file that runs without crossfold."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import parse, run, tell
from folds.documents import read_json_file
from folds.errors import UserError
from folds.files import check_file

_FEWEST = 100  # images that say something of eight bits


@dataclass
class Options:
    """Which model, which kind of file, which file."""

    out: Path
    """File to write."""
    model: str = "models:/crossfold@champion"
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION or models:/ID."""
    to: Literal["onnx", "pt2"] = "onnx"
    """onnx: for onnxruntime and others; pt2: for torch.export.load."""
    int8: str | None = None
    """Write an ONNX file in eight bits: labelled images, as --data of distributed.cv, of which some
    say which values occur in the network and the others what accuracy it costs."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Export a model."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.export", description=__doc__)
    check_file("--out", options.out)
    from folds.model.export import check_target, export
    from folds.model.mixture import BundleError
    from tracking import store
    from tracking.models import fetch_bundle

    if options.int8 is not None and options.to != "onnx":
        raise UserError(f"--int8 with --to {options.to}: is for onnx; leave one of them out")
    check_target(options.to)
    store.connect(options.tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        bundle = fetch_bundle(options.model, Path(folder))
        whole = options.out if options.int8 is None else Path(folder) / "whole.onnx"
        try:
            difference = export(bundle, options.to, whole)
        except BundleError as error:
            raise UserError(f"--model {options.model}: cannot be loaded ({error})") from None
        card = read_json_file(bundle / "model.json")
        told = [] if options.int8 is None else [_quantised(whole, options, options.int8, card)]
        adapt = card.get("adapt", "none")
    if adapt != "none":
        tell(f"notice: the file does not adapt to images as the model does (--adapt {adapt})")
    told = told or [f"probabilities differ by at most {difference:.1g}"]
    print(f"{options.model} is in {options.out}; {told[0]}")


def _quantised(whole: Path, options: Options, source: str, card: dict[str, Any]) -> str:
    """Write the file in eight bits; what that costs."""
    import numpy as np
    from PIL import Image

    from folds.config.data import DataConfig
    from folds.images.external import load_externals
    from folds.images.resize import cover
    from folds.model.quantise import quantise

    size, names = card["size"], tuple(card["class_names"])
    try:
        (found,) = load_externals({"": source}, names, DataConfig(data=source), size=size)
    except UserError as error:
        raise UserError(str(error).replace("--external =", "--int8 ")) from None
    pixels = found.images.pixels[:]
    if len(pixels) < _FEWEST:
        raise UserError(
            f"--int8 {source}: {len(pixels)} images are too few; give {_FEWEST} or more"
        )
    if pixels.shape[1:3] != (size, size):
        pixels = np.stack([cover(Image.fromarray(image), size) for image in pixels])
    loss = quantise(whole, options.out, pixels, found.images.labels)
    before, after = (f"{count / 2**20:.1f} MiB" for count in loss.sizes)
    return (
        f"int8: {after} instead of {before}, accuracy {loss.after:.3f} instead of "
        f"{loss.before:.3f} on {loss.images} images of {source}"
    )


if __name__ == "__main__":
    sys.exit(run(main))

"""``python -m tracking.export``: a registered model as one file that runs without crossfold."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import folds.early  # noqa: F401  (first: what follows takes a second)
from folds.cli import parse, run, tell
from folds.documents import read_json_file
from folds.errors import UserError
from folds.files import check_folder


@dataclass
class Options:
    """Which model, which kind of file, which file."""

    out: Path
    """File to write."""
    model: str = "models:/crossfold@champion"
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION or models:/ID."""
    to: Literal["onnx", "pt2"] = "onnx"
    """onnx: for onnxruntime and others; pt2: for torch.export.load."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Export a model."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.export", description=__doc__)
    if not options.out.resolve().parent.is_dir():
        raise UserError(f"--out {options.out}: no folder {options.out.resolve().parent}; make it")
    check_folder(f"--out {options.out}", options.out.absolute().parent)
    from folds.model.export import check_target, export
    from folds.model.mixture import BundleError
    from tracking import store
    from tracking.models import fetch_bundle

    check_target(options.to)
    store.connect(options.tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
        bundle = fetch_bundle(options.model, Path(folder))
        try:
            difference = export(bundle, options.to, options.out)
        except BundleError as error:
            raise UserError(f"--model {options.model}: cannot be loaded ({error})") from None
        adapt = read_json_file(bundle / "model.json").get("adapt", "none")
    if adapt != "none":
        tell(f"notice: the file does not adapt to images as the model does (--adapt {adapt})")
    print(f"{options.model} is in {options.out}; probabilities differ by at most {difference:.1g}")


if __name__ == "__main__":
    sys.exit(run(main))

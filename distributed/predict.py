"""Classify images with a registered model over a Ray cluster: ``python -m distributed.predict``.

For more images than one machine wants to see: files are read beside this command, sent to copies of
the model on all machines, and the answers written to one Parquet file as they come. Use
``tracking.predict`` for some thousand; it answers alike.
"""

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import folds.early  # noqa: F401  (first: what follows takes a second)
from distributed.cv import leave
from folds import cli
from folds.config.adaptation import refuse_adapt
from folds.errors import RunError, UserError
from folds.files import check_file


@dataclass
class Options:
    """Which model, which images, which file."""

    data: str
    """Images: a folder with image files at any depth, or a .csv or .parquet table with a column
    path."""
    model: str = "models:/crossfold@champion"
    """Model: models:/NAME@ALIAS, models:/NAME/VERSION or models:/ID."""
    out: Path = Path("predictions.parquet")
    """Parquet file to write: id, and the columns of tracking.predict's; of a file that cannot be
    read they are empty, and how many there are is told."""
    batch: int = 256
    """Images at a time for each copy of the model."""
    adapt: str | None = None
    """As --adapt of tracking.predict; each batch is a table of its own."""
    address: str | None = None
    """Ray cluster to join ('auto', host:port); default: RAY_ADDRESS, or a Ray of this machine."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""
    progress: cli.Progress = "auto"
    """What is seen while it works: auto or plain, a line now and then; json, lines of JSON on
    stdout and all else on stderr; off."""


def main() -> None:
    """Predict, write, tell."""
    options = cli.parse(
        Options, sys.argv[1:], prog="python -m distributed.predict", description=__doc__ or ""
    )
    _check(options)
    console = cli.Screen(options.progress, emoji=False)
    from distributed import cluster
    from distributed.data.predict import columns_of, predict_files
    from distributed.run import notify, say
    from folds.images.source import list_unlabelled
    from tracking import store
    from tracking.flavor import load_scorer
    from tracking.models import fetch_bundle

    root, ids, notices = list_unlabelled(options.data)
    address = cluster.address_of(options.address)
    for notice in [*notices, *cluster.set_environment(address)]:
        notify(console, notice)
    store.connect(options.tracking_uri)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = fetch_bundle(options.model, Path(scratch))
        try:
            columns = columns_of(load_scorer(bundle))
        except ValueError as error:
            raise UserError(f"--model {options.model}: cannot be loaded ({error})") from None
        cluster.start(address, cluster.local_resources(), verbose=False)
        told = predict_files(
            bundle, columns, root, ids, options.out, batch=options.batch, adapt=options.adapt,
            console=console,
        )  # fmt: skip
    _conclude(options, len(ids), told)
    say(console, f"{len(ids)} predictions of {options.model} are in {options.out}")
    if address is not None:
        cluster.stop()


def _conclude(options: Options, count: int, told: Counter[str]) -> None:
    """Tell what was asked for and not done, and how many files were broken."""
    from distributed.data.predict import BROKEN

    for line, batches in told.items():
        if line != BROKEN:
            cli.tell(f"notice: {line} (in {batches} batches of {options.batch})")
    if broken := told[BROKEN]:
        if broken == count:
            raise RunError(f"--data {options.data}: none of {count} files can be read")
        cli.tell(f"notice: {broken} of {count} files cannot be read; their rows are empty")


def _check(options: Options) -> None:
    if options.batch < 1:
        raise UserError(f"--batch {options.batch}: must be 1 or more, as 256")
    check_file("--out", options.out)
    refuse_adapt(options.adapt)


if __name__ == "__main__":
    leave(cli.run(main))

"""``python -m tracking.promote``: move the alias ``champion``, or swap it back."""

import sys
from dataclasses import dataclass

from folds.cli import parse, run
from folds.errors import UserError


@dataclass
class Options:
    """Which model becomes the champion."""

    model_name: str = "crossfold"
    """Registered model."""
    version: str | None = None
    """Version to promote; default: the one with the alias candidate."""
    rollback: bool = False
    """Swap the champion and the previous one."""
    tracking_uri: str | None = None
    """MLflow store; default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db here."""


def main() -> None:
    """Promote a version."""
    options = parse(Options, sys.argv[1:], prog="python -m tracking.promote", description=__doc__)
    if options.rollback and options.version:
        raise UserError("--rollback: takes no --version; it goes back to the previous champion")
    from tracking import registry, store

    store.connect(options.tracking_uri)
    name = options.model_name
    move = registry.rollback(name) if options.rollback else registry.promote(name, options.version)
    before = f", before it version {move.previous}" if move.previous else ""
    print(f"champion of {name} is version {move.champion}{before}: models:/{name}@champion")


if __name__ == "__main__":
    sys.exit(run(main))

"""How folds are spread over machines, with Ray.  ``python -m distributed.cv`` is the main job.

dask has a package of the same name. Installed into one environment the two overwrite each
other's files, so this one refuses to start beside the other.
"""

import importlib.metadata
import sys
from pathlib import Path


def _refuse_dask(here: Path) -> None:
    """Stop with one line if dask's package lies in this very folder."""
    try:
        other = importlib.metadata.distribution("distributed")
    except importlib.metadata.PackageNotFoundError:
        return
    if Path(str(other.locate_file("distributed"))).resolve() == here.resolve():
        sys.exit(
            f"error: dask's package 'distributed' {other.version} and crossfold's lie in one "
            f"folder ({here}): use an environment of its own for crossfold, or "
            "`pip uninstall distributed` and install crossfold again"
        )


_refuse_dask(Path(__file__).parent)

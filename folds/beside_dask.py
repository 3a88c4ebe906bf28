"""dask has a package named ``distributed``, too: whichever was installed last hides the other."""

import importlib.metadata
import sys
from pathlib import Path


def refuse_dask(here: Path) -> None:
    """Stop with one line if dask's package lies in this very folder, over ours or under it.

    Parameters
    ----------
    here : Path
        The folder of our package.
    """
    for other in importlib.metadata.distributions(name="distributed"):
        if Path(str(other.locate_file("distributed"))).resolve() == here.resolve():
            sys.exit(
                f"error: dask's package 'distributed' {other.version} and crossfold's lie in one "
                f"folder ({here}): use an environment of its own for crossfold, or "
                "`pip uninstall distributed` and install crossfold again"
            )

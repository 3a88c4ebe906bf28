"""How folds are spread over machines, with Ray.  ``python -m distributed.cv`` is the main job.

dask has a package of the same name. Installed into one environment the two overwrite each
other's files, so this one refuses to start beside the other.
"""

from pathlib import Path

from folds.beside_dask import refuse_dask

refuse_dask(Path(__file__).parent)

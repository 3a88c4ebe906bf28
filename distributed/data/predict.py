"""Predictions of many files over the cluster with Ray Data."""

import io
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import ray
import torch
from numpy.typing import NDArray
from rich.table import Table

from distributed.data.ray_data import Batch, configure, content_of
from distributed.progress import Shown
from folds.cli import Screen
from folds.files import output_file
from folds.images.listing import read
from tracking.flavor import Scorer, load_scorer

BROKEN = "broken"
_READERS = 2  # tasks that read files beside the driver
_EVERY_S = 5.0  # seconds between lines of progress


def predict_files(
    bundle: Path,
    names: Sequence[str],
    root: Path,
    ids: NDArray[np.str_],
    out: Path,
    *,
    batch: int,
    adapt: str | None,
    console: Screen,
) -> Counter[str]:
    """Classify files, and write a Parquet file of the answers.

    Parameters
    ----------
    bundle : Path
        See `folds.model.mixture.open_bundle`.
    names : sequence of str
        Of the columns of its table, see `columns_of`.
    root : Path
        On this machine; the others need no file.
    ids : ndarray of str, shape (N,)
        Paths in `root`, or absolute.
    out : Path
        Replaced if it is there.
    batch : int
        Images that are asked about together.
    adapt : str, optional
        See `folds.model.predictor.Opened.answer`.

    Returns
    -------
    Counter of str
        Lines that batches told, and how many files are broken under `BROKEN`.

    Notes
    -----
    Rows are in the order of `ids`. Memory does not grow with N: Ray Data waits when what is under
    way fills its share of the object store.
    """
    answers = _answers(bundle, root, ids, batch, adapt)
    told, done = Counter[str](), 0
    with output_file(out) as scratch, _Progress(console, len(ids)) as shown:
        writer: pq.ParquetWriter | None = None
        for table in answers:
            *columns, lines = table.columns  # by their places: classes may be called anything
            for line in filter(None, lines.to_pylist()):
                told[line] += 1
            told[BROKEN] += columns[1].null_count
            named = pa.Table.from_arrays(columns, ["id", *names])
            writer = writer or pq.ParquetWriter(scratch, named.schema)
            writer.write_table(named)
            done += len(named)
            shown.show(done)
        assert writer is not None, "there is a file"
        writer.close()
    return told


def columns_of(scorer: Scorer) -> list[str]:
    """Names of the columns of a model's table."""
    return list(_nothing(scorer).columns)


def _nothing(scorer: Scorer) -> pd.DataFrame:
    """What a model says of no image: the columns and their types."""
    return scorer.table(scorer.answer(np.zeros((0, 8, 8, 3), np.uint8), adapt="none"))


def _answers(bundle: Path, root: Path, ids: NDArray[np.str_], batch: int, adapt: str | None) -> Any:
    """Tables of answers, in the order of the ids."""
    import ray.data

    context = ray.data.DataContext.get_current()
    configure(context)
    context.execution_options.preserve_order = True
    gpus, cpus = (int(ray.cluster_resources().get(name, 0)) for name in ("GPU", "CPU"))
    names = [
        pa.table({"id": ids[first : first + batch].tolist()}) for first in range(0, len(ids), batch)
    ]
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    files = {str(p.relative_to(bundle)): p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
    copies = ray.data.ActorPoolStrategy(size=max(1, min(gpus or cpus, len(names))))
    return (
        ray.data.from_arrow(names)  # blocks that no task makes: the copies have all the cores
        .map_batches(
            partial(_contents, root.absolute()), batch_size=None, num_cpus=0,
            label_selector=here, compute=ray.data.TaskPoolStrategy(size=min(_READERS, len(names))),
        )
        .map_batches(
            _Copy, fn_constructor_args=(ray.put(files), adapt),
            batch_size=None, compute=copies, num_gpus=1 if gpus else 0, num_cpus=0 if gpus else 1,
        )
        .iter_batches(batch_size=None, batch_format="pyarrow")
    )  # fmt: skip


def _contents(root: Path, batch: Batch) -> Batch:
    """The bytes of some files, by their names."""
    names = batch["id"]
    content = np.empty(len(names), dtype=object)
    content[:] = [content_of(root / name) for name in names.tolist()]
    return {"id": names, "content": content}


class _Copy:
    """A copy of the model on some machine."""

    def __init__(self, files: ray.ObjectRef, adapt: str | None) -> None:
        torch.set_num_threads(1)
        self._folder = tempfile.TemporaryDirectory()  # read again where batch norm is adapted
        for name, content in ray.get(files).items():
            path = Path(self._folder.name, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self._scorer: Scorer = load_scorer(Path(self._folder.name))
        self._adapt = adapt

    def __call__(self, batch: Batch) -> pa.Table:
        """Answers of files' contents; empty where one cannot be read."""
        contents = batch["content"].tolist()
        good = np.array([read(io.BytesIO(content), 8) is not None for content in contents])
        told: list[str] = []
        asked = [{"image": content} for content, kept in zip(contents, good, strict=True) if kept]
        known = self._table(asked, told)
        table = known.set_axis(good.nonzero()[0]).reindex(range(len(good)))
        columns = [pa.array(batch["id"].tolist(), pa.string())]
        for place, dtype in enumerate(known.dtypes):  # by places: classes may be called anything
            kind = pa.float32() if dtype == np.float32 else pa.string()
            columns.append(pa.array(table.iloc[:, place], kind, from_pandas=True))
        columns.append(pa.array(["; ".join(told) or None, *[None] * (len(good) - 1)], pa.string()))
        return pa.Table.from_arrays(columns, [f"column {n}" for n in range(len(columns))])

    def _table(self, asked: list[dict[str, bytes]], told: list[str]) -> pd.DataFrame:
        """What the model says of images that can be read."""
        if not asked:
            return _nothing(self._scorer)
        found = self._scorer.answer(asked, adapt=self._adapt, tell=told.append)
        return self._scorer.table(found)


class _Progress(Shown):
    """How far it is: a live line, or one now and then."""

    def __init__(self, console: Screen, count: int) -> None:
        self._count, self._done = count, 0
        self._since = self._last = time.monotonic()
        super().__init__(console)

    def show(self, done: int) -> None:
        """Take in how many are done; tell, unless that has just been done."""
        self._done, now = done, time.monotonic()
        if done < self._count and now - self._last < _EVERY_S:
            return
        self._last = now
        self._tell(self._line(), {"event": "predicted", "images": done, "of": self._count})

    def _line(self) -> str:
        rate = self._done / max(time.monotonic() - self._since, 1e-9)
        return f"{self._done} of {self._count} images, {rate:.0f}/s"

    def _table(self) -> Table:
        grid = Table.grid()
        grid.add_row(self._line())
        return grid

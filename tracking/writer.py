"""Writing runs and their values as MLflow's database takes them, see `tracking.limits`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from tracking import limits


class Writer:
    """Makes runs and fills them.

    Parameters
    ----------
    client : MlflowClient
        Where to.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def run(
        self, experiment_id: str, name: str, tags: Mapping[str, str], start: int | None = None
    ) -> str:
        """Make a run; `start` in ms."""
        fitted = limits.fitted(name, limits.RUN_NAME)
        run = self._client.create_run(experiment_id, start, limits.tags(tags), fitted)
        return str(run.info.run_id)

    def dataset(self, run: str, source: str, digest: str) -> None:
        """Fill the column that MLflow has for the data."""
        name = limits.fitted(Path(source).name or source, limits.DATASET_NAME)
        where = limits.fitted(json.dumps({"uri": source}), limits.DATASET_SOURCE)
        data = Dataset(name, limits.fitted(digest, limits.DATASET_DIGEST), "local", where)
        context = InputTag("mlflow.data.context", "training")
        self._client.log_inputs(run, [DatasetInput(data, [context])])

    def metrics(
        self,
        run: str,
        when: int,
        step: int,
        values: Mapping[str, float],
        model: str | None = None,
    ) -> None:
        """Log metrics with a time in ms: MLflow keeps a point written twice once.

        With a stroke for a dot in their names MLflow shows them in groups (``shift/blur``). What
        is not finite is left out. With the id of a logged model they are its own, too.
        """
        points = [
            Metric(
                limits.fitted(name.replace(".", "/"), limits.KEY),
                float(value),
                when,
                step,
                model_id=model,
            )
            for name, value in values.items()
            if np.isfinite(value)
        ]
        for some in limits.pieces(points, limits.METRICS_AT_ONCE):
            self._client.log_batch(run, metrics=some)

    def params(self, run: str, values: Mapping[str, Any]) -> None:
        """Log parameters."""
        every = [Param(*item) for item in param_texts(values).items()]
        for some in limits.pieces(every, limits.PARAMS_AT_ONCE):
            self._client.log_batch(run, params=some)

    def tag(self, run: str, key: str, value: str) -> None:
        """Set a tag."""
        self._client.set_tag(run, key, limits.fitted(value, limits.TAG))


def param_texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as text, those of several words with blanks between them."""
    return {
        limits.fitted(name, limits.KEY): limits.fitted(
            " ".join(map(str, value)) if isinstance(value, list | tuple) else value, limits.PARAM
        )
        for name, value in values.items()
    }

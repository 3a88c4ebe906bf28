"""The folder of a run that was cut off: a fold is finished, another one was begun."""

import sqlite3
from dataclasses import replace

import numpy as np

from distributed.workspace import Workspace
from folds.evaluation.predictions import CorruptedPredictions
from folds.files import write_values
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.training.outcome import EpochReport, FoldOutcome
from tracking.events import EpochEnded, Failed, Finished, Started, to_line
from tracking.recorder import Recorder

NAMES = ("fold 1", "fold 2", "fold 3")
CLASSES = ("dark", "bright")


def report(epoch):
    return EpochReport(
        epoch=epoch, stage=0, train_loss=1.0, first_loss=0.7, val_loss=1.5 - epoch / 4,
        val_accuracy=0.5, val_macro_f1=0.5, learning_rate=1e-3, images_per_second=100.0,
        seconds=1.0, score=0.5,
    )  # fmt: skip


def outcome():
    probabilities = np.full((4, 2), 0.5, np.float32)
    return FoldOutcome(
        repeat=0, fold=0, rows=np.arange(4), probabilities=probabilities,
        history=(report(0), report(1)), kept_epoch=1, averaged=False, scores={"accuracy": 0.5},
        holdout=probabilities[:0], other_views={}, other_view_scores={},
        corrupted=CorruptedPredictions(np.arange(0), (), np.zeros((0, 0), np.int64)), external={},
        measured={"accuracy": 0.5}, features=probabilities,
        epoch_logits=np.zeros((0, 4, 2), np.float16),
    )  # fmt: skip


def events():
    """Nine of them; each has a time of its own."""
    where = {"lane": 0, "host": "here", "precision": "fp32", "train": 8, "held_out": 4}
    every = [
        Started(task=0, **where), EpochEnded(task=0, report=report(0)),
        Started(task=1, **where), EpochEnded(task=1, report=report(0)),
        EpochEnded(task=0, report=report(1)),
        Finished(task=0, kept_epoch=1, scores={"accuracy": 0.5, "shift.accuracy": 0.25}),
        Started(task=2, **where), Failed(task=2, cause="loss is nan"),
        EpochEnded(task=1, report=report(1)),
    ]  # fmt: skip
    return [replace(event, time=1_700_000_000_000 + n) for n, event in enumerate(every)]


def interrupted(folder, store, name="cut-off"):
    """Make it in a folder whose runs are in a store; nothing but the parent run is in MLflow."""
    space = Workspace(folder / ".crossfold" / name)
    space.folder.mkdir(parents=True)
    write_values(space.folder / "run.json", {"format": 3, "config": {}, "digests": {}})
    space.write_labels(np.array([0, 1, 1, 0] * 3))
    outcome().write(space.fold(0))
    card = ModelCard("test_resnet", CLASSES, 32)
    model = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=1)
    write_bundle(space.bundle(0), card, model.state_dict())
    space.events.write_text("".join(to_line(event, n) for n, event in enumerate(events())))
    recorder = Recorder(store, space.memory, class_names=CLASSES, names=NAMES)
    tags = {"crossfold.dataset": "somewhere/cells", "crossfold.data_digest": "12ab"}
    recorder.open("cells", name, {"folds": 3}, tags)
    return space


def content(folder):
    """All that the database holds of runs and models, without ids and times of day."""
    of_run = "(SELECT name FROM runs WHERE runs.run_uuid = {})".format
    queries = {
        "runs": "SELECT name, status, lifecycle_stage FROM runs",
        "metrics": f"SELECT {of_run('m.run_uuid')}, key, step, timestamp, value FROM metrics m",
        "params": f"SELECT {of_run('p.run_uuid')}, key, value FROM params p",
        "tags": f"SELECT {of_run('t.run_uuid')}, key, value FROM tags t WHERE key NOT IN "
        "('crossfold.mark', 'mlflow.note.content', 'mlflow.parentRunId')",
        "models": "SELECT name, status, lifecycle_stage FROM logged_models",
        "model metrics": "SELECT metric_name, metric_step, metric_value FROM logged_model_metrics",
        "inputs": f"SELECT source_type, destination_type, {of_run('i.source_id')} FROM inputs i",
    }
    database = sqlite3.connect(folder / "mlflow.db")
    found = {name: sorted(map(repr, database.execute(query))) for name, query in queries.items()}
    database.close()
    return found | {"files": sorted(p.name for p in (folder / "mlruns").rglob("*") if p.is_file())}

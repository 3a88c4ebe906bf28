"""One of the workers that train folds, as a program: FOLDER RANK SIZE.

Trains what ``FOLDER/jobs.json`` names (settings by flag name) on ``FOLDER/images.npz`` and writes
``FOLDER/SIZE-RANK.pt``: for each job the loss of each step, the global batches and the result.
"""

import io
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

from folds.config import Config
from folds.images import load
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.splits.make import make_splits
from folds.training import fit
from folds.training.problem import Problem


def main(folder, rank, size):
    torch.set_num_threads(1)
    if size > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size
        )
    jobs = json.loads((folder / "jobs.json").read_text())
    found = {name: train(str(folder / "images.npz"), job) for name, job in jobs.items()}
    torch.save(found, folder / f"{size}-{rank}.pt")
    if size > 1:
        dist.destroy_process_group()


def train(data, job):
    config = Config.from_flat({"data": data, "precision": "fp32", **job})
    images = load(config.data, seed=0, largest=32)
    splits = make_splits(images, config.split)
    problem = Problem(config, images, splits, 32, config.train.stages, None)
    losses, batches, checkpoints = [], [], []
    plain_epoch, plain_slice = fit.train_epoch, Workers.slice

    def watched_epoch(*arguments):
        found = plain_epoch(*arguments)
        losses.append(found[0])
        return found

    def watched_slice(self, rows):
        batches.append(rows.tolist())
        return plain_slice(self, rows)

    fit.train_epoch, Workers.slice = watched_epoch, watched_slice
    try:
        result = fit.fit_fold(
            problem,
            0,
            0,
            runtime=Runtime.choose("cpu", config.train.precision),
            on_checkpoint=checkpoints.append,
        )
    finally:
        fit.train_epoch, Workers.slice = plain_epoch, plain_slice
    moments = {}
    if checkpoints:  # on rank 0
        optimizer = torch.load(io.BytesIO(checkpoints[0]), weights_only=True)["optimizer"]
        moments = {number: first_moment(state) for number, state in optimizer["state"].items()}
    return {
        "moments": moments,
        "losses": torch.cat(losses),
        "batches": batches,
        "rows": torch.from_numpy(result.rows),
        "probabilities": torch.from_numpy(result.probabilities),
        "holdout": torch.from_numpy(result.holdout),
        "tta": torch.from_numpy(result.other_views.get("tta", result.probabilities[:0])),
        "weights": result.weights,
        "best_epoch": result.kept_epoch,
    }


def first_moment(state):
    """What an optimizer keeps of the gradients, whatever it calls that."""
    return next(value for value in state.values() if torch.is_tensor(value) and value.ndim)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))

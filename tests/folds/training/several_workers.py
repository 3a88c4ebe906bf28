"""Folds trained by one worker alone and by two together, in processes of their own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

PROGRAM = Path(__file__).with_name("fold_worker.py")


def trained_by_workers(folder, jobs, images):
    """What each worker found, by (number of workers, rank); see `fold_worker`."""
    np.savez(folder / "images.npz", images=images.pixels, labels=images.labels)
    (folder / "jobs.json").write_text(json.dumps(jobs))
    for size in (1, 2):
        workers = [
            subprocess.Popen(
                [sys.executable, str(PROGRAM), str(folder), str(rank), str(size)],
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(size)
        ]
        for worker in workers:
            message = worker.communicate(timeout=300)[1]
            assert worker.returncode == 0, message
    return {
        (size, rank): torch.load(folder / f"{size}-{rank}.pt", weights_only=True)
        for size, rank in ((1, 0), (2, 0), (2, 1))
    }

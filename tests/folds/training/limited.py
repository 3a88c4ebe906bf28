"""What a process with little memory finds: ``python -m ... passes|trained FILE MEGABYTES``."""

import re
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from folds.config.corruptions import suite
from folds.runtime.cpu import keep_memory
from folds.runtime.device import Runtime
from folds.runtime.memory import free_memory, out_of_memory
from folds.runtime.workers import Workers
from folds.training.attempt import FIRST
from folds.training.context import fold_context
from folds.training.fit import fit_fold
from folds.training.frozen import FrozenFeatureExtractor, fresh_model, no_frozen_features
from folds.training.frozen_view import View
from folds.training.parts import smaller
from folds.training.predict import predict
from folds.training.validate import predict_corrupted
from tests.conftest import small_images, small_problem

CPU = Runtime.choose("cpu", "fp32")
DEPTH = 4


def problem():
    """Batches of 64 images need more than a hundred megabytes."""
    images = small_images((48, 40, 40), side=160)
    return small_problem(images, size=160, batch_size=64, stages=["1:2:1e-3"], precision="fp32")


def limit(megabytes):
    """Take no more memory; what libraries take once and for all is taken before."""
    square = np.ones((256, 256))
    np.matmul(square, square)
    images = torch.ones(2, 3, 64, 64, requires_grad=True)
    weights = torch.ones(8, 3, 16, 16, requires_grad=True)
    torch.nn.functional.conv2d(images, weights, stride=16).sum().backward()
    status = Path("/proc/self/status").read_text()
    taken = int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + megabytes * 2**20, hard))


def passes(one):
    """Results of each kind of pass without gradients, and how many images at once had room."""
    context = fold_context(one, 0, 0, CPU, Workers(), no_frozen_features)
    model, rows = fresh_model(one, CPU), np.arange(len(one.images))
    probabilities = predict(context, model, context.pixels, rows, "d4")
    corrupted = predict_corrupted(context, model, suite("fast")[:3], 1.0)
    extractor = FrozenFeatureExtractor(one, CPU)
    features = extractor.outputs(View(0, DEPTH), 0, len(rows)).numpy()
    found = {"probabilities": probabilities, "corrupted": corrupted.predicted}
    found |= {"features": features, "most": context.pieces._most or 0}
    return found | {"most_features": extractor._pieces._most or 0}


def trained(one):
    """A fold in as many parts as it needs."""
    attempt = FIRST
    while True:
        try:
            result = fit_fold(one, 0, 0, runtime=CPU, attempt=attempt)
            return {"trained": result.probabilities, "parts": attempt.parts}
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            print(f"{attempt}: {error}", file=sys.stderr)
        free_memory()
        attempt = smaller(one, 1, attempt)
        assert attempt is not None, "no room for one image"


if __name__ == "__main__":
    torch.set_num_threads(1)
    small = problem()
    keep_memory()
    limit(int(sys.argv[3]))
    np.savez(sys.argv[2], **{"passes": passes, "trained": trained}[sys.argv[1]](small))

"""Heat maps are of the model that had not seen the image, and no run fails for want of them."""

import numpy as np
import pytest
import torch

from distributed.outcome.heat import FoldHeat
from distributed.outcome.pooling import pool
from distributed.planning.plan import Plan
from folds.augment import to_input
from folds.model.backbone import Classifier
from folds.model.occlusion import heat_maps
from tests.distributed.finished import finished_run, fold_of, problem_of, weights_of

ROWS = np.array([70, 3, 41, 8, 100])  # of 64 images twice


def weights(problem, repeat, fold):
    """Of a fold's model, which is surer than at random."""
    found = weights_of(problem, 3 * repeat + fold)
    return found | {"head.weight": 50 * found["head.weight"]}


@pytest.fixture
def asked(tmp_path):
    """A finished run, its pooled predictions, and some rows with their images and classes."""
    problem = problem_of(folds=3, repeats=2)

    def fold(problem, repeat, number):
        return fold_of(problem, repeat, number, weights=weights(problem, repeat, number))

    run, results = finished_run(tmp_path, problem, fold=fold)
    pooled = pool(run.prepared, results)
    row_of = {name: row for row, name in enumerate(problem.images.ids)}
    pixels = problem.images.pixels[[row_of[name] for name in pooled.ids[ROWS]]]
    return run, pooled.oof, (ROWS, pixels, np.array([0, 1, 2, 0, 1]))


def test_each_map_is_of_the_fold_that_validated_the_image(asked):
    run, oof, (rows, pixels, classes) = asked
    images, splits = run.prepared.problem.images, run.prepared.problem.splits
    maps = FoldHeat(run, oof)(rows, pixels, classes)
    for row, image, label, found in zip(rows, pixels, classes.tolist(), maps, strict=True):
        for repeat, fold in run.prepared.folds:
            trained, held_out = splits.parts(repeat, fold, images.ids)
            same = [
                (images.pixels[part] == image).all((1, 2, 3)).any() for part in (trained, held_out)
            ]
            network = Classifier("test_resnet", classes=3, size=32)
            network.load_state_dict(weights(run.prepared.problem, repeat, fold))
            own = heat_maps(network, to_input(torch.from_numpy(image[None]), 32), [label])[0]
            mine = same == [False, True] and repeat == oof.repeat[row]
            assert np.allclose(found, own, atol=1e-4) == mine


def test_a_worker_makes_the_same(asked, local_ray, monkeypatch):
    run, oof, given = asked
    maps = FoldHeat(run, oof)(*given)
    monkeypatch.setattr(Plan, "resources_per_worker", {"CPU": 1, "GPU": 1})
    monkeypatch.setattr(local_ray, "remote", without_gpus(local_ray.remote))
    found = FoldHeat(run, oof)(*given)
    assert run.console.file.getvalue() == ""
    np.testing.assert_allclose(found, maps, atol=1e-4)


def without_gpus(remote):
    """Ray's `remote` on a machine without GPUs."""

    class Asked:
        def __init__(self, function):
            self.function = function

        def options(self, num_cpus, num_gpus):
            assert num_gpus == 1
            return remote(self.function).options(num_cpus=num_cpus)

    return Asked


@pytest.mark.parametrize("broken", ["model.json", "model.safetensors"])
def test_what_fails_is_told_once(asked, broken):
    run, oof, given = asked
    for task in run.there:
        (run.space.bundle(task) / broken).write_bytes(b"{}")
    heat = FoldHeat(run, oof)
    assert heat(*given) is None
    assert heat(*given) is None
    assert run.console.file.getvalue().count("notice: the report has no heat maps: ") == 1

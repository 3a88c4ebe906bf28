"""A lane trains the same whether or not this Ray lets it start with fewer processes."""

import numpy as np
import pytest
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from distributed.lanes import trainer
from tests.distributed.lanes.test_lane import train


@pytest.fixture
def another_ray(monkeypatch):
    """A version of Ray without the private method; Ray's own trainers still find it."""
    plain = trainer.lean_trainer
    monkeypatch.setattr(trainer, "hasattr", lambda *_: False, raising=False)
    assert plain() is None


def test_this_ray_has_what_the_lean_trainer_leans_on():
    lean = trainer.lean_trainer()
    assert lean is not None
    assert issubclass(lean, DataParallelTrainer)


def test_with_another_version_the_public_trainer_trains_the_same(
    local_ray, tmp_path, make_problem, monkeypatch
):
    problem, found = make_problem(stages=["1:1:1e-3"]), []
    lean, alone = trainer.lean_trainer(), trainer.lean_trainer(grows=False)
    for name, made in (("lean", lean), ("alone", alone), ("public", None)):
        monkeypatch.setattr(trainer, "lean_trainer", lambda grows, made=made: made)
        (tmp_path / name).mkdir()
        _, space = train(local_ray, tmp_path / name, problem, workers=1)
        found.append(space.read_outcome(0).probabilities)
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.usefixtures("another_ray")
def test_another_version_gets_the_public_trainer():
    from ray.train.torch import TorchTrainer

    made = trainer.make_trainer(lambda config: None, workers=1, backend="gloo")
    assert isinstance(made, TorchTrainer)

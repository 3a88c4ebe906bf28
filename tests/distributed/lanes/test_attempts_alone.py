"""How a lane tries a fold otherwise, without Ray: its ledger is called directly."""

from types import SimpleNamespace

import pytest
import torch

from distributed.lanes import lane as lane_module
from distributed.lanes.lane import Lane
from distributed.lanes.ledger import Ledger
from distributed.planning.plan import Plan
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.frozen import no_frozen_features
from tests.conftest import small_problem
from tracking.events import EpochEnded, Failed, Finished, Retried

CPU = Runtime.choose("cpu", "fp32")


class Direct:
    """A ledger whose methods are called at once, as a handle's."""

    def __init__(self, book):
        self._book = book

    def __getattr__(self, name):
        return SimpleNamespace(remote=getattr(self._book, name))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Let a lane train one fold, each attempt of which may be spoilt; the journal."""
    monkeypatch.setattr(lane_module, "ray", SimpleNamespace(get=lambda value: value))
    original = lane_module.fit_fold

    def run(problem, spoil=lambda attempt, report: None):
        def fit(*args, attempt, on_epoch, **options):
            def ended(report):
                on_epoch(report)
                spoil(attempt, report)

            return original(*args, attempt=attempt, on_epoch=ended, **options)

        monkeypatch.setattr(lane_module, "fit_fold", fit)
        book = Ledger(str(tmp_path), [(0, 0)], 0)
        lane = Lane(0, None, Direct(book), Plan("cpu", 1, 1, 1, 1), CPU)
        while (claim := lane_module._next_claim(lane, Workers())) is not None:
            given = lane, problem, claim, Workers()
            if (failure := lane_module._train(*given, no_frozen_features)) is not None:
                lane_module._try_otherwise(*given, failure)
        return book.events(0)

    return run


def told(events):
    names = {EpochEnded: lambda event: event.report.epoch, Retried: lambda event: event.parts}
    return [(type(event), names[type(event)](event)) for event in events if type(event) in names]


def test_memory_that_is_full_halves_the_parts_until_it_goes_on(run):
    def spoil(attempt, report):
        if attempt.parts < 4 and report.epoch == 1:
            torch.empty(2**50)

    events = run(small_problem(backbone="test_resnet", stages=["1:3:1e-3"]), spoil)
    assert told(events) == [
        (EpochEnded, 0), (EpochEnded, 1), (Retried, 2), (EpochEnded, 1), (Retried, 4),
        (EpochEnded, 1), (EpochEnded, 2),
    ]  # fmt: skip
    assert isinstance(events[-1], Finished)
    assert "batch norm sees only a part at once" in events[3].cause


def test_at_one_image_it_stops_with_a_remedy(run):
    events = run(small_problem(batch_size=12), lambda attempt, report: torch.empty(2**50))
    assert [parts for kind, parts in told(events) if kind is Retried] == [2, 4, 8, 12]
    assert isinstance(events[-1], Failed)
    assert "with as few images at once as can be trained on, in 12 parts" in events[-1].cause
    assert "lower --image-size, choose a smaller --backbone, or free memory" in events[-1].cause


def test_an_error_of_another_kind_is_no_reason_to_try_otherwise(run):
    def spoil(attempt, report):
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        run(small_problem(), spoil)

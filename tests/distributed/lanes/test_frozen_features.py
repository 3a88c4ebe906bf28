"""Outputs of the frozen front, computed by lanes together."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from distributed.lanes.frozen_features import (
    PIECE_ROWS,
    compute_frozen_features,
    cut,
    to_array,
    to_tensor,
)
from distributed.lanes.lane import Lane, run_lane
from distributed.lanes.ledger import Ledger
from distributed.lanes.pieces import Piece
from distributed.planning.plan import Plan
from distributed.workspace import Workspace
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.training.frozen import no_frozen_features, shareable_views
from folds.training.frozen_view import PLAIN, View

CPU = Runtime.choose("cpu", "fp32")
VIEWS = [View(PLAIN, 3), View(0, 3)]


@pytest.mark.parametrize("images", [1, PIECE_ROWS - 1, PIECE_ROWS, 3 * PIECE_ROWS + 7])
def test_pieces_cover_every_image_of_every_view_once(images):
    pieces = cut(VIEWS, images)
    for view in VIEWS:
        rows = [row for p in pieces if p.view == view for row in range(p.first, p.last)]
        assert rows == list(range(images))
    assert [piece.view for piece in pieces] == sorted((p.view for p in pieces), key=VIEWS.index)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outputs_survive_the_journey_bit_by_bit(dtype):
    output = torch.randn(5, 3).to(dtype)
    again = to_tensor(to_array(output))
    assert again.dtype == dtype
    assert torch.equal(again, output)


class TestLedger:
    @pytest.fixture
    def book(self, tmp_path, local_ray):
        pieces = [Piece(VIEWS[0], 0, 2), Piece(VIEWS[0], 2, 4), Piece(VIEWS[1], 0, 4)]
        return Ledger(str(tmp_path), [(0, 0)], 1, pieces), pieces

    def test_gives_every_piece_before_any_again(self, book):
        ledger, pieces = book
        assert [ledger.next_piece() for _ in pieces] == pieces

    def test_gives_again_what_a_lost_worker_had_and_ends_when_all_is_there(self, book):
        ledger, pieces = book
        for _ in pieces:
            ledger.next_piece()
        ledger.deliver(pieces[1], np.zeros(2))
        again = [ledger.next_piece() for _ in range(4)]
        assert again == [pieces[0], pieces[2], pieces[0], pieces[2]]
        ledger.deliver(pieces[0], np.zeros(2))
        ledger.deliver(pieces[2], np.zeros(4))
        assert ledger.next_piece() is None
        assert set(ledger.outputs()) == set(pieces)
        assert ledger.seconds()["shared features"] >= 0

    def test_keeps_the_first_of_two_deliveries(self, book, local_ray):
        ledger, pieces = book
        for value in (1.0, 2.0):
            for piece in pieces:
                assert ledger.outputs() is None or value == 2.0
                ledger.deliver(piece, np.full(2, value))
        assert local_ray.get(ledger.outputs()[pieces[0]]).tolist() == [1.0, 1.0]

    def test_needs_no_torch(self):
        code = "import sys, distributed.lanes.ledger; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_to_share_shares_nothing(local_ray, tmp_path, make_problem):
    ledger = local_ray.remote(Ledger).options(num_cpus=0).remote(str(tmp_path), [(0, 0)], 1)
    assert compute_frozen_features(make_problem(), CPU, ledger) is no_frozen_features


@pytest.fixture
def tuned(make_problem):
    """A problem whose folds begin with the same weights, and a frozen stage."""
    problem = make_problem(
        count=PIECE_ROWS + 64,
        stages=["0:2:1e-2", "1:1:1e-3"],
        batch_size=64,
        backbone="test_resnet",
    )
    model = build("test_resnet", classes=2, size=32, dropout=0.0, pretrained=None, seed=3)
    return dataclasses.replace(problem, size=32, pretrained=model.backbone.state_dict())


def test_lanes_train_the_same_from_shared_outputs(local_ray, tmp_path, tuned):
    views = shareable_views(tuned, 10**9)
    assert {view.epoch for view in views} == {PLAIN, 0, 1}
    found = {}
    for name, pieces in (("direct", []), ("shared", cut(views, len(tuned.images)))):
        folder = tmp_path / name
        folder.mkdir()
        actor = local_ray.remote(Ledger).options(num_cpus=0)
        ledger = actor.remote(str(folder), [(0, 0), (0, 1)], 1, pieces)
        lane = Lane(0, local_ray.put(tuned), ledger, Plan("cpu", 1, 1, 1, 2), CPU)
        run_lane(lane, storage=str(folder / "ray"), name=name)
        assert set(local_ray.get(ledger.outputs.remote())) == set(pieces)
        found[name] = [Workspace(folder).read_outcome(task) for task in (0, 1)]
    for direct, shared in zip(found["direct"], found["shared"], strict=True):
        losses = [[report.val_loss for report in one.history] for one in (direct, shared)]
        np.testing.assert_allclose(*losses, atol=1e-4)
        np.testing.assert_allclose(direct.probabilities, shared.probabilities, atol=1e-3)

import json

import pytest
import torch

from distributed.lanes.ledger import Claim, Ledger, read_journal
from distributed.lanes.packing import pack
from distributed.workspace import Workspace
from folds.model.bundle import ModelCard
from folds.training.checkpoint import EpochReport
from folds.training.result import FoldResult
from folds.training.validate import ShiftPredictions

CARD = ModelCard("test_resnet", ("a", "b"), 32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def ledger(folder, tasks=2, failures=1):
    return Ledger(str(folder), [(0, fold) for fold in range(tasks)], failures)


def result(fold):
    import numpy as np

    report = EpochReport(0, 0, 1.0, 1.0, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, 0.5)
    probabilities = np.full((2, 2), 0.5, np.float32)
    weights = {"w": torch.ones(2)}
    scores = {"accuracy": 0.5}
    return pack(
        FoldResult(
            repeat=0,
            fold=fold,
            rows=np.arange(2),
            probabilities=probabilities,
            weights=weights,
            history=(report,),
            best_epoch=0,
            averaged=False,
            scores=scores,
            holdout=probabilities[:0],
            other_views={},
            other_view_scores={},
            shift=ShiftPredictions(np.arange(0), (), np.zeros((0, 0), np.int64)),
            external={},
            measured=scores,
            features=probabilities,
        ),
        CARD,
    )


def test_lanes_get_every_fold_once(folder):
    book = ledger(folder, tasks=3)
    first, second = book.claim(0), book.claim(1)
    book.finish(0, first.task, result(0))
    third = book.claim(0)
    book.finish(1, second.task, result(1))
    book.finish(0, third.task, result(2))
    assert [first, second, third] == [Claim(0, 0, 0), Claim(1, 0, 1), Claim(2, 0, 2)]
    assert book.claim(0) is None
    assert book.claim(1) is None


def test_a_lane_that_lost_its_workers_gets_its_fold_again(folder):
    book = ledger(folder)
    assert book.claim(0) == book.claim(0)


def test_a_fold_that_keeps_losing_workers_is_given_up_with_its_cause(folder):
    book = ledger(folder, failures=1)
    book.claim(0)
    book.trouble(0, "MemoryError: no memory")
    book.claim(0)
    assert book.claim(0) == Claim(1, 0, 1)
    failed = [event for event in book.events(0) if event["kind"] == "failed"]
    assert [event["task"] for event in failed] == [0]
    assert "MemoryError" in failed[0]["cause"]


def test_an_event_told_twice_is_in_the_journal_once(folder):
    book = ledger(folder)
    book.tell("epoch", 0, epoch=3, val_loss=0.5)
    book.tell("epoch", 0, epoch=3, val_loss=0.5)
    book.tell("epoch", 0, epoch=4, val_loss=0.4)
    assert [event["epoch"] for event in read_journal(folder / "events.jsonl")] == [3, 4]


def test_a_new_ledger_goes_on_where_the_old_one_ended(folder):
    book = ledger(folder)
    book.finish(0, book.claim(0).task, result(0))
    book.fail(0, book.claim(0).task, "nan")
    again = ledger(folder)
    assert again.claim(0) == Claim(1, 0, 1)
    again.fail(0, 1, "nan again")
    kinds = [(event["kind"], event["task"]) for event in again.events(0)]
    assert kinds == [("finished", 0), ("failed", 1), ("failed", 1)]


def test_a_line_cut_off_by_a_crash_is_dropped(folder):
    path = folder / "events.jsonl"
    path.write_text(json.dumps({"kind": "epoch"}) + '\n{"kind": "ep')
    assert read_journal(path) == [{"kind": "epoch"}]


def test_a_checkpoint_lasts_until_the_fold_is_finished(folder):
    book = ledger(folder)
    task = book.claim(0).task
    book.save_checkpoint(task, b"state")
    assert ledger(folder).checkpoint(task) == b"state"
    book.finish(0, task, result(0))
    assert book.checkpoint(task) is None
    found = Workspace(folder).read_result(task)
    assert found["scores"] == {"accuracy": 0.5}
    assert found["probabilities"].shape == (2, 2)
    assert found["holdout"].shape == (0, 2)


def test_a_journal_with_a_torn_line_is_mended_for_good(folder):
    book = ledger(folder)
    book.tell("epoch", 0, epoch=0)
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "ep')
    ledger(folder).tell("epoch", 0, epoch=1)
    assert [event["epoch"] for event in ledger(folder).events(0)] == [0, 1]


def test_a_result_whose_event_was_lost_is_told_by_the_next_ledger(folder):
    ledger(folder).finish(0, 0, result(0))
    (folder / "events.jsonl").unlink()
    told = ledger(folder).events(0)
    assert [(event["kind"], event["task"]) for event in told] == [("finished", 0)]


def test_the_first_worker_to_complain_names_the_cause(folder):
    book = ledger(folder, failures=0)
    book.claim(0)
    book.trouble(0, "OutOfMemoryError")
    book.trouble(0, "connection closed by peer")
    book.claim(0)
    assert "OutOfMemoryError" in book.events(0)[0]["cause"]

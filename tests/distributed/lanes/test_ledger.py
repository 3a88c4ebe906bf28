import time

import numpy as np
import pytest

from distributed.lanes.ledger import Claim, Ledger
from distributed.lanes.pieces import Piece
from distributed.workspace import Workspace
from folds.errors import RunError
from folds.evaluation.predictions import CorruptedPredictions
from folds.training.attempt import FIRST, Attempt
from folds.training.frozen_view import View
from folds.training.outcome import EpochReport, FoldOutcome
from tracking.events import EpochEnded, Failed, Finished, Lost, Retried, read_journal, to_line

BUNDLE = {"model.json": b"{}"}


@pytest.fixture
def folder(tmp_path):
    return tmp_path


def ledger(folder, tasks=2, failures=1, start=None):
    return Ledger(str(folder), [(0, fold) for fold in range(tasks)], failures, start=start)


def report(epoch=0):
    return EpochReport(epoch, 0, 1.0, 1.0, 1.0, 0.5, 0.5, 1e-3, 10.0, 1.0, 0.5)


def outcome(fold):
    probabilities = np.full((2, 2), 0.5, np.float32)
    scores = {"accuracy": 0.5}
    return FoldOutcome(
        repeat=0,
        fold=fold,
        rows=np.arange(2),
        probabilities=probabilities,
        history=(report(),),
        kept_epoch=0,
        averaged=False,
        scores=scores,
        holdout=probabilities[:0],
        other_views={},
        other_view_scores={},
        corrupted=CorruptedPredictions(np.arange(0), (), np.zeros((0, 0), np.int64)),
        external={},
        measured=scores,
        features=probabilities,
        epoch_logits=np.zeros((0, 2, 2), np.float16),
    )


def told(events):
    return [(type(event), event.task) for event in events]


def test_a_result_that_cannot_be_written_is_told(folder):
    book = ledger(folder)
    assert book.claim(0).task == 0
    (folder / "fold-0" / "result.npz").mkdir(parents=True)  # nothing takes its place
    with pytest.raises(RunError, match=r"result\.npz: cannot be written"):
        book.finish(0, 0, outcome(0), BUNDLE)
    assert "result.npz: cannot be written" in book.unwritten()


class TestRuntime:
    def test_the_first_lane_that_asks_measures_and_all_compute_alike(self, folder):
        book = ledger(folder)
        assert book.runtime(None) == (None, False)
        assert book.runtime(1) == (None, True)
        assert book.runtime(0) == (None, False)
        book.settle({"precision": "bf16"})
        book.settle({"precision": "fp32"})
        assert book.runtime(0) == book.runtime(None) == ({"precision": "bf16"}, False)
        assert ledger(folder).runtime(0) == ({"precision": "bf16"}, False)  # also when it goes on
        assert book.seconds()["probe"] > 0

    def test_a_lane_that_lost_its_workers_measures_again(self, folder):
        book = ledger(folder)
        assert book.runtime(1) == book.runtime(1) == (None, True)

    def test_a_lane_that_does_not_come_back_is_not_waited_for(self, folder, monkeypatch):
        book = ledger(folder)
        book.runtime(1)
        now = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: now + 1e4)
        assert book.runtime(0) == (None, True)


def test_lanes_get_every_fold_once(folder):
    book = ledger(folder, tasks=3)
    first, second = book.claim(0), book.claim(1)
    book.finish(0, first.task, outcome(0), BUNDLE)
    third = book.claim(0)
    book.finish(1, second.task, outcome(1), BUNDLE)
    book.finish(0, third.task, outcome(2), BUNDLE)
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
    (failed,) = book.events(0)
    assert told([failed]) == [(Failed, 0)]
    assert "MemoryError" in failed.cause


def test_an_event_told_twice_is_in_the_journal_once(folder):
    book = ledger(folder)
    for epoch in (3, 3, 4):
        book.record(EpochEnded(task=0, report=report(epoch)))
    events = read_journal(folder / "events.jsonl")
    assert events == book.events(0)
    assert [event.report.epoch for event in events] == [3, 4]
    assert events[0].time > 0


def test_a_new_ledger_goes_on_where_the_old_one_ended(folder):
    book = ledger(folder)
    book.finish(0, book.claim(0).task, outcome(0), BUNDLE)
    book.fail(0, book.claim(0).task, "nan")
    again = ledger(folder)
    assert again.claim(0) == Claim(1, 0, 1)
    again.fail(0, 1, "nan again")
    assert told(again.events(0)) == [(Finished, 0), (Failed, 1), (Failed, 1)]


def test_a_line_cut_off_by_a_crash_is_dropped(folder):
    path = folder / "events.jsonl"
    failed = Failed(task=1, cause="nan")
    path.write_text(to_line(failed) + '{"kind": "ep')
    assert read_journal(path) == [failed]


def test_a_checkpoint_lasts_until_the_fold_is_finished(folder):
    book = ledger(folder)
    task = book.claim(0).task
    book.save_checkpoint(task, b"state")
    assert ledger(folder).checkpoint(task) == b"state"
    book.finish(0, task, outcome(0), BUNDLE)
    assert book.checkpoint(task) is None
    found = Workspace(folder).read_outcome(task)
    assert found.scores == {"accuracy": 0.5}
    assert found.probabilities.shape == (2, 2)
    assert found.holdout.shape == (0, 2)


def test_a_journal_with_a_torn_line_is_mended_for_good(folder):
    book = ledger(folder)
    book.record(EpochEnded(task=0, report=report(0)))
    with (folder / "events.jsonl").open("a") as file:
        file.write('{"kind": "ep')
    ledger(folder).record(EpochEnded(task=0, report=report(1)))
    assert [event.report.epoch for event in ledger(folder).events(0)] == [0, 1]


def test_a_result_whose_event_was_lost_is_told_by_the_next_ledger(folder):
    ledger(folder).finish(0, 0, outcome(0), BUNDLE)
    (folder / "events.jsonl").unlink()
    assert told(ledger(folder).events(0)) == [(Finished, 0)]


def test_the_first_worker_to_complain_names_the_cause(folder):
    book = ledger(folder, failures=0)
    book.claim(0)
    book.trouble(0, "OutOfMemoryError")
    book.trouble(0, "connection closed by peer")
    book.claim(0)
    assert "OutOfMemoryError" in book.events(0)[0].cause


def test_a_folder_that_takes_no_more_is_told_and_the_journal_stays_whole(folder):
    book = ledger(folder)
    book.record(EpochEnded(task=0, report=report()))
    (folder / "events.jsonl").rename(folder / "kept")
    (folder / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        book.record(EpochEnded(task=0, report=report(1)))
    assert book.unwritten() == f"{folder}: [Errno 28] No space left on device"
    (folder / "kept").replace(folder / "events.jsonl")
    book.record(EpochEnded(task=0, report=report(1)))  # nobody took it for written
    assert [event.report.epoch for event in read_journal(folder / "events.jsonl")] == [0, 1]


class TestAnotherAttempt:
    HALF = Attempt(parts=2)

    def test_is_what_the_lane_gets_next_and_no_loss(self, folder):
        book = ledger(folder, failures=0)
        book.claim(0)
        book.retry(0, 0, FIRST, self.HALF, "out of memory")
        book.trouble(0, "connection closed by peer")
        assert book.claim(0) == Claim(0, 0, 0, attempt=self.HALF)
        assert told(book.events(0)) == [(Retried, 0)]
        book.claim(0)  # now its workers are lost
        assert book.events(1) == [
            Failed(
                task=0,
                time=book.events(1)[0].time,
                cause="its workers were lost (1 time; --max-failures 0)",
            )
        ]

    def test_that_two_workers_ask_for_is_made_once(self, folder):
        book = ledger(folder)
        book.claim(0)
        for _ in range(2):
            book.retry(0, 0, FIRST, self.HALF, "out of memory")
        assert told(book.events(0)) == [(Retried, 0)]
        assert book.claim(0).attempt == self.HALF

    def test_that_is_the_last_ends_the_fold_once(self, folder):
        book = ledger(folder)
        book.claim(0)
        book.retry(0, 0, FIRST, None, "out of memory with one image")
        assert book.claim(0) == Claim(1, 0, 1)
        book.retry(0, 0, FIRST, None, "out of memory with one image")  # another worker's
        assert told(book.events(0)) == [(Failed, 0)]
        assert book.claim(1) is None

    def test_is_known_to_the_next_ledger(self, folder):
        book = ledger(folder)
        book.claim(0)
        book.retry(0, 0, FIRST, self.HALF, "out of memory")
        book.retry(0, 0, self.HALF, Attempt(2, 0.5), "nan")
        assert ledger(folder).claim(0).attempt == Attempt(2, 0.5)

    def test_tells_its_epochs_again_and_each_once(self, folder):
        book = ledger(folder)
        book.claim(0)
        book.record(EpochEnded(task=0, report=report(0)))
        book.record(EpochEnded(task=0, report=report(1)))
        book.retry(0, 0, FIRST, Attempt(rate=0.5), "nan")
        for keeper in (book, ledger(folder)):
            keeper.record(EpochEnded(task=0, report=report(1)))
        epochs = [
            e.report.epoch
            for e in read_journal(folder / "events.jsonl")
            if told([e])[0][0] is EpochEnded
        ]
        assert epochs == [0, 1, 1]


class TestDamage:
    def test_of_a_checkpoint_costs_the_epochs_since_the_one_before(self, folder):
        book = ledger(folder)
        book.save_checkpoint(0, b"first")
        book.record(EpochEnded(task=0, report=report(0)))
        book.save_checkpoint(0, b"second")
        path = Workspace(folder).checkpoint(0)
        path.write_bytes(path.read_bytes().replace(b"second", b"sekond"))
        assert book.checkpoint(0) == book.checkpoint(0) == b"first"
        (damage,) = book.events(1)
        assert damage.cause.endswith(
            "checkpoint.pt: damaged, its checksum is another; the one before is used"
        )
        book.record(EpochEnded(task=0, report=report(0)))  # the same numbers
        assert told(book.events(0)) == [(EpochEnded, 0), (Retried, 0)]
        before = Workspace(folder).fold(0) / "checkpoint.before.pt"
        before.write_bytes(b"")
        assert book.checkpoint(0) is None
        assert book.events(2)[0].cause.endswith("the fold begins again")
        assert book.checkpoint(0) is None
        assert len(book.events(0)) == 3

    @pytest.mark.parametrize("name", ["result.npz", "result.json", "bundle/model.json"])
    def test_of_a_finished_fold_lets_it_begin_again(self, folder, name):
        book = ledger(folder)
        book.record(EpochEnded(task=0, report=report(0)))
        book.finish(0, book.claim(0).task, outcome(0), BUNDLE)
        path = Workspace(folder).fold(0) / name
        path.write_bytes(path.read_bytes()[:-1])
        again = ledger(folder)
        assert f"{name}: damaged, its checksum is another; the fold begins again" in (
            again.events(0)[-1].cause
        )
        assert again.claim(0) == Claim(0, 0, 0)
        again.record(EpochEnded(task=0, report=report(0)))
        again.finish(0, 0, outcome(0), BUNDLE)
        assert told(again.events(0)) == [
            (EpochEnded, 0), (Finished, 0), (Retried, 0), (Finished, 0)
        ]  # fmt: skip

    def test_of_the_journal_leaves_all_else_in_its_place_and_is_made_good_in_the_end(self, folder):
        book = ledger(folder)
        for task, epoch in ((0, 0), (1, 0), (0, 1)):
            book.record(EpochEnded(task=task, report=report(epoch)))
        path = folder / "events.jsonl"
        first, *others = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(first.replace(b"0.5", b"0.6") + b"".join(others))
        again = ledger(folder)
        assert told(again.events(0)) == [(Lost, -1), (EpochEnded, 1), (EpochEnded, 0)]
        assert again.events(0) == ledger(folder).events(0)
        again.finish(0, again.claim(0).task, outcome(0), BUNDLE)
        assert told(again.events(3)) == [(EpochEnded, 0), (Finished, 0)]
        assert again.events(3)[0].report.epoch == 0

    def test_of_its_end_leaves_places_for_what_the_recorder_has_written(self, folder):
        ledger(folder).record(EpochEnded(task=0, report=report(0)))
        again = Ledger(str(folder), [(0, 0)], 1, written=3)
        assert told(again.events(0)) == [(EpochEnded, 0), (Lost, -1), (Lost, -1)]
        assert ledger(folder).events(0) == again.events(0)

    def test_of_how_all_is_computed_is_made_good(self, folder):
        ledger(folder).settle({"precision": "bf16"})
        Workspace(folder).runtime.write_bytes(b"{}")
        assert ledger(folder).runtime(0) == ({"precision": "bf16"}, False)


def test_folds_that_have_no_room_for_an_image_are_given_up_at_once(folder):
    book = Ledger(str(folder), [(0, 0), (0, 1)], 1, [Piece(View(0, 1), 0, 1)])
    book.give_up("out of memory with one image")
    assert book.next_piece() is None
    assert book.claim(0) is None
    assert told(book.events(0)) == [(Failed, 0), (Failed, 1)]


class TestStartedAgain:
    """What Ray does with a ledger whose process was killed, and with calls it may have lost."""

    def test_knows_who_trains_what(self, folder):
        book = ledger(folder, tasks=3, start="now")
        mine, other = book.next_claim(0, "a"), book.next_claim(1, "b")
        again = ledger(folder, tasks=3, start="now")
        assert again.next_claim(2, "c") == Claim(2, 0, 2)  # and not what the others have
        again.finish(1, other.task, outcome(1), BUNDLE)
        assert again.next_claim(1, "d") is None
        assert again.next_claim(0, "e") == mine  # its workers were lost

    def test_a_call_that_is_repeated_is_no_loss(self, folder):
        book = ledger(folder, failures=0, start="now")
        claim = book.next_claim(0, "a")
        assert book.next_claim(0, "a") == claim
        again = ledger(folder, failures=0, start="now")
        assert again.next_claim(0, "a") == claim
        again.finish(0, claim.task, outcome(0), BUNDLE)
        again.finish(0, claim.task, outcome(0), BUNDLE)
        assert again.next_claim(0, "b") == Claim(1, 0, 1)
        assert told(again.events(0)) == [(Finished, 0)]

    def test_losses_are_remembered(self, folder):
        ledger(folder, tasks=1, start="now").next_claim(0, "a")
        ledger(folder, tasks=1, start="now").next_claim(0, "b")
        book = ledger(folder, tasks=1, start="now")
        assert book.next_claim(0, "c") is None
        (failed,) = book.events(0)
        assert failed.cause == "its workers were lost (2 times; --max-failures 1)"

    def test_a_fold_that_failed_is_not_tried_again_before_the_driver_is(self, folder):
        book = ledger(folder, tasks=1, start="now")
        book.fail(0, book.next_claim(0, "a").task, "nan")
        again = ledger(folder, tasks=1, start="now")
        again.fail(0, 0, "nan")
        assert again.next_claim(0, "b") is None
        assert told(again.events(0)) == [(Failed, 0)]
        resumed = ledger(folder, tasks=1, start="later")
        assert resumed.next_claim(0, "a") == Claim(0, 0, 0)

    def test_a_fold_that_ended_in_its_last_moment_is_not_given_again(self, folder):
        book = ledger(folder, start="now")
        task = book.next_claim(0, "a").task
        Workspace(folder).write_outcome(task, outcome(0), BUNDLE)
        again = ledger(folder, start="now")
        assert again.next_claim(0, "b") == Claim(1, 0, 1)
        again.finish(0, task, outcome(0), BUNDLE)
        assert again.next_claim(0, "b") == Claim(1, 0, 1)

    def test_a_checkpoint_that_comes_after_the_result_is_dropped(self, folder):
        book = ledger(folder)
        book.finish(0, book.claim(0).task, outcome(0), BUNDLE)
        book.save_checkpoint(0, b"late")
        assert book.checkpoint(0) is None

"""When the model of all images is trained: after all folds, once, by whoever asks then."""

import numpy as np
import pytest

from distributed.lanes.ledger import Claim, Ledger
from tests.distributed.finished import fold_of, problem_of
from tracking.events import Failed, Finished

REFIT = 3  # after the folds 0 to 2


@pytest.fixture(scope="module")
def problem():
    return problem_of(folds=3, refit=True, choose_epoch="best")


@pytest.fixture
def begin(tmp_path):
    """A ledger of three folds and a refit; each is a restart of the one before."""

    def begin(failures=1):
        todo = [(0, 0), (0, 1), (0, 2), (0, REFIT)]
        return Ledger(str(tmp_path), todo, failures, refit=True)

    return begin


def finish(book, problem, lane, claim, best=0):
    values = [float(epoch == best) for epoch in range(5)]
    book.finish(lane, claim.task, fold_of(problem, 0, claim.task, values=values).outcome, {})


def test_it_is_for_the_lane_that_asks_when_the_last_fold_is_finished(begin, problem):
    book = begin()
    claims = [book.claim(lane) for lane in range(3)]
    assert claims == [Claim(0, 0, 0), Claim(1, 0, 1), Claim(2, 0, 2)]
    finish(book, problem, 1, claims[1])
    assert book.claim(1) is None  # two folds are still being trained
    finish(book, problem, 2, claims[2], best=4)
    assert book.claim(2) is None
    finish(book, problem, 0, claims[0], best=1)
    plan = book.claim(0).refit
    assert (plan.epochs, plan.averaged) == (3, False)  # 1, 5 and 2 epochs
    assert book.claim(0) == Claim(REFIT, 0, REFIT, plan)
    assert book.claim(1) is None


def test_a_failed_fold_leaves_it_out(begin, problem):
    book = begin()
    for _ in range(2):
        finish(book, problem, 0, book.claim(0))
    book.fail(0, book.claim(0).task, "nan")
    assert book.claim(0) is None
    assert [e.task for e in book.events(0) if isinstance(e, Failed)] == [2]


def test_after_a_restart_the_failed_fold_and_then_it_are_given(begin, problem):
    book = begin()
    finish(book, problem, 0, book.claim(0))
    book.fail(0, book.claim(0).task, "nan")
    finish(book, problem, 0, book.claim(0))
    again = begin()
    claim = again.claim(0)
    assert claim == Claim(1, 0, 1)
    assert again.claim(1) is None
    finish(again, problem, 0, claim)
    assert again.claim(0).refit.epochs == 1


def test_interrupted_itself_it_is_given_again_with_its_checkpoint(begin, problem):
    book = begin()
    for _ in range(3):
        finish(book, problem, 0, book.claim(0), best=2)
    claim = book.claim(0)
    book.save_checkpoint(REFIT, b"half")
    again = begin()
    assert again.claim(0) == claim
    assert again.checkpoint(REFIT) == b"half"
    assert again.claim(0) == claim  # its workers were lost
    finish(again, problem, 0, claim)
    assert again.claim(0) is None
    assert begin().claim(0) is None
    told = [(type(event), event.task) for event in begin().events(0)]
    assert told == [(Finished, task) for task in (0, 1, 2, REFIT)]


def test_a_student_is_taught_by_the_folds_that_have_not_seen_an_image(problem, tmp_path):
    todo = [(0, 0), (0, 1), (0, 2), (0, REFIT)]
    book = Ledger(str(tmp_path), todo, 1, refit=True, distill=0.6)
    for _ in range(3):
        finish(book, problem, 0, book.claim(0))
    teachers = book.claim(0).refit.teachers
    assert teachers.share == 0.6
    assert teachers.rows.tolist() == list(range(len(problem.images)))
    for fold in range(3):
        own = fold_of(problem, 0, fold)
        np.testing.assert_allclose(teachers.probabilities[own.rows], own.probabilities, atol=1e-6)


def test_without_a_refit_the_last_task_is_a_fold(tmp_path):
    book = Ledger(str(tmp_path), [(0, 0), (0, 1)], 1)
    assert [book.claim(lane).refit for lane in range(2)] == [None, None]


def test_its_result_has_no_scores_of_its_own(begin, problem, tmp_path):
    book = begin()
    for _ in range(4):
        claim = book.claim(0)
        finish(book, problem, 0, claim)
    finished = [event for event in book.events(0) if isinstance(event, Finished)]
    assert "macro_f1" in finished[0].scores
    assert finished[REFIT].scores == {}
    rows = np.load(tmp_path / f"fold-{REFIT}" / "result.npz")["rows"]
    assert rows.shape == (0,)

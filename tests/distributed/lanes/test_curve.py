"""When the folds of a learning curve are trained: after the folds, before a model of all images."""

import pytest

from distributed.lanes.ledger import Claim, Ledger
from tests.distributed.finished import fold_of, problem_of
from tracking.events import Failed

REFIT = 2  # after the folds 0 and 1, in numbers


@pytest.fixture(scope="module")
def problem():
    return problem_of(refit=True, learning_curve=[0.5])


@pytest.fixture
def begin(tmp_path):
    def begin():
        todo = [(0, 0), (0, 1), (0, REFIT), (0, 0), (0, 1)]
        return Ledger(str(tmp_path), todo, 1, refit=True, curve=[0.5, 0.5])

    return begin


def finish(book, problem, claim, lane=0):
    book.finish(lane, claim.task, fold_of(problem, 0, claim.fold).outcome, {})


def test_they_have_their_share_and_come_before_a_refit(begin, problem):
    book, claims = begin(), []
    for _ in range(5):
        claims.append(book.claim(0))
        finish(book, problem, claims[-1])
    assert claims[:2] == [Claim(0, 0, 0), Claim(1, 0, 1)]
    assert claims[2:4] == [Claim(3, 0, 0, share=0.5), Claim(4, 0, 1, share=0.5)]
    assert (claims[4].task, claims[4].share) == (REFIT, 1.0)
    assert claims[4].refit is not None
    assert book.claim(0) is None


def test_a_refit_does_not_wait_for_them(begin, problem):
    book = begin()
    for _ in range(2):
        finish(book, problem, book.claim(0))
    book.fail(0, book.claim(0).task, "full")
    assert book.claim(1).task == 4
    assert book.claim(0).refit is not None
    assert [event.task for event in book.events(0) if isinstance(event, Failed)] == [3]


def test_after_a_restart_what_is_missing_is_given(begin, problem):
    book = begin()
    for _ in range(3):
        finish(book, problem, book.claim(0))
    assert begin().claim(0) == Claim(4, 0, 1, share=0.5)

import errno
import time

import pytest
from mlflow.exceptions import INVALID_PARAMETER_VALUE, MlflowException

from distributed.lanes import recording
from folds.errors import RunError, UserError
from tracking.events import Failed


class Recorder:
    """Stands in for a Recorder whose server is away for the first calls."""

    def __init__(self, failures):
        self.failures, self.written = failures, []

    def write(self, event):
        if self.failures:
            self.failures -= 1
            raise ConnectionError("refused")
        self.written.append(event.task)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(recording, "RETRY_S", 0.01)
    monkeypatch.setattr(recording, "PATIENCE_S", 0.03)


def events(count):
    return [Failed(task=number, cause="nan") for number in range(count)]


def test_events_arrive_in_order_although_the_tracker_was_away():
    told = []
    recorder = Recorder(failures=2)
    pen = recording.RecorderThread(recorder.write, "the tracker", told.append)
    pen.take(events(5))
    pen.close()
    assert recorder.written == [0, 1, 2, 3, 4]
    assert len(told) == 1
    assert "refused" in told[0]


def test_a_tracker_that_stays_away_ends_the_run_and_says_how_to_go_on():
    recorder = Recorder(failures=10**9)
    pen = recording.RecorderThread(recorder.write, "the tracker", lambda text: None)
    pen.take(events(3))
    with pytest.raises(RunError, match=r"3 events could not be written.*--resume"):
        pen.close()
    assert recorder.written == []


def test_a_slow_tracker_is_waited_for_as_long_as_it_takes_something():
    recorder, told = Recorder(failures=0), []

    def write(event):
        time.sleep(0.02)
        recorder.write(event)

    pen = recording.RecorderThread(write, "the tracker", told.append)
    pen.take(events(5))  # takes longer than the patience
    pen.close()
    assert recorder.written == [0, 1, 2, 3, 4]
    assert told == []


def test_each_event_that_is_taken_gives_new_patience(monkeypatch):
    monkeypatch.setattr(recording, "PATIENCE_S", 0.5)
    calls = iter(range(10**9))

    def write(event):
        time.sleep(0.05)
        if next(calls) % 3:
            raise ConnectionError("refused")

    pen = recording.RecorderThread(write, "the tracker", lambda text: None)
    pen.take(events(5))  # which take 0.75 s
    pen.close()


def test_who_waits_for_an_answer_tells_it_once_and_gives_up_in_time(monkeypatch):
    told = []

    def away():
        raise MlflowException("refused")

    with pytest.raises(MlflowException):
        recording.patiently(away, told.append)
    assert told == ["the tracker does not answer (refused); trying again"]
    monkeypatch.setattr(recording, "patience", lambda: 60.0)
    answers = iter([away, away, lambda: 3])
    assert recording.patiently(lambda: next(answers)(), told.append) == 3


def test_what_is_refused_for_good_is_not_asked_again():
    asked = []

    def refuse():
        asked.append(1)
        raise MlflowException("no", error_code=INVALID_PARAMETER_VALUE)

    with pytest.raises(MlflowException):
        recording.patiently(refuse, asked.append)
    assert asked == [1]


def test_the_patience_is_given_in_seconds(monkeypatch):
    monkeypatch.setenv(recording.PATIENCE, "2.5")
    assert recording.patience() == 2.5
    monkeypatch.setenv(recording.PATIENCE, "long")
    with pytest.raises(UserError, match="CROSSFOLD_TRACKER_PATIENCE=long: must be seconds"):
        recording.patience()


def test_stopping_writes_no_more_and_waits_for_nothing():
    recorder = Recorder(failures=10**9)
    pen = recording.RecorderThread(recorder.write, "the tracker", lambda text: None)
    pen.take(events(3))
    pen.stop()
    recorder.failures = 0
    pen.take(events(3))
    assert recorder.written == []


def test_a_full_disk_is_not_tried_again():
    recorder = Recorder(failures=10**9)
    told = []

    def write(event):
        recorder.failures -= 1
        raise OSError(errno.ENOSPC, "No space left on device")

    recorder.write = write
    pen = recording.RecorderThread(recorder.write, "the tracker", told.append)
    pen.take(events(3))
    with pytest.raises(RunError, match="No space left on device"):
        pen.close()
    assert recorder.failures == 10**9 - 1
    assert told == []

import errno

import pytest

from distributed.lanes import recording
from folds.errors import RunError
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

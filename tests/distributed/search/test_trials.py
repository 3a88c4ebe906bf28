import pytest

from distributed.search.trials import Trials
from tests.distributed.search.conftest import MACRO_F1, outcome


def test_what_was_written_is_read_as_it_was(tmp_path):
    trials = Trials(tmp_path, 3, MACRO_F1)
    trials.begin(1, {"head_layers": [128], "rate": 0.1})
    for place, score in enumerate((0.1 + 0.2, 1 / 3, 0.7)):
        assert trials.add(1, place, outcome(score, place), 1.5)
    trials.end(1, "complete", estimate=0.45)
    trials.begin(2, {"rate": 0.2})
    trials.add(2, 0, outcome(0.2), 1.0)
    trials.end(2, "stopped", why="behind")
    trials.begin(3, {})
    again = Trials(tmp_path, 3, MACRO_F1)
    assert [vars(trial) for trial in again] == [vars(trial) for trial in trials]
    assert again[1].scores == [0.1 + 0.2, 1 / 3, 0.7]
    assert again[2].stopped_after == 1


def test_a_fold_is_kept_once(tmp_path):
    trials = Trials(tmp_path, 2, MACRO_F1)
    trials.begin(1, {})
    assert trials.add(1, 0, outcome(0.5), 1.0)
    assert not trials.add(1, 0, outcome(0.9), 1.0)
    assert trials[1].scores == [0.5]


def test_a_fold_without_its_last_file_is_not_done(tmp_path):
    trials = Trials(tmp_path, 2, MACRO_F1)
    trials.begin(1, {})
    trials.add(1, 0, outcome(0.5), 1.0)
    (tmp_path / "trial-1" / "fold-0" / "result.json").unlink()
    assert Trials(tmp_path, 2, MACRO_F1)[1].scores == []


def test_what_was_stopped_is_no_best_even_when_it_was_finished(tmp_path):
    trials = Trials(tmp_path, 1, MACRO_F1)
    for number, score in ((1, 0.5), (2, 0.9)):
        trials.begin(number, {})
        trials.add(number, 0, outcome(score), 1.0)
    trials.end(1, "complete")
    trials.end(2, "stopped")
    trials.reopen(2)
    trials.end(2, "complete")
    assert trials.best is trials[1]
    assert trials[2].stopped_after == 1


def test_of_equals_the_first_is_best(tmp_path):
    trials = Trials(tmp_path, 1, MACRO_F1)
    for number in (2, 1, 3):
        trials.begin(number, {})
        trials.add(number, 0, outcome(0.5), 1.0)
        trials.end(number, "complete")
    assert trials.best.number == 1


@pytest.mark.parametrize("name", ["trial.json", "fold-1/result.json", "fold-0/result.npz"])
def test_a_trial_whose_files_are_damaged_begins_again(tmp_path, name):
    trials = Trials(tmp_path, 2, MACRO_F1)
    for number in (1, 2):
        trials.begin(number, {})
        for place in (0, 1):
            trials.add(number, place, outcome(0.5, place), 1.0)
    for path in (tmp_path / "trial-1").glob("trial*.json" if name == "trial.json" else name):
        path.write_bytes(path.read_bytes()[:-3])
    again = Trials(tmp_path, 2, MACRO_F1)
    assert [trial.number for trial in again] == [2]
    (told,) = again.damaged
    assert f"trial-1/{name}: damaged, its checksum is another; trial-1 begins again" in told
    assert again.begin(1, {}).scores == []

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.report.planted import UNKNOWN, cases_of, near, told
from tracking import formatting
from tracking.report import parts
from tracking.summary_parts import ClassSummary, EpochChoice

shares = st.floats(0, 1)


class TestConfusion:
    counts = np.array([[90, 10, 0], [1, 199, 0], [0, 0, 0]])

    def test_shares_are_of_the_true_class(self):
        found = parts.confusion(self.counts, "abc")
        assert [cell.share for cell in found.rows[0]] == ["90.0", "10.0", "0.0"]
        assert [cell.count for cell in found.rows[1]] == [1, 199, 0]
        assert found.pairs == [("a", "b", 10, "10.0%"), ("b", "a", 1, "0.5%")]

    def test_the_greatest_mistake_is_the_strongest(self):
        found = parts.confusion(self.counts, "abc")
        wrong = {
            cell.heat for i, row in enumerate(found.rows) for j, cell in enumerate(row) if i != j
        }
        assert max(wrong) == found.rows[0][1].heat == 0.6

    def test_rare_mistakes_are_faint(self):
        found = parts.confusion(np.array([[999, 1], [0, 1000]]), "ab")
        assert 0 < found.rows[0][1].heat < 0.1

    @given(st.integers(2, 6).flatmap(
        lambda side: st.lists(st.lists(st.integers(0, 50), min_size=side, max_size=side),
                              min_size=side, max_size=side)))  # fmt: skip
    def test_numbers_can_always_be_read(self, counts):
        found = parts.confusion(np.array(counts), "abcdef"[: len(counts)])
        assert all(0 <= cell.heat <= 0.6 for row in found.rows for cell in row)
        named = [count for _, _, count, _ in found.pairs]
        assert named == sorted(named, reverse=True)
        assert all(named)

    def test_too_many_classes_are_only_named(self):
        names = [str(number) for number in range(101)]
        found = parts.confusion(np.eye(101, k=1, dtype=np.int64), names)
        assert found.rows == []
        assert found.pairs[0] == ("0", "1", 1, "100.0%")


class TestShift:
    def test_the_worst_is_first(self):
        found = parts.shift_table(cases_of(severities=(1, 3)), 0.946)
        means = [row.mean for row in found.rows]
        assert means == sorted(means)
        assert found.severities == [1, 3]
        assert found.rows[0].drop == pytest.approx(found.clean - means[0])
        assert max(value[1] for row in found.rows for value in row.values) == 0.6

    def test_what_gains_is_not_hot(self):
        cases = cases_of(corruptions=("jpeg",))
        table = parts.shift_table(cases, cases[0].macro_f1 - 0.1)
        assert table.rows[0].values[0][1] == 0

    def test_severities_may_be_missing(self):
        table = parts.shift_table(cases_of(severities=(1, 2))[1:], 0.946)
        rows = {row.name: row for row in table.rows}
        assert rows["gaussian noise"].values[0] is None


def test_the_weakest_class_is_first_and_the_unknown_last():
    classes = [
        ClassSummary(name=n, images=9, precision=UNKNOWN, recall=UNKNOWN, f1=f1, roc_auc=UNKNOWN)
        for n, f1 in (("x", UNKNOWN), ("strong", near(0.9)), ("weak", near(0.4)))
    ]
    assert [one.name for one in parts.weakest_first(classes)] == ["weak", "strong", "x"]


@pytest.mark.parametrize(
    ("rule", "metric", "words"),
    [
        ("last", "macro_f1", "scores are of each fold's last epoch: macro-F1 0.940 in the mean"),
        ("best", "macro_f1", "which flatters: macro-F1 0.950 in the mean"),
        ("crossfit", "accuracy", "the epoch that the other folds choose: accuracy 0.942 in the"),
    ],
)
def test_the_epochs_that_are_scored_are_told_with_what_others_would_show(rule, metric, words):
    choice = EpochChoice(rule=rule, best=0.95, last=0.94, crossfit=0.942)
    said = parts.epoch_words(told(epoch_choice=choice, config={"select_by": metric}))
    assert words in said
    assert all(value in said for value in ("0.950", "0.940", "0.942"))
    assert said.endswith("shift are of each fold's best epoch, and flatter") is (rule == "crossfit")


def test_a_loss_is_told_as_it_is_and_older_runs_without_what_they_did_not_measure():
    choice = EpochChoice(rule="best", best=-0.20, last=-0.25, crossfit=None)
    said = parts.epoch_words(told(epoch_choice=choice, config={"select_by": "log_loss"}))
    assert "log loss 0.200" in said
    assert said.endswith("of each fold's last epoch: 0.250")
    assert "other folds" not in said


def test_headlines_are_of_calibrated_predictions_and_of_corrupted_images_if_there_are_any():
    names = [headline.name for headline in parts.headlines(told())]
    assert names == ["accuracy", "macro-F1", "calibration error"]
    last = parts.headlines(told())[-1]
    assert (last.value, last.note) == ("0.008", "0.004 to 0.012, with temperature")


def test_predictions_of_other_images_are_rows_by_set_and_model():
    rows = parts.elsewhere(told(oof_other_views={"tta": told().oof}))
    assert [(row.name, row.model, row.images) for row in rows] == [
        ("out of fold, TTA", "the folds", 400),
        ("hold-out", "best fold", 120),
        ("hold-out", "ensemble", 120),
    ]


@given(st.floats(0, 400_000))
def test_durations_name_a_unit(seconds):
    assert formatting.duration(seconds).split()[-1] in ("s", "min")

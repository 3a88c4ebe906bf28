import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracking.report.planted import near, shift
from tracking.report import formatting, parts
from tracking.report.facts import ClassScores, Estimate, Gap, Report, Run

RUN = Run("run", "demo", 1200, ("a", "b"), "test_vit", 5, "2026-11-21")
shares = st.floats(0, 1)


@given(st.lists(shares, min_size=1), st.sampled_from([0.02, 0.05, 0.1]))
def test_a_scale_holds_its_values_in_order(values, step):
    scale = parts.scale(values, step)
    assert 0 <= scale.low < scale.high <= 1 + step
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert 0 <= min(places) <= max(places) <= 100
    assert scale.low <= min(values) + 1e-6
    assert max(values) <= scale.high + 1e-6


def test_a_scale_of_nothing():
    assert parts.scale([None, float("nan")]) == parts.Scale(0.0, 0.05)
    assert parts.Scale(0, 1).at(None) == parts.Scale(0, 1).at(float("nan")) == 0


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
        found = parts.shift_table(shift(severities=(1, 3)))
        means = [row.mean for row in found.rows]
        assert means == sorted(means)
        assert found.severities == [1, 3]
        assert found.rows[0].drop == pytest.approx(found.clean - means[0])
        assert max(value[1] for row in found.rows for value in row.values) == 0.6

    def test_what_gains_is_not_hot(self):
        better = shift(corruptions=("jpeg",))
        case = better.cases[0]
        kept = type(better)(1, {"macro_f1": case.macro_f1 - 0.1}, {}, better.cases)
        assert parts.shift_table(kept).rows[0].values[0][1] == 0

    def test_severities_may_be_missing(self):
        found = shift(severities=(1, 2))
        fewer = type(found)(1, found.clean, found.mean, found.cases[1:])
        rows = {row.name: row for row in parts.shift_table(fewer).rows}
        assert rows["gaussian noise"].values[0] is None


def test_the_weakest_class_is_first_and_the_unknown_last():
    nan = Estimate(float("nan"))
    classes = [ClassScores(n, 9, nan, nan, f) for n, f in
               (("x", nan), ("strong", near(0.9)), ("weak", near(0.4)))]  # fmt: skip
    assert [one.name for one in parts.weakest_first(classes)] == ["weak", "strong", "x"]


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (Gap("macro_f1", 0.95, 0.94), "gains 1.0 points"),
        (Gap("log_loss", 0.20, 0.25), "gains 0.050"),
        (Gap("accuracy", 0.93, 0.94), "gains \N{MINUS SIGN}1.0 points"),
    ],
)
def test_a_gap_is_positive_where_choosing_helped(gap, said):
    assert said in parts.gap_words(Report(RUN, {}, gap=gap))


def test_headlines_prefer_the_calibrated():
    assert [one.name for one in parts.headlines(Report(RUN, {"ece": near(0.02)}))] == [
        "calibration error"
    ]
    assert parts.headlines(Report(RUN, {})) == []


@given(st.floats(0, 400_000))
def test_durations_name_a_unit(seconds):
    assert formatting.duration(seconds).split()[-1] in ("s", "min")

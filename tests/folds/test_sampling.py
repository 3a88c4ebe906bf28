import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.sampling import (
    epoch_batches,
    epoch_draws,
    model_seed,
    stream,
    uniform_table,
    worker_slice,
)

LAW = settings(max_examples=50)
SEEDS = st.integers(0, 2**32 - 1)


class TestUniformTable:
    @LAW
    @given(SEEDS, st.integers(0, 500), st.integers(1, 40), st.integers(0, 40), st.integers(1, 13))
    def test_rows_do_not_depend_on_their_number(self, seed, epoch, rows, more, columns):
        few = uniform_table(seed, epoch, rows, columns)
        many = uniform_table(seed, epoch, rows + more, columns)
        assert (few == many[:rows]).all()

    def test_is_uniform_between_0_and_1(self):
        table = uniform_table(3, 4, 20_000, 12)
        assert table.dtype == np.float32
        assert table.min() >= 0
        assert table.max() < 1
        assert np.abs(table.mean(axis=0) - 0.5).max() < 0.01
        assert np.abs(np.corrcoef(table.T) - np.eye(12)).max() < 0.04

    def test_every_epoch_and_seed_has_its_own(self):
        tables = [uniform_table(seed, epoch, 9, 12) for seed in range(4) for epoch in range(4)]
        assert len({table.tobytes() for table in tables}) == 16


class TestEpochBatches:
    @LAW
    @given(st.integers(2, 90), st.integers(1, 40), SEEDS, st.integers(0, 99))
    def test_are_a_permutation_cut_to_equal_sizes(self, count, size, seed, epoch):
        rows = np.arange(count) * 3 + 5
        batches = list(epoch_batches(rows, size, seed=seed, epoch=epoch))
        assert len(batches) == count // size
        assert all(len(batch) == size for batch in batches)
        used = np.concatenate(batches) if batches else np.array([], int)
        assert len(np.unique(used)) == len(used)
        assert np.isin(used, rows).all()

    def test_each_epoch_has_another_order_and_leaves_out_others(self):
        rows = np.arange(50)
        epochs = [np.concatenate(list(epoch_batches(rows, 16, seed=0, epoch=e))) for e in range(9)]
        assert len({tuple(order) for order in epochs}) == 9
        assert len({tuple(np.setdiff1d(rows, order)) for order in epochs}) > 1
        assert len(np.unique(np.concatenate(epochs))) == 50

    def test_are_the_same_again(self):
        one, two = (list(epoch_batches(np.arange(9), 4, seed=1, epoch=2)) for _ in range(2))
        assert (np.array(one) == np.array(two)).all()


class TestRepeats:
    """Each repeat draws its own; the first draws what a run without repeats does."""

    @staticmethod
    def drawn(**repeat):
        rows, labels = np.arange(60), np.arange(60) % 3
        (order,) = epoch_batches(rows, 60, seed=4, epoch=2, **repeat)
        targets = np.array([7, 20, 27])
        draws, row = epoch_draws(rows, labels, targets, seed=4, epoch=2, **repeat)
        return order, row[draws], uniform_table(4, 2, 60, 3, **repeat)

    def test_differ_in_everything(self):
        found = [self.drawn(repeat=repeat) for repeat in range(5)]
        for what in zip(*found, strict=True):
            assert len({array.tobytes() for array in what}) == 5

    def test_the_first_is_that_of_a_run_without(self):
        for one, other in zip(self.drawn(), self.drawn(repeat=0), strict=True):
            assert one.tobytes() == other.tobytes()

    def test_tables_are_independent(self):
        tables = [uniform_table(1, 0, 5000, 2, repeat=repeat).ravel() for repeat in range(4)]
        assert np.abs(np.corrcoef(tables) - np.eye(4)).max() < 0.05


class TestWorkerSlice:
    @LAW
    @given(st.integers(0, 70), st.integers(1, 9))
    def test_slices_are_the_batch_in_order(self, count, workers):
        batch = np.arange(count)[::-1]
        parts = [worker_slice(batch, rank, workers) for rank in range(workers)]
        assert np.concatenate(parts).tolist() == batch.tolist()
        sizes = [len(part) for part in parts]
        assert max(sizes) - min(sizes) <= 1


class TestStreams:
    @LAW
    @given(SEEDS, st.integers(0, 1000))
    def test_purposes_and_epochs_never_meet(self, seed, epoch):
        words = {
            stream(seed, purpose, number).bytes(16)
            for purpose in (1, 2, 3)
            for number in (epoch, epoch + 1)
        }
        assert len(words) == 6

    def test_model_seeds_differ_and_fit_31_bits(self):
        seeds = [model_seed(s, r, f) for s in range(4) for r in range(4) for f in range(10)]
        assert len(set(seeds)) == 160
        assert 0 <= min(seeds) <= max(seeds) < 2**31

    @pytest.mark.parametrize(
        ("seed", "expected"),
        [(0, [1466000815, 7, 8, 1, 2]), (2**32 - 1, [1273439502, 7, 3, 4, 6])],
    )
    def test_values_stay_as_they_were(self, seed, expected):
        """Else every run changes, and a resumed fold no longer fits its checkpoint."""
        table = {0: 0.3835412263870239, 2**32 - 1: 0.4830169677734375}[seed]
        assert uniform_table(seed, 3, 1, 1)[0, 0] == np.float32(table)
        found = [model_seed(seed, 1, 2), *next(epoch_batches(np.arange(9), 4, seed=seed, epoch=3))]
        assert found == expected

import numpy as np
import pytest
import torch

from folds.runtime import workers as module
from folds.runtime.workers import Workers


def test_without_a_group_it_is_a_team_of_one():
    assert Workers.current() == Workers(0, 1)


def test_alone_everything_is_mine():
    rows, values = np.arange(7), torch.rand(7, 3)
    assert (Workers().slice(rows) == rows).all()
    assert Workers().gather(values, 7) is values
    assert Workers().sum(values) is values


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("rows", [0, 1, 2, 5, 6, 13])
class TestManyWorkers:
    def test_slices_cover_all_rows_once(self, size, rows):
        parts = [Workers(rank, size).slice(np.arange(rows)) for rank in range(size)]
        assert np.concatenate(parts).tolist() == list(range(rows))

    def test_gather_undoes_slice(self, size, rows, monkeypatch):
        """The wire is played by a function that has the padded part of every rank at hand."""
        values = torch.arange(rows * 2.0).view(rows, 2) + 1
        sent = []

        def collect(rank):
            def all_gather(parts, padded):
                assert all(part.shape == padded.shape for part in parts)
                sent.append(padded)
                for part, other in zip(parts, wire, strict=True):
                    part.copy_(other)

            monkeypatch.setattr(module.dist, "all_gather", all_gather)
            mine = torch.from_numpy(Workers(rank, size).slice(values.numpy()))
            return Workers(rank, size).gather(mine, rows)

        wire = [torch.zeros(-(-rows // size), 2)] * size
        for rank in range(size):
            collect(rank)
        wire = sent[:]
        for rank in range(size):
            assert torch.equal(collect(rank), values)


class TestGradients:
    @pytest.mark.parametrize("rows", [2, 5, 6])
    @pytest.mark.parametrize("size", [2, 3])
    def test_flow_through_a_gathered_tensor(self, size, rows, monkeypatch):
        """With the other workers' parts zero, the wire changes nothing."""
        monkeypatch.setattr(module.dist, "all_reduce", lambda values: None)
        offset = 0
        for rank in range(size):
            workers = Workers(rank, size)
            mine = torch.rand(len(workers.slice(np.arange(rows))), 2, requires_grad=True)
            every = workers.gather_through(mine, rows)
            assert every.shape == (rows, 2)
            assert torch.equal(every[offset : offset + len(mine)], mine)
            assert every.detach().count_nonzero() == mine.detach().count_nonzero()
            (every * torch.arange(rows)[:, None]).sum().backward()
            expected = torch.arange(offset, offset + len(mine)).float()
            assert torch.equal(mine.grad, expected[:, None].expand_as(mine))
            offset += len(mine)

    def test_alone_a_sum_is_the_tensor(self):
        values = torch.rand(3)
        assert Workers().sum_through(values) is values
        assert Workers().gather_through(values, 3) is values

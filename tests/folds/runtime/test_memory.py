import pytest
import torch

from folds.runtime.memory import Pieces, free_memory, out_of_memory

FULL = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"


class Device:
    """Has room for some images at once; remembers how many it was given."""

    def __init__(self, room, error=RuntimeError):
        self.room, self.error, self.asked = room, error, []

    def __call__(self, part):
        self.asked.append(part.stop - part.start)
        if self.asked[-1] > self.room:
            raise self.error(FULL)
        return 2 * torch.arange(part.start, part.stop)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError(FULL),
              RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")],
)  # fmt: skip
def test_what_says_that_memory_is_full(error):
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), OSError("out of memory")]
)
def test_what_does_not(error):
    assert not out_of_memory(error)


def test_an_error_on_the_way_out_does_not_hide_it():
    """As where a checkpoint has no room, and its unfinished archive then cannot be closed."""
    error = RuntimeError("unexpected pos 64 vs 0")
    error.__context__ = MemoryError()
    assert out_of_memory(error)


def test_what_the_allocator_raises_for_real_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert out_of_memory(caught.value)
    free_memory()


@pytest.mark.parametrize("count", [1, 2, 5, 16])
@pytest.mark.parametrize("room", [1, 2, 3, 16])
def test_pieces_give_all_rows_in_order(count, room):
    pieces, device = Pieces(), Device(room)
    for _ in range(2):
        assert pieces(count, device).tolist() == list(range(0, 2 * count, 2))


def test_what_did_not_fit_is_not_tried_again():
    pieces, device = Pieces(), Device(4)
    pieces(16, device)
    assert device.asked == [16, 8, 4, 4, 4, 4]
    pieces(6, device)
    assert device.asked[6:] == [4, 2]


def test_one_image_that_does_not_fit_and_other_errors_are_raised():
    with pytest.raises(RuntimeError, match="can't allocate"):
        Pieces()(4, Device(0))
    device = Device(1, ValueError)
    with pytest.raises(ValueError, match="can't"):
        Pieces()(4, device)
    assert device.asked == [4]

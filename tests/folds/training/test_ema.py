import pytest
import torch
from torch import nn

from folds.training.ema import averaged, first_average, follow


def model(value):
    made = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    for tensor in made.state_dict().values():
        tensor.fill_(value)
    return made


@pytest.mark.parametrize(
    ("decay", "number", "stays"), [(0.9, 1000, 0.9), (0.9, 0, 0.1), (0.99, 8, 0.5), (0.0, 99, 0.0)]
)
def test_moves_by_what_does_not_stay(decay, number, stays):
    average = first_average(model(1.0))
    follow(average, model(2.0), decay, number)
    for name, tensor in average.items():
        expected = 2 if name.endswith("num_batches_tracked") else stays + 2 * (1 - stays)
        torch.testing.assert_close(tensor, torch.full_like(tensor, expected))


def test_what_does_not_change_is_equal_to_the_last_bit():
    made = nn.Linear(50, 50)
    average = first_average(made)
    for number in range(50):
        follow(average, made, 0.999, number)
    assert torch.equal(average["weight"], made.weight)


def test_is_not_the_weights_themselves():
    made = model(1.0)
    average = first_average(made)
    made[0].weight.data.fill_(9.0)
    assert average["0.weight"].eq(1).all()


def test_a_model_has_its_average_for_a_while():
    made, average = model(1.0), first_average(model(3.0))
    parameters = list(made.parameters())
    with averaged(made, average):
        assert made[0].weight.eq(3).all()
    assert made[0].weight.eq(1).all()
    assert average["0.weight"].eq(3).all()
    assert all(one is two for one, two in zip(made.parameters(), parameters, strict=True))


def test_weights_come_back_after_an_error():
    made = model(1.0)
    with pytest.raises(KeyError), averaged(made, first_average(model(3.0))):
        raise KeyError
    assert made[0].weight.eq(1).all()

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.backbone import build
from folds.bundle import ModelCard, Predictor, read_weights, write_bundle
from folds.soup import greedy, uniform

COUNT = 4


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("folds")
    for seed in range(COUNT):
        model = build("test_resnet", classes=2, size=32, dropout=0, pretrained=None, seed=seed)
        state = model.state_dict()
        for name in state:
            if name.endswith("num_batches_tracked"):
                state[name] += 7 * seed
        write_bundle(root / str(seed), ModelCard("test_resnet", ("a", "b"), 32), state)
    return [root / str(seed) for seed in range(COUNT)]


def same(one, other):
    assert one.keys() == other.keys()
    assert all(one[name].dtype == other[name].dtype for name in one)
    return all(torch.equal(one[name], other[name]) for name in one)


@given(number=st.integers(0, COUNT - 1), count=st.integers(1, 5))
@settings(max_examples=10, deadline=None)
def test_the_soup_of_equal_models_is_that_model(folders, number, count):
    assert same(uniform([folders[number]] * count), read_weights(folders[number]))


@given(order=st.permutations(range(COUNT)))
@settings(max_examples=10, deadline=None)
def test_the_order_does_not_matter(folders, order):
    plain, shuffled = uniform(folders), uniform([folders[number] for number in order])
    for name, tensor in plain.items():
        torch.testing.assert_close(shuffled[name], tensor, rtol=1e-6, atol=1e-9)


def test_each_weight_is_the_mean(folders):
    found, parts = uniform(folders), [read_weights(folder) for folder in folders]
    assert not same(found, parts[0])
    for name, tensor in found.items():
        each = torch.stack([part[name] for part in parts])
        expected = each.mean(dim=0) if tensor.is_floating_point() else each.amax(dim=0)
        torch.testing.assert_close(tensor, expected)


def test_it_is_a_model_that_predicts(folders, tmp_path):
    write_bundle(tmp_path, ModelCard("test_resnet", ("a", "b"), 32), uniform(folders))
    found = Predictor(tmp_path, "cpu").predict(np.zeros((3, 32, 32, 3), np.uint8))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_other_networks_are_refused(folders, tmp_path):
    model = build("test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=0)
    write_bundle(tmp_path, ModelCard("test_resnet", ("a", "b", "c"), 32), model.state_dict())
    with pytest.raises(ValueError, match="not the same network"):
        uniform([*folders, tmp_path])
    with pytest.raises(ValueError, match="at least one"):
        uniform([])


class Judge:
    """Scores in the order in which they are asked for."""

    def __init__(self, scores):
        self.scores = iter(scores)

    def __call__(self, weights):
        return next(self.scores)


@given(
    order=st.permutations(range(COUNT)),
    scores=st.lists(st.floats(0, 1) | st.just(float("nan")), min_size=COUNT, max_size=COUNT),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_greedy_never_ends_below_its_first_member(folders, order, scores):
    scores[0] = 0.5
    soup = greedy(folders, order, Judge(scores))
    assert soup.members[0] == order[0]
    assert soup.score >= scores[0]
    assert soup.score == max(s for s in scores if s == s)
    assert same(soup.weights, uniform([folders[number] for number in soup.members]))


def test_greedy_leaves_out_what_makes_it_worse(folders):
    assert greedy(folders, [2, 0, 3, 1], Judge([0.5, 0.4, 0.5, 0.6])).members == (2, 3, 1)

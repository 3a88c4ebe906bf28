import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.layer_groups import BatchNorm
from folds.model.predictor import Predictor
from folds.model.soup import greedy, moved_norms, renew, uniform

COUNT = 4


@pytest.fixture(scope="module")
def models():
    states = []
    for seed in range(COUNT):
        model = build("test_resnet", classes=2, size=32, dropout=0, pretrained=None, seed=seed)
        states.append(model.state_dict())
        for name in states[-1]:
            if name.endswith("num_batches_tracked"):
                states[-1][name] += 7 * seed
    return states


def same(one, other):
    assert one.keys() == other.keys()
    assert all(one[name].dtype == other[name].dtype for name in one)
    return all(torch.equal(one[name], other[name]) for name in one)


@given(number=st.integers(0, COUNT - 1), count=st.integers(1, 5))
@settings(max_examples=10)
def test_the_soup_of_equal_models_is_that_model(models, number, count):
    assert same(uniform([models[number]] * count), models[number])


@given(order=st.permutations(range(COUNT)))
@settings(max_examples=10)
def test_the_order_does_not_matter(models, order):
    plain, shuffled = uniform(models), uniform([models[number] for number in order])
    for name, tensor in plain.items():
        torch.testing.assert_close(shuffled[name], tensor, rtol=1e-6, atol=1e-9)


def test_each_weight_is_the_mean(models):
    found = uniform(models)
    assert not same(found, models[0])
    for name, tensor in found.items():
        each = torch.stack([one[name] for one in models])
        expected = each.mean(dim=0) if tensor.is_floating_point() else each.amax(dim=0)
        torch.testing.assert_close(tensor, expected)


def test_it_is_a_model_that_predicts(models, tmp_path):
    write_bundle(tmp_path, ModelCard("test_resnet", ("a", "b"), 32), uniform(models))
    found = Predictor(tmp_path, "cpu").predict(np.zeros((3, 32, 32, 3), np.uint8))
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_other_networks_are_refused(models):
    model = build("test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=0)
    with pytest.raises(ValueError, match="one network"):
        uniform([*models, model.state_dict()])
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
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_greedy_never_ends_below_its_first_member(models, order, scores):
    scores[0] = 0.5
    soup = greedy(models, order, Judge(scores))
    assert soup.members[0] == order[0]
    assert soup.score >= scores[0]
    assert soup.score == max(s for s in scores if s == s)
    assert same(soup.weights, uniform([models[number] for number in soup.members]))


def test_greedy_leaves_out_what_makes_it_worse(models):
    assert greedy(models, [2, 0, 3, 1], Judge([0.5, 0.4, 0.5, 0.6])).members == (2, 3, 1)


@pytest.fixture(scope="module")
def batches():
    generator = torch.Generator().manual_seed(3)
    return [torch.rand(8, 3, 32, 32, generator=generator) for _ in range(3)]


class TestStatistics:
    """A soup's batch norm has the statistics of its own inputs."""

    @pytest.fixture
    def soup(self, models):
        network = build("test_resnet", classes=2, size=32, dropout=0, pretrained=None, seed=0)
        network.load_state_dict(uniform(models))
        return network

    def moved(self, models):
        """The models, each with statistics of its own."""
        found = [dict(one) for one in models]
        for number, one in enumerate(found):
            for name in one:
                if name.endswith("running_var"):
                    one[name] = one[name] * (1 + number)
        return found

    def test_are_torchs(self, soup, batches, models):
        theirs = build("test_resnet", classes=2, size=32, dropout=0, pretrained=None, seed=0)
        theirs.load_state_dict(uniform(models))
        torch.optim.swa_utils.update_bn(batches, theirs)
        renew(soup, moved_norms(self.moved(models)), batches)
        assert same(soup.state_dict(), theirs.state_dict())
        assert not any(module.training for module in soup.modules())
        assert all(m.momentum == 0.1 for m in soup.modules() if isinstance(m, BatchNorm))

    def test_make_evaluation_say_what_training_says(self, soup, batches, models):
        mean = soup.eval()(batches[0])
        renew(soup, moved_norms(self.moved(models)), batches[:1])
        found = soup(batches[0])
        expected = soup.train()(batches[0])
        wrong = (mean - expected).abs().max()
        assert (found - expected).abs().max() < 0.1 * wrong

    def test_that_no_member_has_moved_stay(self, soup, batches, models):
        assert moved_norms(models) == []
        some = self.moved(models)
        names = moved_norms(some)
        assert len(names) == sum(isinstance(m, BatchNorm) for m in soup.modules())
        kept = names[0]
        for one in some[1:]:
            for kind in ("running_mean", "running_var"):
                one[f"{kept}.{kind}"] = some[0][f"{kept}.{kind}"]
        assert moved_norms(some) == names[1:]
        before = soup.state_dict()[f"{kept}.running_mean"].clone()
        renew(soup, names[1:], batches)
        assert torch.equal(soup.state_dict()[f"{kept}.running_mean"], before)
        assert soup.state_dict()[f"{names[1]}.running_mean"].abs().max() > 0

    def test_of_one_member_stay(self, models):
        assert moved_norms(self.moved(models)[:1]) == []

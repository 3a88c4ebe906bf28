import pytest
import torch
from torch import nn

from folds.config import Config
from folds.config.optim import OptimConfig
from folds.errors import UserError
from folds.model.backbone import build
from folds.model.layer_groups import parameter_groups
from folds.training.checkpoint import FoldState, dump, restore
from folds.training.optim import check_optimizer, make_optimizer, optimizer_names, update

IMAGES = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 3


class Tiny(nn.Module):
    """As a Classifier: convolution, norm and head."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 6)
        )
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        return self.head(self.backbone(images))


def fresh(name="adamw", **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Tiny()
    given = {"learning_rate": 1e-2, "weight_decay": 0.1} | options
    rate = given.pop("learning_rate")
    config = Config.from_flat({"optimizer": name, **given})
    return FoldState(model, make_optimizer(model, config, learning_rate=rate))


def advance(state, *rates, config=None):
    for number, rate in enumerate(rates):
        nn.functional.cross_entropy(state.model(IMAGES), LABELS).backward()
        update(state, config or OptimConfig(), rate, number)


def same(one, two):
    states = one.model.state_dict(), two.model.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("name", optimizer_names())
def test_every_optimizer_learns_and_goes_on_as_if_never_interrupted(name):
    whole = fresh(name)
    advance(whole, 1e-2, 5e-3)
    assert not same(whole, fresh(name))
    resumed = fresh(name)
    restore(resumed, dump(whole))
    advance(whole, 1e-3, 1e-3)
    advance(resumed, 1e-3, 1e-3)
    assert same(whole, resumed)
    assert all(torch.isfinite(p).all() for p in whole.model.parameters())


def test_what_everybody_uses_is_there():
    known = {"adamw", "adam", "lion", "sgd", "muon", "adafactor", "lamb", "nadamw", "rmsprop"}
    assert known <= set(optimizer_names())


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("admw", "nearest: .*adamw"),
        ("qqqqqqqq", r"`timm.optim.list_optimizers\(\)` lists them"),
        ("fusedadam", "nearest: .*adam"),
        ("kron", ""),
    ],
)
def test_others_are_refused(name, remedy):
    with pytest.raises(UserError, match=rf"^--optimizer {name}: there is no such .*{remedy}"):
        check_optimizer(name)


def test_adamw_is_the_fused_one_of_torch():
    state, other = fresh(), fresh()
    parameters = list(other.model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    other.optimizer = torch.optim.AdamW(groups, fused=True)
    for group in other.optimizer.param_groups:
        group["scale"] = 1.0
    advance(state, 1e-2, 5e-3)
    advance(other, 1e-2, 5e-3)
    assert same(state, other)
    assert state.optimizer.defaults["fused"]


class TestGroups:
    @pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
    def test_have_every_parameter_once(self, backbone):
        model = build(backbone, classes=3, size=32, dropout=0, pretrained=None, seed=0)
        groups = parameter_groups(model, Config())
        found = [id(p) for group in groups for p in group["params"]]
        assert sorted(found) == sorted(id(p) for p in model.parameters())

    def test_only_weights_decay(self):
        state = fresh()
        model = state.model
        decays = {id(p): g["weight_decay"] for g in state.optimizer.param_groups
                  for p in g["params"]}  # fmt: skip
        assert decays[id(model.backbone[0].weight)] == decays[id(model.head.weight)] == 0.1
        for vector in (model.backbone[0].bias, model.backbone[1].weight, model.head.bias):
            assert decays[id(vector)] == 0

    def test_scale_is_a_factor_of_the_rate(self):
        state = fresh()
        first, *others = state.optimizer.param_groups
        first["scale"] = 0.25
        advance(state, 1e-2)
        assert first["lr"] == 0.25e-2
        assert all(group["lr"] == 1e-2 for group in others)

    def test_muon_is_for_the_backbones_weights(self):
        state = fresh("muon")
        advance(state, 1e-3)
        model = state.model
        by_muon = {id(p) for p, kept in state.optimizer.state.items() if kept["use_muon"]}
        assert by_muon == {id(model.backbone[0].weight), id(model.backbone[4].weight)}


class TestClipping:
    def test_bounds_the_norm_of_the_whole_gradient(self):
        """Plain gradient descent moves the weights by rate times gradient."""
        moves = {}
        for clip in (0.0, 1e-3, 1e6):
            state = fresh("momentum", weight_decay=0.0)
            before = [p.detach().clone() for p in state.model.parameters()]
            advance(state, 1.0, config=OptimConfig(clip_grad=clip))
            after = state.model.parameters()
            steps = [(new - old).flatten() for new, old in zip(after, before, strict=True)]
            moves[clip] = torch.cat(steps).norm().item()
        assert moves[1e-3] == pytest.approx(1e-3, rel=1e-2)
        assert moves[0.0] == moves[1e6] > 0.1

    def test_of_scaled_gradients_is_of_their_true_size(self):
        plain, scaled = fresh("momentum"), fresh("momentum")
        scaled.scaler = torch.amp.GradScaler("cpu")
        for state in (plain, scaled):
            loss = nn.functional.cross_entropy(state.model(IMAGES), LABELS)
            state.scaler.scale(loss).backward()
            update(state, OptimConfig(clip_grad=0.01), 1.0, 0)
        for one, two in zip(plain.model.parameters(), scaled.model.parameters(), strict=True):
            torch.testing.assert_close(one, two)


def test_an_overflown_gradient_is_skipped_and_the_scale_falls():
    state = fresh()
    state.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loss = nn.functional.cross_entropy(state.model(IMAGES), LABELS)
    state.scaler.scale(loss).backward()
    state.model.head.weight.grad[0, 0] = torch.inf
    update(state, OptimConfig(), 1e-2, 0)
    assert all(torch.equal(a, b) for a, b in zip(state.model.parameters(),
               fresh().model.parameters(), strict=True))  # fmt: skip
    assert state.scaler.get_scale() == 2.0
    assert all(p.grad is None for p in state.model.parameters())
    resumed = fresh()
    resumed.scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    restore(resumed, dump(state))
    assert resumed.scaler.get_scale() == 2.0

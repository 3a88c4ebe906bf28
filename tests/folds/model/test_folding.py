import pytest
import timm
import torch
from torch import nn

from folds.model.backbone import build
from folds.model.folding import fold, folded, pairs, predicting
from folds.runtime.device import Runtime


class Net(nn.Module):
    """A convolution and a batch norm, put together in a way of a test's."""

    def __init__(self, run, norm=nn.BatchNorm2d, convolution=nn.Conv2d):
        super().__init__()
        self.convolution, self.norm = convolution(3, 4, 3), norm(4)
        self.other = norm(4)
        self.run = run
        lively(self)

    def forward(self, image):
        return self.run(self, image)


def lively(network):
    """Give batch norms statistics and factors that folding cannot leave out unseen."""
    torch.manual_seed(0)
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for value in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
                if value is not None:
                    nn.init.uniform_(value, 0.5, 2.0)
    return network.eval()


def close(one, other, limit=1e-4):
    torch.testing.assert_close(one, other, rtol=limit, atol=limit * float(other.abs().max()))


def chained(net, image):
    return net.norm(net.convolution(image))


class TestPairs:
    def test_a_convolution_and_the_norm_behind_it(self):
        net = Net(chained)
        assert pairs(net, 8) == ((net.convolution, net.norm),)

    @pytest.mark.parametrize(
        "run",
        [
            lambda net, image: (y := net.convolution(image)) + net.norm(y),  # also the shortcut
            lambda net, image: net.norm(y := net.convolution(image)) + y.relu(),
            lambda net, image: net.norm(net.convolution(image)[:, [0, 1, 2, 3]]),
            lambda net, image: net.norm(net.convolution(image).relu_()),
            lambda net, image: net.norm(y := net.convolution(image)) + net.other(y),
            lambda net, image: chained(net, image) + chained(net, image.flip(3)),  # runs twice
            lambda net, image: net.norm(net.norm(net.convolution(image))),
            lambda net, image: net.convolution(image),
        ],
    )
    def test_none_where_anything_else_happens(self, run):
        net = Net(run)
        assert pairs(net, 8) == ()

    def test_none_of_layers_that_do_more_with_their_weights(self):
        assert pairs(Net(chained, convolution=timm.layers.StdConv2d), 8) == ()
        without = Net(chained, norm=lambda width: nn.BatchNorm2d(width, track_running_stats=False))
        assert pairs(without, 8) == ()

    def test_what_watched_is_gone(self):
        net = Net(chained)
        pairs(net, 8)
        assert not any(module._forward_hooks for module in net.modules())
        assert not any(module._forward_pre_hooks for module in net.modules())


NETWORKS = ("test_resnet", "test_byobnet", "test_efficientnet", "tf_efficientnet_lite0", "resnet18",
            "densenet121", "repvgg_a0", "resnetv2_18", "test_convnext", "test_vit")  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_the_same_folded(name):
    size = 160 if name.startswith("test_") else 64
    network = lively(timm.create_model(name, num_classes=5))
    image = torch.rand(2, 3, size, size)
    with torch.no_grad():
        plain = network(image)
        found = pairs(network, size)
        assert bool(found) == any(isinstance(m, nn.BatchNorm2d) for m in network.modules())
        with folded(found):
            close(network(image), plain)
        assert torch.equal(network(image), plain)
        fold(found)
        close(network(image), plain)


class TestPredicting:
    def made(self, precision="fp32", name="test_efficientnet"):
        model = build(name, classes=3, size=64, dropout=0.0, pretrained=None, seed=0)
        Runtime.choose("cpu", precision).place(model)
        return lively(model).train()

    def test_predicts_by_the_weights_and_statistics_of_now(self):
        model, image = self.made(), torch.rand(2, 3, 64, 64)
        for _ in range(2):
            with torch.no_grad():
                plain = model.eval()(image)
            with predicting(model):
                close(model(image), plain)
            for value in (*model.parameters(), *model.buffers()):
                if value.is_floating_point():
                    value.data *= 1.1

    @pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet", "mobilenetv2_100"])
    def test_parts_that_run_apart_fit_together(self, name):
        """Each side of a cut may be folded, or neither: the other side need not know."""
        model, image = self.made("fp32", name), torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            plain = model.eval()(image)
        assert len(model.chain) > 3
        for cut in range(1, len(model.chain) + 1):
            with torch.no_grad():
                front = model.frozen_features(image, cut)
            with predicting(model, cut):
                folded_front = model.frozen_features(image, cut)
                close(model(front, start=cut), plain, 1e-3)
            with torch.no_grad():
                close(model(folded_front.clone(), start=cut), plain, 1e-3)

    def test_half_precision_is_rounded_once(self):
        assert self.made("fp32").eval().pairs
        assert self.made("bf16").eval().pairs == ()

    def test_leaves_parameters_and_training_as_they_were(self):
        model = self.made()
        names, before = list(model.state_dict()), [id(each) for each in model.parameters()]
        forwards = [vars(module).get("forward") for module in model.modules()]
        with predicting(model):
            assert torch.is_inference_mode_enabled()
            assert not model.training
            model(torch.rand(2, 3, 64, 64))
        assert list(model.state_dict()) == names
        assert [id(each) for each in model.parameters()] == before
        assert [vars(module).get("forward") for module in model.modules()] == forwards
        model.train()(torch.rand(2, 3, 64, 64)).sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())

    def test_an_error_inside_leaves_them_as_well(self):
        model = self.made()
        before = [id(each) for each in model.parameters()]
        with pytest.raises(RuntimeError), predicting(model):
            model(torch.rand(2, 2, 64, 64))
        assert [id(each) for each in model.parameters()] == before

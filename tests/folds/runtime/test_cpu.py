import math
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from folds.model.backbone import build
from folds.runtime.cpu import clamp_without_copy, keep_memory, widen_strided_depthwise
from folds.runtime.device import Runtime


def network(runtime, backbone="mobilenetv2_100"):
    model = build(backbone, classes=3, size=32, dropout=0.0, pretrained=None, seed=0)
    runtime.place(model)
    return model


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_the_c_library_takes_the_settings():
    assert keep_memory()


class TestWidening:
    def test_chooses_depthwise_convolutions_with_a_stride(self):
        model = nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, groups=8),
            nn.Conv2d(8, 8, 3, stride=1, groups=8),
            nn.Conv2d(8, 8, 3, stride=2),
            nn.Conv2d(1, 8, 3, stride=2),
        )
        assert widen_strided_depthwise(model) == 1
        image = torch.rand(2, 8, 9, 9, dtype=torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            wide = model[0](image)
            plain = nn.functional.conv2d(image, model[0].weight, model[0].bias, 2, groups=8)
        assert wide.dtype == torch.bfloat16
        torch.testing.assert_close(wide, plain, atol=2e-2, rtol=2e-2)

    def test_leaves_weights_and_names_as_they_are(self):
        wide, plain = (network(Runtime.choose("cpu", name)) for name in ("bf16", "fp32"))
        assert sum("forward" in vars(module) for module in convolutions(wide)) == 4
        for (one, first), (two, second) in zip(
            wide.state_dict().items(), plain.state_dict().items(), strict=True
        ):
            assert one == two
            assert torch.equal(first, second)

    def test_gradients_are_those_of_bf16_up_to_rounding(self):
        image, gradients = torch.rand(2, 8, 9, 9), []
        for wide in (True, False):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, stride=2, groups=8))
            assert not wide or widen_strided_depthwise(model)
            with torch.autocast("cpu", torch.bfloat16):
                output = model(image)
            output.float().square().sum().backward()
            gradients.append(model[0].weight.grad)
        torch.testing.assert_close(*gradients, atol=0.2, rtol=0.03)

    def test_is_only_for_bf16_on_a_cpu(self):
        single = network(Runtime.choose("cpu", "fp32"))
        assert all("forward" not in vars(module) for module in convolutions(single))


class TestClamping:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_outputs_and_gradients_are_torchs_own(self, dtype):
        inside = torch.tensor([-1.0, -0.0, 0.0, 0.5, 6.0, 7.0, math.inf, -math.inf, math.nan])
        found = []
        for change in (True, False):
            model = nn.Sequential(nn.Identity(), nn.ReLU6(inplace=True))
            assert not change or clamp_without_copy(model) == 1
            leaf = inside.to(dtype).requires_grad_()
            output = model(leaf * 1)
            output.backward(torch.full_like(output, 3))
            found.append((output.detach(), leaf.grad))
        for changed, plain in zip(*found, strict=True):
            assert torch.equal(changed.nan_to_num(9), plain.nan_to_num(9))

    @pytest.mark.parametrize("name", ["fp32", "bf16"])
    def test_a_network_learns_the_same(self, name):
        image, gradients = torch.rand(2, 3, 32, 32), []
        for compiled in (True, False):  # a network that will be compiled is left as it is
            model = network(replace(Runtime.choose("cpu", name), compiled=compiled)).train()
            with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                model(image).square().sum().backward()
            gradients.append([each.grad for each in model.parameters()])
        assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))

    def test_no_input_is_kept_beside_its_output(self):
        model, kept = nn.ReLU6(inplace=True), []
        clamp_without_copy(model)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
            output = model(torch.rand(4, requires_grad=True) * 1)
        assert [each.data_ptr() for each in kept] == [output.data_ptr()]

    def test_leaves_other_activations_alone(self):
        assert clamp_without_copy(nn.Sequential(nn.ReLU(inplace=True), nn.ReLU6())) == 0


@pytest.mark.parametrize("channels_last", [True, False])
def test_layout_is_that_of_the_runtime_and_changes_nothing(channels_last):
    runtime = Runtime(torch.device("cpu"), "fp32", channels_last)
    model = network(runtime, "test_resnet").eval()
    weight = model.backbone.layer1[0].conv2.weight
    assert weight.is_contiguous(memory_format=runtime.layout)
    other = network(Runtime(torch.device("cpu"), "fp32", not channels_last), "test_resnet").eval()
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model(image), other(image), atol=1e-5, rtol=1e-4)

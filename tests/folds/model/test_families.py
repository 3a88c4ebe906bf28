"""One network of each family that people fine-tune, through everything a fold does with it."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import group_parameters

from folds.config import Config
from folds.config.head import HeadShape
from folds.config.stages import Stage
from folds.model.backbone import build, check_size, create_backbone, native_size
from folds.model.blocks import layer_groups
from folds.model.layer_groups import forget_frozen, parameter_groups, train_mode, unfreeze
from folds.model.weights import load_pretrained
from folds.training.frozen import frozen_depth

STAGES = [Stage.parse(text) for text in ("0:1:1e-3", "1block:1:1e-3", "0.5:1:1e-3", "1:1:1e-3")]
SMALL = [
    ("resnet18", 48),
    ("mobilenetv1_100", 48),
    ("mobilenetv3_small_050", 48),
    ("efficientnet_b0", 48),
    ("convnext_atto", 48),
    ("vit_tiny_patch16_224", 48),
]
BIG = [
    ("vgg11", 48),
    ("inception_v3", 96),
    ("inception_v4", 96),
    ("legacy_xception", 48),
    ("xception41", 48),
    ("nasnetalarge", 64),
    ("tf_efficientnetv2_b0", 48),
    ("swin_tiny_patch4_window7_224", 224),
    ("poolformer_s12", 64),
    ("pit_ti_224", 224),
    ("csatv2", 128),
]
FAMILIES = [pytest.param(one, id=one[0]) for one in SMALL] + [
    pytest.param(one, id=one[0], marks=pytest.mark.slow) for one in BIG
]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    """Name and side of the input."""
    return request.param


def make(name, size, **options):
    return build(name, classes=4, size=size, dropout=0.0, pretrained=None, seed=0, **options)


def test_is_looked_at_in_the_middle(family):
    """What goes on from there is the whole, and what is seen there is a vector an image."""
    name, size = family
    model, images = make(name, size).eval(), torch.rand(2, 3, size, size)
    with torch.inference_mode():
        output, features = model.halfway(images)
        torch.testing.assert_close(model(output, start=model.middle), model(images))
    assert (features.ndim, len(features)) == (2, 2)
    assert features.shape[1] in output.shape[1:]
    assert features.shape[1] >= 16  # channels, not the side of a map


def test_trains_stage_by_stage(family):
    """Each stage trains more than the one before, and what it trains it moves."""
    name, size = family
    model, image = make(name, size), torch.rand(2, 3, size, size)
    optimizer = torch.optim.SGD(parameter_groups(model, Config()), lr=0.1)
    counts = []
    for stage in STAGES:
        counts.append(unfreeze(model, stage))
        forget_frozen(optimizer)
        train_mode(model, stage, "frozen")
        before = {n: p.detach().clone() for n, p in model.named_parameters()}
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(model(image), torch.tensor([1, 2]))
        loss.backward()
        optimizer.step()
        assert torch.isfinite(loss)
        for parameter_name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                assert torch.equal(parameter, before[parameter_name])
            else:
                assert parameter.grad is not None, parameter_name
    assert counts == sorted(set(counts))
    assert counts[-1] == sum(p.numel() for p in model.parameters())


def test_blocks_are_more_than_norms(family):
    """`1blocks` trains what can learn a feature, not the scale of one."""
    name, size = family
    groups = layer_groups(make(name, size).backbone)
    assert all(any(parameter.ndim > 1 for parameter in group) for group in groups)


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("poolformer_s12", 13, {"stages.3.blocks.1", "head.norm"}),
        ("pit_ti_224", 13, {"transformers.2.blocks.3", "norm"}),
        ("csatv2", 22, {"stages.3.6", "head.norm"}),
    ],
)
def test_a_model_of_whose_layers_timm_tells_nothing_has_a_group_a_block(name, count, last):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    assert not hasattr(network, "group_matcher")
    groups = layer_groups(network)
    assert len(groups) == count
    assert sum(map(len, groups)) == len(list(network.parameters()))
    ends = {id(p) for module in last for p in network.get_submodule(module).parameters()}
    assert {id(parameter) for parameter in groups[-1]} == ends


@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("convnext_atto", "stages.3.blocks.1.conv_dw.weight"),
        ("beit_base_patch16_224", "blocks.11.mlp.fc1.weight"),
        ("densenet121", "features.denseblock4.denselayer16.conv2.weight"),
        ("davit_tiny", "stages.3.blocks.0.1.mlp.fc1.weight"),
        ("vit_relpos_small_patch16_224", "blocks.11.mlp.fc1.weight"),
    ],
)
def test_the_norm_behind_the_last_block_belongs_to_it(name, last):
    with torch.device("meta"):
        network = timm.create_model(name, num_classes=0)
    matched = group_parameters(network, network.group_matcher(coarse=False), reverse=True)
    named = {id(parameter): key for key, parameter in network.named_parameters()}
    groups = [{named[id(p)] for p in group} for group in layer_groups(network)]
    assert len(groups) == len(set(matched.values())) - 1
    assert last in groups[-1]
    assert any("norm" in key and matched[key] != matched[last] for key in groups[-1])


def test_front_is_exact(family):
    name, size = family
    model, image = make(name, size).eval(), torch.rand(2, 3, size, size)
    with torch.inference_mode():
        whole = model(image)
        for index in range(len(STAGES)):
            depth = frozen_depth(model, STAGES, index, "frozen")
            if depth:
                assert torch.equal(model(model.frozen_features(image, depth), start=depth), whole)
    assert frozen_depth(model, STAGES, 0, "frozen") == len(model.chain)


def test_can_be_pooled_in_another_way(family):
    name, size = family
    image = torch.rand(2, 3, size, size)
    state = make(name, size).backbone.state_dict()
    for pool in ("avgmax", "attention"):
        head = HeadShape(pool)
        assert check_size(name, size, head) == len(layer_groups(make(name, size).backbone))
        model = build(
            name, classes=4, size=size, dropout=0.0, pretrained=state, seed=0, head=head
        ).eval()
        with torch.inference_mode():
            features = model.frozen_features(image, len(model.chain))
            assert torch.equal(model(features, start=len(model.chain)), model(image))


def test_takes_a_file_of_the_whole_classifier(family, tmp_path):
    name, _ = family
    options = {"aux_logits": True} if name == "inception_v3" else {}
    whole = timm.create_model(name, num_classes=7, **options).state_dict()
    file = tmp_path / "whole.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in whole.items()}, file)
    state = load_pretrained(name, str(file)).state
    assert state.keys() == create_backbone(name, native_size(name)).state_dict().keys()
    assert all(torch.equal(tensor, whole[key]) for key, tensor in state.items())

"""What is computed once for all folds gives each of them the same network."""

import numpy as np
import pytest
import torch

from folds.config.head import PLAIN_HEAD, HeadShape
from folds.config.stages import Stage, StagePosition
from folds.model.backbone import build
from folds.model.layer_groups import unfreeze
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.training.context import fold_context
from folds.training.fit import fit_fold
from folds.training.frozen import (
    FrozenFeatureExtractor,
    fresh_model,
    frozen_depth,
    kept_in_memory,
    no_frozen_features,
    shareable_views,
)
from folds.training.frozen_view import PLAIN, View
from folds.training.inputs import training_inputs

CPU = Runtime.choose("cpu", "fp32")
GRADUAL = ["0:2:1e-2", "0.5:2:1e-3", "1:1:1e-4"]


def network(backbone, size=32, head=PLAIN_HEAD):
    options = {"classes": 3, "dropout": 0.0, "pretrained": None, "seed": 0}
    return build(backbone, size=size, head=head, **options).eval()


@pytest.fixture
def make_tuned(make_problem):
    """Small problems that begin with weights all folds share."""

    def make(backbone="test_resnet", **settings):
        model = build(backbone, classes=3, size=32, dropout=0.0, pretrained=None, seed=7)
        return make_problem(backbone=backbone, pretrained=model.backbone.state_dict(), **settings)

    return make


def all_outputs(problem, runtime=CPU, budget=10**9):
    """Every shared view, computed in pieces as lanes do."""
    extractor, count = FrozenFeatureExtractor(problem, runtime), len(problem.images)
    return {
        view: torch.cat([extractor.outputs(view, 0, 20), extractor.outputs(view, 20, count)])
        for view in shareable_views(problem, budget)
    }


class TestChain:
    @pytest.mark.parametrize(
        "backbone",
        ["test_resnet", "test_efficientnet", "test_convnext", "resnet18", "mobilenetv2_100"],
    )
    def test_of_convolutional_networks_has_several_parts(self, backbone):
        model = network(backbone, 64)
        assert len(model.chain) > 3
        image = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            for depth in (1, len(model.chain) // 2, len(model.chain)):
                again = model(model.frozen_features(image, depth), start=depth)
                assert torch.equal(again, model(image)), depth

    def test_of_a_transformer_is_the_whole(self):
        model = network("test_vit")
        assert model.chain == (model.backbone,)

    @pytest.mark.parametrize("pool", ["avg", "max", "avgmax", "attention"])
    @pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
    def test_ends_with_the_features_unless_the_pooling_is_learned(self, backbone, pool):
        model = network(backbone, 64, HeadShape(pool, (8,)))
        image = torch.rand(2, 3, 64, 64)
        with torch.inference_mode():
            for depth in (1, len(model.chain)):
                output = model.frozen_features(image, depth)
                assert torch.equal(model(output, start=depth), model(image))
        assert (output.ndim == 2) == (pool != "attention")

    def test_holds_no_parameter_twice(self):
        names = list(network("test_resnet").state_dict())
        assert len(names) == len(set(names))
        assert not any(name.startswith("chain") for name in names)


class TestDepth:
    @pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
    @pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 1.0])
    def test_front_has_no_trained_parameter_and_cannot_be_longer(self, backbone, share):
        model = network(backbone)
        depth = frozen_depth(model, [Stage(share, 1, 1e-3)], 0, "frozen")
        unfreeze(model, Stage(share, 1, 1e-3))
        trains = [any(p.requires_grad for p in part.parameters()) for part in model.chain]
        assert not any(trains[:depth])
        assert depth == len(model.chain) or trains[depth]

    def test_what_an_earlier_stage_has_trained_is_never_shared(self):
        stages = [Stage(1.0, 1, 1e-3), Stage(0.0, 1, 1e-3)]
        assert frozen_depth(network("test_resnet"), stages, 1, "frozen") == 0

    def test_batch_norm_that_goes_on_counting_is_not_shared(self):
        stages = [Stage(0.0, 1, 1e-3)]
        assert (
            frozen_depth(network("test_resnet"), stages, 0, "train") == 1
        )  # the first convolution
        assert frozen_depth(network("test_vit"), stages, 0, "train") == 1  # has no batch norm

    def test_a_stage_with_such_batch_norm_ends_sharing(self):
        model, texts = network("test_resnet"), ["0:1:1e-3", "0:1:1e-3:bn=train", "0:1:1e-3"]
        stages = [Stage.parse(text) for text in texts]
        depths = [frozen_depth(model, stages, index, "frozen") for index in range(3)]
        assert depths == [len(model.chain), 1, 1]
        stages = [Stage.parse("0:1:1e-3:bn=frozen")]
        assert frozen_depth(model, stages, 0, "train") == len(model.chain)


class TestSharedViews:
    def test_are_those_of_epochs_with_a_frozen_front(self, make_tuned):
        problem = make_tuned(stages=GRADUAL)
        views = shareable_views(problem, 10**9)
        deep, shallow = (
            frozen_depth(fresh_model(problem), problem.stages, i, "frozen") for i in (0, 1)
        )
        assert deep > shallow > 0
        assert views == [
            View(PLAIN, deep), View(0, deep), View(1, deep),
            View(PLAIN, shallow), View(2, shallow), View(3, shallow),
        ]  # fmt: skip

    def test_fit_the_budget_and_the_first_come_first(self, make_tuned):
        problem = make_tuned(stages=GRADUAL)
        everything = shareable_views(problem, 10**9)
        sizes = {view: output.numel() * 4 for view, output in all_outputs(problem).items()}
        for budget in (0, 1, 30_000, 200_000, 10**9):
            views = shareable_views(problem, budget)
            assert sum(sizes[view] for view in views) <= budget
            first = [view for view in everything if view.depth == everything[0].depth]
            kept = [view for view in views if view.depth == everything[0].depth]
            assert kept == first[: len(kept)]

    def test_are_none_with_random_weights_which_each_fold_has_its_own_of(self, make_problem):
        assert shareable_views(make_problem(stages=["0:2:1e-2"]), 10**9) == []

    def test_are_none_when_everything_trains_at_once(self, make_tuned):
        assert shareable_views(make_tuned(stages=["1:2:1e-3"]), 10**9) == []


class TestFold:
    @pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_vit"])
    def test_is_the_same_as_through_the_backbone(self, make_tuned, backbone):
        problem = make_tuned(backbone=backbone, stages=GRADUAL, dropout=0.2)
        outputs = all_outputs(problem)
        for fold in range(2):
            direct = fit_fold(problem, 0, fold, runtime=CPU)
            shared = fit_fold(problem, 0, fold, runtime=CPU, frozen_features=outputs.get)
            for one, two in zip(direct.history, shared.history, strict=True):
                assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)
                assert one.val_loss == pytest.approx(two.val_loss, abs=1e-4)
            assert direct.best.epoch == shared.best.epoch
            for name, tensor in direct.weights.items():
                torch.testing.assert_close(shared.weights[name], tensor, atol=1e-4, rtol=1e-4)

    def test_is_the_same_in_every_repeat(self, make_tuned):
        """All repeats have the features of the one table."""
        problem = make_tuned(stages=GRADUAL, dropout=0.2, repeats=2, augment="light")
        outputs = all_outputs(problem)
        direct = fit_fold(problem, 1, 0, runtime=CPU)
        shared = fit_fold(problem, 1, 0, runtime=CPU, frozen_features=outputs.get)
        for one, two in zip(direct.history, shared.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)

    @pytest.mark.parametrize("pool", ["avgmax", "attention"])
    def test_is_the_same_with_another_head(self, make_tuned, pool):
        head = {"pool": pool, "head_layers": [12, 6], "head_norm": "layer", "head_dropout": 0.3}
        problem = make_tuned(stages=["0:2:1e-2", "2blocks:1:1e-3"], warmup=1, **head)
        direct = fit_fold(problem, 0, 0, runtime=CPU)
        shared = fit_fold(problem, 0, 0, runtime=CPU, frozen_features=all_outputs(problem).get)
        for one, two in zip(direct.history, shared.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)
        np.testing.assert_allclose(direct.probabilities, shared.probabilities, atol=1e-3)

    @pytest.mark.parametrize("balance", ["weights", "oversample", "undersample", "hybrid"])
    def test_is_the_same_with_classes_balanced(self, make_images, make_tuned, balance):
        problem = make_tuned(
            images=make_images((40, 24, 8)), balance=balance, stages=GRADUAL, batch_size=8,
            dropout=0.2,
        )  # fmt: skip
        direct = fit_fold(problem, 0, 0, runtime=CPU)
        shared = fit_fold(problem, 0, 0, runtime=CPU, frozen_features=all_outputs(problem).get)
        for one, two in zip(direct.history, shared.history, strict=True):
            assert one.train_loss == pytest.approx(two.train_loss, abs=1e-4)
            assert one.val_loss == pytest.approx(two.val_loss, abs=1e-4)
        np.testing.assert_allclose(direct.probabilities, shared.probabilities, atol=1e-3)

    def test_is_the_same_in_bf16_up_to_its_rounding(self, make_tuned):
        half = Runtime.choose("cpu", "bf16")
        problem = make_tuned(stages=["0:3:1e-2"])
        outputs = all_outputs(problem, half)
        direct = fit_fold(problem, 0, 0, runtime=half)
        shared = fit_fold(problem, 0, 0, runtime=half, frozen_features=outputs.get)
        for one, two in zip(direct.history, shared.history, strict=True):
            assert one.val_loss == pytest.approx(two.val_loss, rel=1e-2)

    def test_uses_what_is_there_and_computes_the_rest(self, make_tuned):
        problem = make_tuned(stages=GRADUAL)
        outputs = all_outputs(problem)
        half = {view: output for view, output in outputs.items() if view.epoch in (1, 2)}
        asked = []

        def frozen_features(view):
            asked.append(view)
            return half.get(view)

        direct = fit_fold(problem, 0, 0, runtime=CPU)
        mixed = fit_fold(problem, 0, 0, runtime=CPU, frozen_features=frozen_features)
        assert set(outputs) == set(asked)
        np.testing.assert_allclose(direct.probabilities, mixed.probabilities, atol=1e-3)

    def test_the_backbone_is_not_run_while_it_is_frozen(self, make_tuned, monkeypatch):
        problem = make_tuned(stages=["0:3:1e-2"])
        outputs = all_outputs(problem)
        monkeypatch.setattr("folds.training.inputs.augment", None)
        monkeypatch.setattr("folds.training.predict.to_input", None)
        assert len(fit_fold(problem, 0, 0, runtime=CPU, frozen_features=outputs.get).history) == 3

    def test_heads_alone_are_kept_only_at_the_end_of_their_stage(self, make_tuned):
        problem = make_tuned(stages=["0:3:1e-2", "1:2:1e-3"])
        epochs, kept = [], []
        fit_fold(
            problem,
            0,
            0,
            runtime=CPU,
            frozen_features=all_outputs(problem).get,
            on_epoch=epochs.append,
            on_checkpoint=lambda content: kept.append(len(epochs)),
        )
        assert kept == [3, 4, 5]


class TestRepeats:
    """Luck in training is another in each repeat, but for views that a frozen front shares."""

    @staticmethod
    def epoch(problem, repeat, index):
        """Images in the order of an epoch, and how each looks, by image."""
        stages = problem.stages
        context = fold_context(
            problem, repeat, problem.splits.folds, CPU, Workers(), lambda _: None
        )
        number = sum(stage.epochs for stage in stages[:index])
        inputs = training_inputs(
            context, fresh_model(problem), StagePosition(index, stages[index], 0), number
        )
        batches = [batch for step in inputs for batch in step]
        order = torch.cat([batch.rows for batch in batches]).tolist()
        return order, dict(zip(order, torch.cat([b.inputs for b in batches]), strict=True))

    @pytest.mark.parametrize("augment", ["light", "light+cutmix"])
    def test_have_an_order_of_their_own(self, make_tuned, augment):
        problem = make_tuned(stages=GRADUAL, repeats=3, augment=augment)
        for index in range(3):
            orders = {tuple(self.epoch(problem, repeat, index)[0]) for repeat in range(3)}
            assert len(orders) == 3

    @pytest.mark.parametrize(
        ("augment", "index", "same"),
        [("light", 0, True), ("light", 1, True), ("light", 2, False), ("light+mixup", 1, False)],
    )
    def test_look_alike_where_the_front_is_frozen_and_nothing_is_mixed(
        self, make_tuned, augment, index, same
    ):
        problem = make_tuned(stages=GRADUAL, repeats=2, augment=augment)
        (_, first), (_, second) = (self.epoch(problem, repeat, index) for repeat in range(2))
        both = first.keys() & second.keys()
        assert len(both) > 30
        equal = sum(torch.equal(first[row], second[row]) for row in both)
        assert equal == (len(both) if same else 0)


class TestKeptInMemory:
    def test_each_view_is_computed_once_for_all_folds(self, make_tuned, monkeypatch):
        problem = make_tuned(stages=GRADUAL)
        expected, seen = all_outputs(problem), []
        real = FrozenFeatureExtractor.outputs
        monkeypatch.setattr(
            FrozenFeatureExtractor, "outputs",
            lambda self, view, *rows: seen.append(view) or real(self, view, *rows),
        )  # fmt: skip
        features = kept_in_memory(problem, CPU, 10**9)
        for fold in range(2):
            fit_fold(problem, 0, fold, runtime=CPU, frozen_features=features)
        assert len(seen) == len(set(seen))
        assert set(seen) == set(expected)
        for view, output in expected.items():
            torch.testing.assert_close(features(view), output)
        assert features(View(99, 1)) is None

    def test_nothing_is_kept_beyond_the_budget_or_of_random_weights(self, make_tuned, make_problem):
        assert kept_in_memory(make_tuned(stages=GRADUAL), CPU, 0) is no_frozen_features
        assert kept_in_memory(make_problem(), CPU, 10**9) is no_frozen_features

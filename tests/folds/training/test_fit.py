import dataclasses
import io
import itertools

import numpy as np
import pytest
import torch
from scipy.special import softmax

from folds.config import Config
from folds.errors import DivergenceError, UserError
from folds.evaluation.metrics import quick_scores, scores
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.sampling import model_seed
from folds.training import fit
from folds.training.context import fold_context
from folds.training.frozen import no_frozen_features
from folds.training.outcome import EpochReport
from tests.folds.training.several_workers import trained_by_workers

CPU = Runtime.choose("cpu", "fp32")
TIMES = {"images_per_second": 0.0, "seconds": 0.0}


def train(problem, fold=0, **options):
    return fit.fit_fold(problem, 0, fold, runtime=CPU, **options)


def timeless(history):
    return [dataclasses.replace(report, **TIMES) for report in history]


def opened(checkpoint):
    return torch.load(io.BytesIO(checkpoint), weights_only=True)


def assert_same(one, two):
    assert timeless(one.history) == timeless(two.history)
    assert (one.kept_epoch, one.scores) == (two.kept_epoch, two.scores)
    assert np.array_equal(one.probabilities, two.probabilities)
    assert one.weights.keys() == two.weights.keys()
    for name, tensor in one.weights.items():
        assert torch.equal(tensor, two.weights[name]), name


class TestResume:
    @pytest.mark.parametrize("backbone", ["test_vit", "test_resnet"])
    def test_from_any_epoch_ends_as_if_never_interrupted(self, make_problem, backbone):
        problem = make_problem(
            backbone=backbone, stages=["0:2:1e-2", "2blocks:1:3e-3", "1:2:1e-3:bn=frozen"],
            dropout=0.3, head_layers=[8], head_dropout=0.2, layer_decay=0.8, warmup=1.5,
            tta="flips",
        )  # fmt: skip
        checkpoints = []
        whole = train(problem, on_checkpoint=checkpoints.append)
        assert len(checkpoints) == 5
        for done, checkpoint in enumerate(checkpoints, start=1):
            again = []
            resumed = train(
                problem,
                checkpoint=checkpoint,
                on_epoch=lambda r, again=again: again.append(r.epoch),
            )
            assert again == list(range(done, 5))
            assert_same(whole, resumed)

    def test_the_same_twice(self, make_problem):
        assert_same(train(make_problem()), train(make_problem()))

    def test_checkpoints_come_as_often_as_asked(self, make_problem):
        problem = make_problem(stages=["1:5:1e-3"], checkpoint_every=2)
        checkpoints = []
        train(problem, on_checkpoint=checkpoints.append)
        assert [opened(content)["epoch"] for content in checkpoints] == [2, 4]

    def test_early_stop_is_kept(self, make_problem, constant_scores):
        problem = make_problem(stages=["1:6:1e-3"], patience=2)
        checkpoints = []
        whole = train(problem, on_checkpoint=checkpoints.append)
        resumed = train(problem, checkpoint=checkpoints[-1])
        assert len(resumed.history) == len(whole.history) == 3


@pytest.fixture
def constant_scores(monkeypatch):
    """Every epoch is as good as the first."""
    monkeypatch.setattr(fit, "selection_score", lambda place, model, logits: 0.5)


@pytest.fixture
def scripted_scores(monkeypatch):
    """The epochs are worth what is listed."""

    def script(*values):
        left = list(values)
        monkeypatch.setattr(fit, "selection_score", lambda place, model, logits: left.pop(0))

    return script


class TestPatience:
    def test_ends_the_last_stage(self, make_problem, constant_scores):
        stages = ["0:3:1e-3", "1:9:1e-3"]
        result = train(make_problem(stages=stages, patience=2, choose_epoch="best"))
        assert len(result.history) == 3 + 2
        assert result.kept_epoch == 0

    def test_does_not_end_earlier_stages(self, make_problem, constant_scores):
        result = train(make_problem(stages=["0:5:1e-3", "1:1:1e-3"], patience=1))
        assert len(result.history) == 6

    def test_starts_anew_with_each_better_epoch(self, make_problem, scripted_scores):
        scripted_scores(0.1, 0.2, 0.2, 0.3, 0.3, 0.3, 0.9)
        result = train(make_problem(stages=["1:9:1e-3"], patience=2, choose_epoch="best"))
        assert len(result.history) == 6
        assert result.kept_epoch == 3


class TestStart:
    def first(self, problem, repeat, fold):
        place = fold_context(problem, repeat, fold, CPU, Workers(), no_frozen_features)
        return fit.first_state(place).model.state_dict()

    def test_with_a_common_head_folds_of_a_repeat_and_its_refit_begin_equal(self, make_problem):
        problem = make_problem(common_head=True, repeats=2, head_layers=[8])
        one, *others = (self.first(problem, 0, fold) for fold in (0, 1, 2))
        for other in others:
            assert all(torch.equal(tensor, one[name]) for name, tensor in other.items())
        again = self.first(problem, 1, 0)
        assert not torch.equal(again["head.weight"], one["head.weight"])

    def test_without_it_each_fold_has_its_own(self, make_problem):
        one, two = (self.first(make_problem(), 0, fold)["head.weight"] for fold in (0, 1))
        assert not torch.equal(one, two)
        alone = self.first(make_problem(common_head=True), 0, 0)["head.weight"]
        assert torch.equal(alone, one)


class TestDivergence:
    def test_names_epoch_step_and_learning_rate(self, make_problem):
        with pytest.raises(DivergenceError) as caught:
            train(make_problem(stages=["0:1:1e-3", "1:2:1e30"]))
        message = str(caught.value)
        assert "the loss became " in message
        assert "at epoch 2, step 2 (" in message
        assert "learning rate 1e+30" in message
        assert "lower the learning rate of stage 2 in --stages" in message
        assert "\n" not in message

    def test_of_the_very_last_step_is_seen(self, make_problem):
        problem = make_problem(batch_size=32, stages=["1:1:1e30"])
        with pytest.raises(DivergenceError, match=r"after epoch 1 .*learning rate 1e\+30"):
            train(problem)


class TestStages:
    def test_frozen_backbone_stays_untouched_and_moves_later(self, make_problem):
        problem = make_problem(backbone="test_resnet", stages=["0:2:1e-2", "1:1:1e-3"])
        fresh = build(
            "test_resnet", classes=3, size=32, dropout=0.1, pretrained=None,
            seed=model_seed(0, 0, 0),
        ).state_dict()  # fmt: skip
        checkpoints = []
        train(problem, on_checkpoint=checkpoints.append)
        frozen, moved = opened(checkpoints[1])["model"], opened(checkpoints[2])["model"]
        backbone = [name for name in fresh if name.startswith("backbone.")]
        assert all(torch.equal(fresh[name], frozen[name]) for name in backbone)
        assert not torch.equal(fresh["head.weight"], frozen["head.weight"])
        assert not any(torch.equal(fresh[name], moved[name]) for name in backbone)

    def test_frozen_norm_train_updates_statistics_alone(self, make_problem):
        problem = make_problem(backbone="test_resnet", stages=["0:1:1e-2"], frozen_norm="train")
        fresh = build(
            "test_resnet", classes=3, size=32, dropout=0.1, pretrained=None,
            seed=model_seed(0, 0, 0),
        )  # fmt: skip
        found = train(problem).weights
        parameters = {name for name, _ in fresh.backbone.named_parameters(prefix="backbone")}
        for name, tensor in fresh.state_dict().items():
            if name.startswith("backbone."):
                assert torch.equal(tensor, found[name]) == (name in parameters), name

    def test_history_tells_stage_and_learning_rate(self, make_problem):
        history = train(make_problem(stages=["0:2:1e-2", "1:2:1e-3"])).history
        assert [report.epoch for report in history] == [0, 1, 2, 3]
        assert [report.stage for report in history] == [0, 0, 1, 1]
        rates = [report.learning_rate for report in history]
        assert rates == pytest.approx([1e-2, 0.5e-2, 1e-3, 0.5e-3])

    def test_pretrained_weights_are_the_start(self, make_problem):
        other = build("test_vit", classes=9, size=32, dropout=0, pretrained=None, seed=77)
        state = other.backbone.state_dict()
        weights = train(make_problem(stages=["0:1:1e-3"], pretrained=state)).weights
        for name, tensor in state.items():
            assert torch.equal(weights[f"backbone.{name}"], tensor)


class TestUnfreezing:
    def moments(self, problem):
        """Steps that the optimizer has taken of each parameter, after each epoch."""
        checkpoints = []
        train(problem, on_checkpoint=checkpoints.append)
        states = [opened(checkpoint)["optimizer"]["state"] for checkpoint in checkpoints]
        return [[int(one["step"]) for one in state.values()] for state in states]

    def test_what_is_frozen_again_begins_anew(self, make_problem):
        """Two steps an epoch; weight and bias of the head have been there from the start."""
        stages = ["1:1:1e-3", "0:1:1e-3", "1block:1:1e-3", "1:1:1e-3"]
        problem = make_problem(backbone="test_resnet", stages=stages)
        first, frozen, some, everything = self.moments(problem)
        assert set(first) == {2}
        assert frozen == [4, 4]
        assert sorted(set(some)) == [2, 6]
        assert sorted(set(everything)) == [2, 4, 8]
        assert len(everything) == len(first)

    def test_warm_up_slows_what_is_newly_unfrozen_alone(self, make_problem):
        def moved(warmup):
            stages = ["0:1:1e-2", "1:1:1e-2"]
            problem = make_problem(backbone="test_resnet", stages=stages, warmup=warmup)
            checkpoints = []
            train(problem, on_checkpoint=checkpoints.append)
            one, two = (opened(content)["model"] for content in checkpoints)
            return {
                name: (two[name] - one[name]).abs().mean().item()
                for name in ("head.weight", "backbone.conv1.0.weight")
            }

        plain, warm = moved(0), moved(100)
        assert warm["backbone.conv1.0.weight"] < 0.05 * plain["backbone.conv1.0.weight"]
        assert warm["head.weight"] > 0.5 * plain["head.weight"]

    def test_layer_decay_slows_the_stem_most(self, make_problem):
        problem = make_problem(
            backbone="test_resnet", stages=["1:1:1e-3"], layer_decay=0.5, weight_decay=0
        )
        model = build(
            "test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=model_seed(0, 0, 0)
        )
        fresh, found = model.state_dict(), train(problem).weights
        names = [f"backbone.layer{number}.0.conv1.weight" for number in (1, 2, 3, 4)]
        moved = [(found[name] - fresh[name]).abs().max().item() for name in names]
        for early, late in itertools.pairwise(moved):
            assert early / late == pytest.approx(0.5, rel=0.1)

    def test_a_stage_keeps_batch_norm(self, make_problem):
        problem = make_problem(backbone="test_resnet", stages=["1:2:1e-3:bn=frozen"])
        model = build(
            "test_resnet", classes=3, size=32, dropout=0, pretrained=None, seed=model_seed(0, 0, 0)
        )
        fresh, found = model.state_dict(), train(problem).weights
        norms = {
            f"backbone.{name}.{part}"
            for name, module in model.backbone.named_modules()
            if isinstance(module, torch.nn.BatchNorm2d)
            for part in module.state_dict()
        }
        assert {n for n, tensor in fresh.items() if torch.equal(tensor, found[n])} == norms

    def test_head_l2_shrinks_the_heads_weights_alone(self, make_problem):
        settings = {"backbone": "test_resnet", "stages": ["0:2:1e-2"], "weight_decay": 0}
        plain, shrunk = (train(make_problem(head_l2=l2, **settings)).weights for l2 in (0.0, 80.0))
        assert shrunk["head.weight"].norm() < 0.9 * plain["head.weight"].norm()
        assert all(torch.equal(plain[n], shrunk[n]) for n in plain if n.startswith("backbone."))


class TestResult:
    @pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "log_loss"])
    def test_best_epoch_is_the_first_best_of_the_metric(self, make_problem, metric):
        problem = make_problem(select_by=metric, stages=["1:5:3e-3"], choose_epoch="best")
        result = train(problem)
        name = "val_loss" if metric == "log_loss" else f"val_{metric}"
        values = np.array([getattr(report, name) for report in result.history])
        assert result.kept_epoch == (values.argmin() if metric == "log_loss" else values.argmax())

    @pytest.mark.parametrize("fold", [0, 1])
    def test_rows_are_the_held_out_ones(self, make_problem, fold):
        problem = make_problem()
        result = train(problem, fold)
        expected = np.flatnonzero(
            [problem.splits.fold[0][list(problem.splits.ids).index(i)] == fold
             for i in problem.images.ids]
        )  # fmt: skip
        assert result.rows.tolist() == expected.tolist()
        assert (result.repeat, result.fold) == (0, fold)

    @pytest.mark.parametrize(("choice", "epoch"), [("last", 3), ("best", 1), ("crossfit", 1)])
    def test_probabilities_and_weights_are_of_the_epoch_that_is_kept(
        self, make_problem, scripted_scores, tmp_path, choice, epoch
    ):
        scripted_scores(0.1, 0.9, 0.2, 0.3)
        problem = make_problem(stages=["1:4:1e-2"], choose_epoch=choice)
        result = train(problem)
        assert result.kept_epoch == epoch
        assert result.best == result.history[1]
        card = ModelCard("test_vit", problem.images.class_names, 32)
        write_bundle(tmp_path, card, result.weights)
        pixels = problem.images.pixels[result.rows]
        found = Predictor(tmp_path, "cpu").predict(pixels)
        np.testing.assert_allclose(found, result.probabilities, atol=1e-5)

    def test_logits_of_every_epoch_are_kept_for_crossfit_alone(self, make_problem):
        checkpoints = []
        problem = make_problem(stages=["1:3:1e-3"], choose_epoch="crossfit")
        result = train(problem, on_checkpoint=checkpoints.append)
        assert result.epoch_logits.shape == (3, *result.probabilities.shape)
        own = softmax(result.epoch_logits[result.kept_epoch], axis=1)
        np.testing.assert_allclose(own, result.probabilities, atol=2e-3)
        again = train(problem, checkpoint=checkpoints[0])
        assert np.array_equal(again.epoch_logits, result.epoch_logits)
        assert train(make_problem()).epoch_logits.shape == (0, *result.probabilities.shape)

    def test_scores_are_those_of_its_probabilities_and_history(self, make_problem):
        problem = make_problem()
        result = train(problem)
        labels = problem.images.labels[result.rows]
        assert result.scores == scores(labels, result.probabilities)
        best = result.history[result.kept_epoch]
        assert best.val_accuracy == result.scores["accuracy"]
        assert best.val_loss == pytest.approx(result.scores["log_loss"], abs=1e-5)
        quick = quick_scores(labels, np.log(result.probabilities))
        assert best.val_macro_f1 == pytest.approx(quick["macro_f1"])

    def test_folds_and_seeds_start_from_other_weights(self, make_problem):
        one, other = train(make_problem()), train(make_problem(), 1)
        seeded = train(make_problem(seed=1))
        assert len({r.history[0].first_loss for r in (one, other, seeded)}) == 3

    def test_first_loss_is_near_guessing(self, make_problem):
        result = train(make_problem())
        assert abs(result.history[0].first_loss - np.log(3)) < 0.15

    def test_learns_colours(self, make_problem):
        result = train(make_problem(stages=["1:15:1e-3"], augment="flip_horizontal+rotate"))
        assert result.scores["accuracy"] > 0.8

    def test_reports_come_in_order_and_are_the_history(self, make_problem):
        reports = []
        result = train(make_problem(), on_epoch=reports.append)
        assert tuple(reports) == result.history
        assert all(isinstance(report, EpochReport) for report in reports)
        assert all(report.images_per_second > 0 for report in reports)

    def test_where_it_runs_changes_nothing(self, make_problem):
        other = make_problem(concurrent_folds=2, max_failures=0, checkpoint_every=7, output="x")
        assert_same(train(make_problem()), train(other))

    def test_read_only_images_are_enough(self, make_images, make_problem):
        images = make_images()
        for array in (images.pixels, images.labels):
            array.flags.writeable = False
        assert_same(train(make_problem(images)), train(make_problem()))

    def test_bf16_runs_and_is_near(self, make_problem):
        problem = make_problem()
        half = fit.fit_fold(problem, 0, 0, runtime=Runtime.choose("cpu", "bf16"))
        assert half.weights["head.weight"].dtype == torch.float32
        assert half.history[0].train_loss == pytest.approx(
            train(problem).history[0].train_loss, abs=0.05
        )


class TestLeak:
    def test_held_out_images_do_not_touch_the_training(self, make_images, make_problem):
        """Other pixels in the validation part leave the weights of every epoch as they were."""
        images = make_images()
        problem = make_problem(images, stages=["1:2:1e-3"])
        rows = problem.splits.parts(0, 0, images.ids)[1]
        pixels = images.pixels.copy()
        pixels[rows] = 255 - pixels[rows]
        other = make_problem(dataclasses.replace(images, pixels=pixels), stages=["1:2:1e-3"])
        ends = []
        for one in (problem, other):
            checkpoints = []
            result = train(one, on_checkpoint=checkpoints.append)
            ends.append((opened(checkpoints[-1])["model"], result))
        for name, tensor in ends[0][0].items():
            assert torch.equal(tensor, ends[1][0][name])
        assert not np.array_equal(ends[0][1].probabilities, ends[1][1].probabilities)


class TestProblem:
    def test_batch_larger_than_the_training_part_is_refused(self, make_problem):
        with pytest.raises(UserError, match=r"--batch-size 33: .* 32 images; lower it to 32"):
            make_problem(batch_size=33)
        make_problem(batch_size=32)


class TestRuntime:
    def test_auto_on_the_cpu_is_fp32(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert Runtime.choose("auto", "auto") == Runtime(torch.device("cpu"), "fp32")
        assert Runtime.choose("cpu", "bf16").precision == "bf16"

    def test_no_gpu_is_refused(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match=r"--device cuda: .*use --device cpu"):
            Runtime.choose("cuda", "auto")

    def test_gpu_without_bf16_is_refused_or_fp32(self, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **options: False)
        assert Runtime.choose("auto", "auto") == Runtime(torch.device("cuda"), "fp32")
        with pytest.raises(UserError, match=r"--precision bf16: .*use fp16 or fp32"):
            Runtime.choose("cuda", "bf16")


JOBS = {
    "vit": {  # slices of 8 and 7 images; ten steps over two stages
        "backbone": "test_vit", "folds": 2, "batch_size": 15, "dropout": 0.3,
        "stages": ["0:2:1e-2", "1:3:1e-3"],
    },
    "resnet": {
        "backbone": "test_resnet", "folds": 2, "batch_size": 16, "stages": ["1:2:1e-2"],
    },
    "head": {
        "backbone": "test_vit", "folds": 2, "batch_size": 15, "stages": ["0:2:1e-2", "1:3:1e-3"],
        "pool": "attention", "head_layers": [9], "head_norm": "layer", "head_dropout": 0.3,
        "layer_decay": 0.7, "warmup": 1, "tta": "d4",
    },
    "mixed": {  # partners lie in the other worker's part as often as not
        "backbone": "test_vit", "folds": 2, "batch_size": 15, "stages": ["0:1:1e-2", "1:2:1e-3"],
        "augment": "light+cutmix",
    },
    "holdout": {
        "backbone": "test_vit", "folds": 2, "batch_size": 8, "stages": ["1:2:1e-3"],
        "holdout": 0.2,
    },
    "balanced": {
        "backbone": "test_vit", "folds": 2, "batch_size": 7, "dropout": 0.3,
        "stages": ["0:1:1e-2", "1:1:1e-3"], "balance": "oversample", "class_weights": "0=3",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_images):
    """What one worker alone and two workers together found, by size and rank."""
    folder = tmp_path_factory.mktemp("workers")
    images = make_images()
    return trained_by_workers(folder, JOBS, images), images


class TestTeams:
    @pytest.mark.parametrize("job", JOBS)
    def test_see_the_same_global_batches(self, trained, job):
        alone, first, second = (one[job]["batches"] for one in trained[0].values())
        assert alone == first == second
        assert len(alone) > 5

    @pytest.mark.parametrize(
        ("job", "steps"), [("vit", 10), ("balanced", 10), ("mixed", 6), ("head", 10)]
    )
    def test_have_the_same_losses(self, trained, job, steps):
        alone, first, second = (one[job]["losses"] for one in trained[0].values())
        assert len(alone) == steps
        torch.testing.assert_close(first, alone, atol=1e-4, rtol=0)
        assert torch.equal(first, second)

    @pytest.mark.parametrize("job", ["vit", "balanced", "head"])
    def test_have_the_same_gradients(self, trained, job):
        """AdamW forgives a wrong scale of all gradients, so the losses do not tell."""
        alone, together = (trained[0][who][job]["moments"] for who in ((1, 0), (2, 0)))
        assert alone.keys() == together.keys()
        # weights and biases of the head, in the frozen stage
        assert len(alone) == (7 if job == "head" else 2)
        for number, moment in alone.items():
            torch.testing.assert_close(together[number], moment, atol=1e-5, rtol=1e-3)

    @pytest.mark.parametrize("job", ["vit", "balanced", "mixed", "head"])
    def test_have_the_same_probabilities(self, trained, job):
        alone, first, second = (one[job] for one in trained[0].values())
        torch.testing.assert_close(
            first["probabilities"], alone["probabilities"], atol=1e-3, rtol=0
        )
        assert torch.equal(first["probabilities"], second["probabilities"])
        assert torch.equal(first["rows"], alone["rows"])

    @pytest.mark.parametrize("job", JOBS)
    @pytest.mark.parametrize("who", [(1, 0), (2, 0), (2, 1)])
    def test_probabilities_are_those_of_the_weights(self, trained, job, who, tmp_path):
        found, images = trained[0][who][job], trained[1]
        config = Config.from_flat(JOBS[job]).model
        card = ModelCard(JOBS[job]["backbone"], images.class_names, 32, config.head)
        write_bundle(tmp_path, card, found["weights"])
        predicted = Predictor(tmp_path, "cpu").predict(images.pixels[found["rows"].numpy()])
        np.testing.assert_allclose(predicted, found["probabilities"].numpy(), atol=1e-5)

    def test_predict_the_same_holdout(self, trained):
        alone, first, second = (one["holdout"]["holdout"] for one in trained[0].values())
        assert alone.shape == (13, 3)
        torch.testing.assert_close(first, alone, atol=1e-3, rtol=0)
        assert torch.equal(first, second)

"""Mixed batches: partners across workers, soft targets, and when nothing is mixed."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from folds.augment import augment, make_policy
from folds.config.stages import Stage
from folds.runtime.device import Runtime
from folds.runtime.workers import Workers
from folds.sampling import uniform_table
from folds.training import epoch
from folds.training.context import fold_context
from folds.training.epoch import _losses
from folds.training.fit import fit_fold
from folds.training.frozen import shareable_views
from folds.training.frozen_view import PLAIN
from folds.training.loader import BatchLoader
from folds.training.mixed_batches import Batch, mixed_batches, mixing_plan

CPU = Runtime.choose("cpu", "fp32")
MIXED = "flip_horizontal+brightness+cutmix"
MIXED_FIELDS = ("rows", "inputs", "partners", "shares")


def batches_of(problem, size, rows, microbatches=1):
    policy = problem.policy
    table = uniform_table(0, 0, len(problem.images), policy.columns)
    pixels = BatchLoader(problem.images.pixels, CPU.device)
    return [
        list(mixed_batches(problem, pixels, Workers(rank, size), table, rows, rows, microbatches))
        for rank in range(size)
    ]


class TestMixingPlan:
    @pytest.mark.parametrize("workers", [1, 2, 3, 5])
    def test_holds_ones_part_and_its_partners_once(self, workers):
        policy = make_policy("mixup")
        numbers = uniform_table(0, 0, 13, policy.columns)
        mixing = policy.mixing(numbers, np.zeros(13, np.int64))
        mine = []
        for rank in range(workers):
            found = mixing_plan(mixing, Workers(rank, workers).slice(np.arange(13)))
            own = found.places[: len(found.partners)]
            mine += own.tolist()
            assert len(set(found.places)) == len(found.places)
            assert np.array_equal(found.places[found.partners], mixing.partners[own])
            assert set(found.places) == set(own) | set(mixing.partners[own])
        assert mine == list(range(13))


class TestBatches:
    @pytest.mark.parametrize(
        "policy", [MIXED, "mixup", "fourier+within_class", "light+colour_exchange", "strong"]
    )
    def test_are_the_same_for_any_number_of_workers(self, make_problem, policy):
        problem = make_problem(augment=policy)
        rows = np.array([[5, 9, 1, 30, 22, 17, 40], [2, 3, 4, 6, 7, 8, 10]])
        (alone,) = batches_of(problem, 1, rows)
        for size in (2, 3):
            parts = batches_of(problem, size, rows)
            for step, whole in enumerate(alone):
                for field in MIXED_FIELDS:
                    together = torch.cat([getattr(part[step], field) for part in parts])
                    assert_close(together, getattr(whole, field), atol=1e-5, rtol=0)

    @pytest.mark.parametrize("microbatches", [2, 3, 7])
    def test_are_the_same_in_any_number_of_microbatches(self, make_problem, microbatches):
        problem = make_problem(augment=MIXED)
        rows = np.array([[5, 9, 1, 30, 22, 17, 40], [2, 3, 4, 6, 7, 8, 10]])
        (alone,), (found,) = (
            batches_of(problem, 1, rows),
            batches_of(problem, 1, rows, microbatches),
        )
        assert len(found) == 2 * microbatches
        for step, whole in enumerate(alone):
            parts = found[step * microbatches : (step + 1) * microbatches]
            for field in MIXED_FIELDS:
                together = torch.cat([getattr(part, field) for part in parts])
                assert_close(together, getattr(whole, field), atol=1e-5, rtol=0)

    def test_partners_come_in_their_own_augmented_view(self, make_problem):
        problem = make_problem(augment=MIXED)
        rows = np.arange(6)
        ((batch,),) = batches_of(problem, 1, [rows])
        table = uniform_table(0, 0, len(problem.images), problem.policy.columns)
        pixels = torch.from_numpy(problem.images.pixels)

        def look(which):
            return augment(pixels[which], table[which.numpy()], problem.policy, problem.size)

        own, other = look(batch.rows), look(batch.partners)
        mine, theirs = (batch.inputs == own).all(1), (batch.inputs == other).all(1)
        assert (mine | theirs).all()
        assert_close(mine.float().mean((1, 2)), batch.shares, atol=1e-6, rtol=0)


class TestLoss:
    def test_equals_cross_entropy_with_soft_targets(self, make_problem):
        problem = make_problem(augment=MIXED, label_smoothing=0.1)
        place = fold_context(problem, 0, 0, CPU, Workers(), lambda view: None)
        ((batch,),) = batches_of(problem, 1, [place.train[:8]])
        logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        hot = torch.nn.functional.one_hot(place.labels, 3).float()
        shares = batch.shares[:, None]
        target = shares * hot[batch.rows] + (1 - shares) * hot[batch.partners]
        wanted = torch.nn.functional.cross_entropy(
            logits, target, label_smoothing=0.1, reduction="none"
        )
        assert_close(_losses(place, logits, batch), wanted)
        plain = _losses(place, logits, batch._replace(partners=None, shares=None))
        assert (plain - wanted).abs().max() > 0.01


class TestTriplets:
    def test_have_the_label_that_is_most_of_a_mixed_image(self, make_problem, monkeypatch):
        problem = make_problem(augment="mixup+cutmix", stages=["1:1:1e-3"], triplet=0.5)
        seen, expected = [], []
        plain = epoch._losses

        def losses(context, logits, batch):
            hot = torch.nn.functional.one_hot(context.labels, 3).float()
            shares = batch.shares[:, None]
            expected.append(shares * hot[batch.rows] + (1 - shares) * hot[batch.partners])
            return plain(context, logits, batch)

        def triplets(features, labels, workers, everyone):
            assert torch.equal(labels, everyone)
            seen.append(labels)
            return features.sum() * 0

        monkeypatch.setattr(epoch, "_losses", losses)
        monkeypatch.setattr(epoch, "triplet_loss", triplets)
        fit_fold(problem, 0, 0, runtime=CPU)
        targets, found = torch.cat(expected), torch.cat(seen)
        assert torch.equal(found, targets.argmax(dim=1))
        assert (targets.amax(dim=1) < 1).any()

    def test_of_halves_and_unmixed_images_keep_their_own(self):
        rows, partners = torch.arange(4), torch.tensor([3, 2, 1, 0])
        batch = Batch(rows, rows, partners=partners, shares=torch.tensor([1.0, 0.5, 0.49, 0.0]))
        assert batch.leaders.tolist() == [0, 1, 1, 0]
        assert Batch(rows, rows).leaders.tolist() == [0, 1, 2, 3]


class TestStages:
    def test_nothing_is_mixed_while_the_backbone_is_frozen(self, make_problem):
        problem = make_problem(augment=MIXED)
        assert not problem.mixes(Stage(0.0, 1, 1e-3))
        assert problem.mixes(Stage(0.1, 1, 1e-3))
        assert not make_problem(augment="light").mixes(Stage(1.0, 1, 1e-3))

    def test_sharing_changes_nothing(self, make_problem):
        """What is shared of a stage that mixes is the plain view alone."""
        stages = ["0:1:1e-2", "0.5:1:1e-3"]
        settings = {"backbone": "test_resnet", "stages": stages}
        weights = fresh_weights()
        views = {
            name: shareable_views(make_problem(augment=name, pretrained=weights, **settings), 10**9)
            for name in ("light", "light+cutmix")
        }
        assert {view.epoch for view in views["light"]} == {PLAIN, 0, 1}
        assert {view.epoch for view in views["light+cutmix"]} == {PLAIN, 0}
        asked = []
        problem = make_problem(augment="light+cutmix", pretrained=weights, **settings)
        fit_fold(problem, 0, 0, runtime=CPU, frozen_features=lambda view: asked.append(view.epoch))
        assert 1 not in asked


def fresh_weights():
    from folds.model.backbone import build

    model = build("test_resnet", classes=3, size=32, dropout=0.0, pretrained=None, seed=7)
    return model.backbone.state_dict()


def test_first_loss_is_near_guessing_with_mixing(make_problem):
    problem = make_problem(augment="light+mixup+cutmix", stages=["1:1:1e-3"])
    result = fit_fold(problem, 0, 0, runtime=CPU)
    assert abs(result.history[0].first_loss - np.log(3)) < 0.15

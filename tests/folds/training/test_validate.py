"""What a finished fold is measured by: corrupted images and images from elsewhere."""

import dataclasses

import numpy as np
import pytest
import torch

from folds.augment import to_input
from folds.config import DataConfig
from folds.config.corruptions import suite
from folds.config.stages import Stage
from folds.corruptions import corrupt, keys_of
from folds.errors import UserError
from folds.evaluation.metrics import quick_scores
from folds.images.external import External, load_externals
from folds.model.backbone import Classifier
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.training import validate
from folds.training.fit import fit_fold

CPU = Runtime.choose("cpu", "fp32")


def train(problem, **options):
    return fit_fold(problem, 0, 0, runtime=CPU, **options)


def with_externals(problem, images, name="lab2"):
    return dataclasses.replace(problem, externals=(External(name, "there", images),))


class TestShift:
    def test_is_what_the_kept_model_predicts_for_corrupted_images(self, make_problem):
        problem = make_problem(shift="full", stages=["1:2:1e-3"])
        result = train(problem)
        model = Classifier("test_vit", classes=3, size=32).eval()
        model.load_state_dict(result.weights)
        rows = result.corrupted.rows
        images = to_input(torch.from_numpy(problem.images.pixels[rows]), 32)
        keys = keys_of(problem.images.ids[rows])
        assert result.corrupted.cases == tuple(suite("full"))
        for case in (("jpeg", 5), ("gaussian_noise", 1), ("rotation", 3)):
            with torch.inference_mode():
                expected = model(corrupt(images, keys, *case)).argmax(dim=1).numpy()
            found = result.corrupted.predicted[result.corrupted.cases.index(case)]
            assert (found == expected).mean() > 0.95
        kept = result.corrupted.probabilities
        assert kept.shape == (*result.corrupted.predicted.shape, 3)
        np.testing.assert_allclose(kept.astype(np.float32).sum(axis=2), 1, atol=0.002)
        chosen = np.take_along_axis(kept, result.corrupted.predicted[..., None], axis=2)[..., 0]
        np.testing.assert_array_equal(chosen, kept.max(axis=2))

    def test_probabilities_that_are_too_many_are_not_kept(self, make_problem, monkeypatch):
        whole = train(make_problem(shift="fast")).corrupted
        monkeypatch.setattr(validate, "MOST_KEPT", 100)
        alone = train(make_problem(shift="fast")).corrupted
        assert alone.probabilities.size == 0
        np.testing.assert_array_equal(alone.predicted, whole.predicted)

    def test_does_not_touch_the_training(self, make_problem):
        plain, other = train(make_problem()), train(make_problem(shift="fast"))
        assert all(torch.equal(tensor, other.weights[n]) for n, tensor in plain.weights.items())
        assert plain.scores == other.scores
        assert plain.corrupted.predicted.shape == (0, 0)

    def test_is_among_what_is_measured(self, make_problem):
        result = train(make_problem(shift="fast"))
        assert len(result.corrupted.predicted) == 19
        assert 0 <= result.measured["shift.worst"] <= result.measured["shift.macro_f1"] <= 1
        assert result.measured["accuracy"] == result.scores["accuracy"]

    def test_fast_sees_fewer_images_where_training_is_short(self, make_images, make_problem):
        images = make_images((300, 300))
        problem = make_problem(images, shift="fast", stages=["1:2:1e-3"], batch_size=64)
        rows = train(problem).corrupted.rows
        assert len(rows) == validate.FEWEST
        assert len(set(rows)) == len(rows)
        assert validate.shift_share("fast", (Stage(1, 8, 1e-3),)) == 1
        assert validate.shift_share("fast", (Stage(0, 4, 1e-3), Stage(1, 3, 1e-3))) == 0.5

    def test_chooses_the_epoch_where_it_is_asked_to(self, make_problem, monkeypatch):
        """An epoch is worth what its model makes of corrupted images."""
        seen = []
        monkeypatch.setattr(validate, "corrupt", lambda images, keys, name, severity: (
            seen.append(name), images * 0 + 0.5)[1])  # fmt: skip
        result = train(make_problem(
            select_by="shift.hue", shift="fast", stages=["1:3:1e-3"], choose_epoch="best",
        ))  # fmt: skip
        assert seen[:3] == ["hue"] * 3
        assert result.kept_epoch == int(np.argmax([r.score for r in result.history]))
        assert [report.score for report in result.history] != [
            report.val_macro_f1 for report in result.history
        ]


class TestExternal:
    def test_is_what_the_kept_model_predicts(self, make_problem, make_images, tmp_path):
        others = make_images((5, 6, 7), side=40, seed=5)
        problem = with_externals(make_problem(select_by="log_loss"), others)
        result = train(problem)
        write_bundle(
            tmp_path, ModelCard("test_vit", problem.images.class_names, 32), result.weights
        )
        found = Predictor(tmp_path, "cpu").predict(others.pixels)
        assert result.external["lab2"].shape == (18, 3)
        np.testing.assert_allclose(result.external["lab2"], found, atol=0.02)  # resized differently
        right = (result.external["lab2"].argmax(axis=1) == others.labels).mean()
        assert result.measured["external.lab2.accuracy"] == right

    def test_chooses_the_epoch_where_it_is_asked_to(self, make_problem, make_images):
        problem = make_problem(
            select_by="external.lab2.log_loss", external=["lab2=there"], stages=["1:3:1e-2"]
        )
        result = train(with_externals(problem, make_images((9, 9, 9), seed=5)))
        scores = [report.score for report in result.history]
        assert -result.measured["external.lab2.log_loss"] == pytest.approx(max(scores))

    def test_does_not_touch_the_training(self, make_problem, make_images):
        plain, other = (
            train(problem)
            for problem in (make_problem(), with_externals(make_problem(), make_images()))
        )
        assert all(torch.equal(tensor, other.weights[n]) for n, tensor in plain.weights.items())

    def test_labels_become_those_of_the_classes_trained_on(self, tmp_path, make_images):
        save(tmp_path / "there.npz", make_images((3, 4)), ["b", "c"])
        config = DataConfig()
        (found,) = load_externals(
            {"lab2": str(tmp_path / "there.npz")}, ("a", "b", "c"), config, size=32
        )
        assert found.images.class_names == ("a", "b", "c")
        assert found.images.counts == {"a": 0, "b": 3, "c": 4}

    def test_the_pattern_tells_groups_here_too(self, tmp_path, make_images):
        others = make_images((6, 6))
        names = [f"patient{row % 2}_{row}" for row in range(12)]
        np.savez(tmp_path / "there.npz", images=others.pixels, labels=others.labels, ids=names)
        sources, classes = {"lab2": str(tmp_path / "there.npz")}, ("0", "1")
        for pattern, groups in ((r"(patient\d)_", 2), (r"(patient1)_", 7), (r"(slide\d)", 12)):
            config = DataConfig(group_regex=pattern)
            (found,) = load_externals(sources, classes, config, size=32)
            assert len(set(found.images.groups)) == groups
            told = f"names no group in {[0, 6, 12][groups // 6]} of 12 ids"
            assert [told in notice for notice in found.images.notices] == [True] * (groups > 2)

    def test_an_unknown_class_is_refused(self, tmp_path, make_images):
        save(tmp_path / "there.npz", make_images((3, 4)), ["b", "basofil"])
        with pytest.raises(UserError, match=r"--external lab2=.*'basofil' is none.*basophil"):
            load_externals(
                {"lab2": str(tmp_path / "there.npz")}, ("b", "basophil"), DataConfig(),
                size=32,
            )  # fmt: skip

    def test_a_missing_source_is_told_by_its_flag(self):
        with pytest.raises(UserError, match=r"^--external lab2=nowhere: no such file"):
            load_externals({"lab2": "nowhere"}, ("a", "b"), DataConfig(), size=32)


def test_epochs_are_worth_the_named_score(make_problem):
    result = train(make_problem(select_by="roc_auc"))
    assert result.history[result.kept_epoch].score == pytest.approx(result.scores["roc_auc"])


def test_scores_of_a_quick_kind_agree_with_the_whole(make_problem):
    result = train(make_problem())
    logits = np.log(result.probabilities)
    quick = quick_scores(make_problem().images.labels[result.rows], logits)
    assert quick["macro_f1"] == pytest.approx(result.measured["macro_f1"])


def save(path, images, names):
    np.savez(path, images=images.pixels, labels=images.labels, class_names=np.array(names))

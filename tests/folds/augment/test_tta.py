import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.augment.tta import mean_probabilities, views
from folds.config.head import check_tta
from folds.evaluation.metrics import scores
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

CPU = Runtime.choose("cpu", "fp32")
IMAGES = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
KINDS = ["none", "flips", "d4", "2", "5", "64"]


def smooth(images):
    """Views turn and shift by parts of a pixel: noise would be blurred away."""
    return torch.nn.functional.avg_pool2d(images, 7, 1, 3, count_include_pad=False)


class TestViews:
    @pytest.mark.parametrize(("kind", "count"), [("none", 1), ("flips", 4), ("d4", 8), ("7", 7)])
    def test_are_so_many_and_the_first_is_plain(self, kind, count):
        found = views(kind)
        assert len(found) == count
        assert torch.equal(found[0](IMAGES), IMAGES)

    def test_flips_are_the_mirror_images(self):
        found = [view(IMAGES) for view in views("flips")]
        for axes, image in zip([(), (3,), (2,), (2, 3)], found, strict=True):
            assert torch.equal(image, IMAGES.flip(axes))

    def test_d4_are_all_symmetries_of_the_square(self):
        found = {tuple(view(IMAGES).flatten().tolist()) for view in views("d4")}
        turned = [torch.rot90(i, n, (2, 3)) for n in range(4) for i in (IMAGES, IMAGES.flip(3))]
        assert found == {tuple(image.flatten().tolist()) for image in turned}

    def test_light_ones_keep_the_image_recognisable_and_differ(self):
        images = smooth(IMAGES)
        symmetric = [view(images) for view in views("d4")]
        found = [view(images) for view in views("33")[1:]]
        for image in found:
            assert image.shape == images.shape
            assert image.dtype == torch.float32
            assert 0 <= image.min() <= image.max() <= 1
            assert 1e-3 < min((image - other).abs().mean() for other in symmetric) < 0.08
        distinct = {round(float(image.double().sum()), 4) for image in found}
        assert len(distinct) == len(found)

    def test_more_of_them_begin_as_fewer(self):
        for few, many in zip(views("4"), views("9"), strict=False):
            assert torch.equal(few(IMAGES), many(IMAGES))

    @pytest.mark.parametrize("kind", KINDS)
    def test_do_not_depend_on_the_rest_of_the_batch(self, kind):
        for view in views(kind):
            alone = torch.cat([view(IMAGES[i : i + 1]) for i in range(3)])
            torch.testing.assert_close(view(IMAGES), alone, atol=1e-6, rtol=0)


class TestMean:
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_a_network_that_sees_no_difference_is_its_own(self, kind):
        constant = torch.tensor([1.0, 2.0, 0.5])
        found = mean_probabilities(lambda images: constant.expand(len(images), 3), IMAGES, kind)
        torch.testing.assert_close(found, constant.softmax(0).expand(3, 3))

    @pytest.mark.parametrize("kind", ["flips", "d4"])
    def test_is_the_same_for_an_image_and_its_mirror_image(self, kind):
        weight = torch.randn(3 * 16 * 16, 4, generator=torch.Generator().manual_seed(2))

        def model(images):
            return images.flatten(1) @ weight

        one, other = (mean_probabilities(model, i, kind) for i in (IMAGES, IMAGES.flip(3)))
        torch.testing.assert_close(one, other)
        assert not torch.allclose(one, model(IMAGES).softmax(1), atol=1e-2)


@settings(max_examples=50)
@given(st.integers(2, 64))
def test_numbers_and_texts_are_read_alike(count):
    assert check_tta(count) == check_tta(str(count)) == str(count)


@pytest.mark.parametrize("given_", ["1", "65", "D4", "", "2.5", "-3", None, True])
def test_other_words_are_refused(given_):
    with pytest.raises(ValueError, match="use none, flips, d4, or a number of views from 2 to 64"):
        check_tta(given_)


class TestFold:
    def test_without_there_is_nothing(self, make_problem):
        found = fit_fold(make_problem(), 0, 0, runtime=CPU)
        assert found.other_views == found.other_view_scores == {}

    @pytest.mark.parametrize("kind", ["d4", "3"])
    def test_is_scored_beside_the_plain_prediction_and_done_by_the_model(
        self, make_problem, tmp_path, kind
    ):
        problem, plain = make_problem(tta=kind), make_problem()
        found, other = (fit_fold(p, 0, 0, runtime=CPU) for p in (problem, plain))
        assert np.array_equal(found.probabilities, other.probabilities)
        assert found.scores == other.scores
        labels = problem.images.labels[found.rows]
        assert found.other_view_scores["tta"] == scores(labels, found.other_views["tta"])
        assert not np.allclose(found.other_views["tta"], found.probabilities, atol=1e-4)
        write_bundle(tmp_path, problem.card, found.weights)
        predictor = Predictor(tmp_path, "cpu")
        assert predictor.card == problem.card
        predicted = predictor.predict(problem.images.pixels[found.rows])
        np.testing.assert_allclose(predicted, found.other_views["tta"], atol=1e-5)

    def test_of_the_card_alone(self):
        assert ModelCard("test_vit", ("a", "b"), 32).tta == "none"


class TestAugmentedValidation:
    def test_is_scored_beside_the_clean_one_and_changes_nothing(self, make_problem):
        problem, plain = make_problem(val_augment="strong"), make_problem()
        found, other = (fit_fold(p, 0, 0, runtime=CPU) for p in (problem, plain))
        assert np.array_equal(found.probabilities, other.probabilities)
        assert found.best.epoch == other.best.epoch
        assert not np.allclose(found.other_views["augmented"], found.probabilities, atol=1e-4)
        labels = problem.images.labels[found.rows]
        augmented = found.other_views["augmented"]
        assert found.other_view_scores["augmented"] == scores(labels, augmented)

    def test_does_nothing_to_images_that_the_policy_leaves_alone(self, make_problem):
        found = fit_fold(make_problem(val_augment=[{"op": "rotate", "p": 0}]), 0, 0, runtime=CPU)
        np.testing.assert_allclose(found.other_views["augmented"], found.probabilities, atol=1e-5)

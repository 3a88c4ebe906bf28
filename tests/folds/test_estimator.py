"""The classifier is scikit-learn's in all that it does, and its folds are crossfold's."""

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from folds import estimator
from folds.config import Config
from folds.estimator import CrossfoldClassifier
from folds.images.given import given, image_set
from folds.model.predictor import Predictor
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from tests.conftest import small_images

SMALL = {"weights": "none", "folds": 2, "augment": "none", "batch_size": 8}
STAGES = ["1:10:3e-3"]
OFF = {"audit": "off", "label_smoothing": 0.0}


class Drawn(CrossfoldClassifier):
    """Draws any table: a feature is a square of grey, the lighter, the larger its value.

    The tables of scikit-learn's checks have 1 to 20 columns of numbers around 0, which are no
    images. All else about the estimator is as it is.
    """

    def _pixels(self, X, *, y=None, reset):
        X = validate_data(self, X, y)[0] if reset else validate_data(self, X, reset=False)
        side = int(np.ceil(np.sqrt(X.shape[1])))
        values = np.pad(X.astype(float), ((0, 0), (0, side**2 - X.shape[1])))
        grey = np.round(255 / (1 + np.exp(-values))).astype(np.uint8).reshape(-1, side, side)
        cell = -(-16 // side)
        return np.repeat(grey.repeat(cell, axis=1).repeat(cell, axis=2)[..., None], 3, axis=3)


CHECKED = Drawn(
    "test_resnet", **{**SMALL, "batch_size": 5}, stages=("1:2:5e-3",), image_size=32, settings=OFF
)


@parametrize_with_checks([CHECKED])  # no failure is expected
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    """X, y and the classifier that was fitted on them."""
    images = small_images()
    y = np.array(["c", "a", "b"])[images.labels]
    model = CrossfoldClassifier("test_resnet", **SMALL, stages=STAGES, settings=OFF, random_state=3)
    return images.pixels, y, model.fit(images.pixels, y)


def test_the_folds_are_those_of_a_run(data, tmp_path):
    X, y, model = data
    names, labels = np.unique(y, return_inverse=True)
    settings = {
        "backbone": "test_resnet", **SMALL, "stages": STAGES, **OFF, "seed": 3,
        "shift": "off",
    }  # fmt: skip
    run = prepare(Config.from_flat(settings), load=given(image_set(X, labels, names.tolist())))
    results = [fit_fold(run.problem, *t, runtime=Runtime.choose("cpu", "fp32")) for t in run.folds]
    for result in results:
        np.testing.assert_allclose(
            model.oof_probabilities_[result.rows], result.probabilities, atol=1e-5
        )
    assert model.fold_scores_["accuracy"].tolist() == [r.scores["accuracy"] for r in results]
    right = (model.classes_[model.oof_probabilities_.argmax(axis=1)] == y).mean()
    assert model.score_interval_.value == pytest.approx(right)
    assert model.score_interval_.low < right <= model.score_interval_.high
    assert right > 0.6
    model.save(tmp_path)
    opened = Predictor(tmp_path, "cpu")
    np.testing.assert_array_equal(opened.predict(X), model.predict_proba(X))
    assert opened.card.members == 2
    assert opened.card.class_names == ("a", "b", "c")


def test_what_is_fitted_again_is_the_same_to_the_last_bit(data):
    X, y, model = data
    again = clone(model).fit(X, y)
    np.testing.assert_array_equal(again.oof_probabilities_, model.oof_probabilities_)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    other = clone(model).set_params(random_state=4).fit(X, y)
    assert np.abs(other.oof_probabilities_ - model.oof_probabilities_).max() > 1e-3


def test_a_pickled_copy_answers_alike(data):
    X, _, model = data
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict_proba(X), model.predict_proba(X))


def test_a_search_keeps_groups_whole_in_its_folds_and_in_the_models(data, monkeypatch):
    X, y, model = data
    groups = np.arange(len(X)) // 2
    seen = []
    monkeypatch.setattr(estimator, "image_set", lambda *of: seen.append(of[-1]) or image_set(*of))
    with config_context(enable_metadata_routing=True):
        short = clone(model).set_params(stages=["1:1:3e-3"]).set_fit_request(groups=True)
        grid = {"batch_size": np.array([8])}
        search = GridSearchCV(short, grid, cv=GroupKFold(2)).fit(X, y, groups=groups)
    assert search.predict(X[:2]).shape == (2,)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    first, second, everything = map(set, seen)
    assert first.isdisjoint(second)
    assert first | second == everything == set(groups)


def test_cross_val_score(data):
    X, y, model = data
    short = clone(model).set_params(stages=["1:1:3e-3"])
    assert np.isfinite(cross_val_score(short, X, y, cv=2)).all()


def test_no_fold_cuts_a_group(data):
    X, y, model = data
    with pytest.raises(ValueError, match="class 'a' has 1 image"):
        clone(model).fit(X, y, groups=y)


def test_repeats_are_averaged_and_notices_are_warnings(data):
    X, y, model = data
    X = X.copy()
    X[1] = X[0]
    twice = clone(model).set_params(stages=["1:1:3e-3"], settings={"repeats": 2})
    with pytest.warns(UserWarning, match="audit: 1 exact cop"):
        twice.fit(X, y)
    assert twice.oof_probabilities_.shape == (len(X), 3)
    np.testing.assert_allclose(twice.oof_probabilities_.sum(axis=1), 1, atol=1e-5)
    assert len(twice.fold_scores_["macro_f1"]) == 4
    assert any("audit: 1 exact cop" in line for line in twice.notices_)


def test_grey_and_flat_images_are_those_images(data):
    X, y, model = data
    grey = X[..., 0]
    one = clone(model).set_params(stages=["1:1:3e-3"]).fit(grey, y)
    flat = clone(one).fit(grey.reshape(len(X), -1) / 255, y)
    assert (one.n_features_in_, flat.n_features_in_) == (32 * 32, 32 * 32)
    np.testing.assert_array_equal(one.oof_probabilities_, flat.oof_probabilities_)
    with pytest.raises(ValueError, match="X has 16 features"):
        flat.predict(np.zeros((1, 16)))


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"folds": 1}, "--folds 1: must be"),
        ({"backbone": "resnet9"}, "resnet9"),
        ({"settings": {"ema": 2}}, "--ema 2"),
        ({"settings": {"emma": 0.9}}, "settings: 'emma' has no effect here; nearest: ema"),
        ({"settings": {"augment": "none"}}, "settings: 'augment' is a parameter of its own"),
        ({"settings": {"workers_per_fold": 2}}, "settings: 'workers_per_fold' has no effect"),
    ],
)
def test_a_wrong_parameter_is_one_line(data, parameters, told):
    X, y, model = data
    with pytest.raises(ValueError, match=told) as found:
        clone(model).set_params(**parameters).fit(X, y)
    assert "\n" not in str(found.value)


def test_defaults_are_those_of_the_flags():
    flags = Config().flat()
    own = CrossfoldClassifier().get_params()
    assert Config.from_flat({"stages": own.pop("stages")}).flat()["stages"] == flags["stages"]
    assert own.pop("settings") is None
    assert own.pop("random_state") == flags["seed"]
    assert own == {name: flags[name] for name in own}

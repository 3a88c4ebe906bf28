"""A predictor that adapts to its table."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from folds.adaptation import appearance_of
from folds.augment import to_input
from folds.config.adaptation import check_adapt
from folds.model.backbone import build
from folds.model.bundle import ModelCard, ensemble, write_bundle
from folds.model.predictor import Predictor

SIDE = 32


def pictures(count, seed, low=100, high=220):
    """Noise around the classes' patterns, so that answers differ."""
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (count, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("adapting")
    images = to_input(torch.from_numpy(pictures(100, 0)), SIDE)
    appearance = appearance_of([images], [0.4, 0.3, 0.3])
    card = ModelCard("test_resnet", ("a", "b", "c"), SIDE, appearance=appearance)
    for seed in (1, 2):
        model = build("test_resnet", classes=3, size=SIDE, dropout=0, pretrained=None, seed=seed)
        write_bundle(root / str(seed), card, model.state_dict())
    ensemble([root / "1", root / "2"], root / "both", 1.0)
    return root


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor(folder / "both", "cpu")


def test_the_appearance_travels_with_the_model(folder, predictor):
    one = Predictor(folder / "1", "cpu").card.appearance
    np.testing.assert_allclose(predictor.card.appearance.levels, one.levels)


def test_auto_leaves_a_table_like_trainings_alone(predictor):
    told, images = [], pictures(40, 3)
    plain = predictor.predict(images)
    np.testing.assert_array_equal(predictor.predict(images, adapt="auto", tell=told.append), plain)
    assert told == ["--adapt auto: nothing, since most images look like those of training"]


def test_dark_images_are_brought_back(predictor):
    dark = pictures(40, 3, 20, 60)
    assert np.abs(predictor.predict(dark, adapt="colour") - predictor.predict(dark)).max() > 1e-4


def test_batch_norm_is_the_tables_and_then_trainings_again(predictor):
    dark = pictures(64, 3, 20, 60)
    before = predictor.predict(dark)
    adapted = predictor.predict(dark, adapt="bn", tell=pytest.fail)
    assert np.abs(adapted - before).max() > 1e-4
    np.testing.assert_array_equal(predictor.predict(dark), before)


def test_batches_and_kinds_of_tables_do_not_matter(predictor, tmp_path):
    from PIL import Image

    dark = pictures(40, 5, 20, 60)
    paths = []
    for number, image in enumerate(dark):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(image).save(paths[-1])
    whole = predictor.predict(dark, adapt="auto")
    table = pd.DataFrame({"path": paths})
    np.testing.assert_allclose(predictor.predict(table, adapt="auto", batch=7), whole, atol=1e-5)


def test_few_images_get_no_statistics_of_their_own(predictor):
    told, dark = [], pictures(5, 3, 20, 60)
    few = predictor.predict(dark, adapt="colour+bn", tell=told.append)
    np.testing.assert_array_equal(few, predictor.predict(dark, adapt="colour"))
    assert told == [
        "--adapt colour+bn: without bn, since 5 images are too few; give 32 or more at once"
    ]


def test_images_of_one_class_get_no_statistics_of_their_own(folder):
    card = ModelCard.read(folder / "1" / "model.json")
    model = build("test_resnet", classes=3, size=SIDE, dropout=0, pretrained=None, seed=1)
    weights = model.state_dict()
    weights[[name for name in weights if name.endswith("bias")][-1]][0] += 50  # always class a
    write_bundle(folder / "sure", card, weights)
    told = []
    Predictor(folder / "sure", "cpu").predict(pictures(40, 3), adapt="bn", tell=told.append)
    assert told == [
        "--adapt bn: without bn, since the images seem to be of 1.0 classes, training's of 3.0"
    ]


def test_a_model_that_knows_no_appearance_says_so(folder, tmp_path):
    card = ModelCard.read(folder / "1" / "model.json")
    model = build("test_resnet", classes=3, size=SIDE, dropout=0, pretrained=None, seed=1)
    write_bundle(tmp_path, replace(card, appearance=None), model.state_dict())
    with pytest.raises(ValueError, match="does not know what its training's images looked like"):
        Predictor(tmp_path, "cpu").predict(pictures(2, 0), adapt="colour")


def test_flags_are_read_in_one_order():
    assert check_adapt(" bn+colour") == "colour+bn"
    assert check_adapt("auto") == "auto"
    for wrong in ("color", "auto+bn", "", "colour+"):
        with pytest.raises(ValueError, match="use none, auto, or some of"):
            check_adapt(wrong)

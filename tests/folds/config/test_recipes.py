import dataclasses
from importlib import resources

import numpy as np
import pytest

from folds.config import Config, recipes
from folds.config.stages import Stage
from folds.errors import UserError
from folds.prepare import prepare
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold

CPU = Runtime.choose("cpu", "fp32")
SMALL = {"tf_efficientnetv2": "test_efficientnet", "convnext": "test_convnext"}


def one_epoch_a_stage(name):
    """A recipe's settings with a small relative of its backbone, and one epoch a stage."""
    settings = recipes.read(name)
    family = [small for start, small in SMALL.items() if settings["backbone"].startswith(start)]
    stages = [dataclasses.replace(Stage.parse(text), epochs=1) for text in settings["stages"]]
    return settings | {
        "backbone": family[0] if family else "test_resnet",
        "stages": [str(stage) for stage in stages],
        "weights": "none",
        "external": [],
    }


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_trains(shared, name):
    data = {"data": str(shared / "data" / "an2dl_like.npz"), "limit": 160, "folds": 2}
    settings = one_epoch_a_stage(name) | data
    prepared = prepare(Config.from_flat(settings))
    stages = prepared.problem.config.train.stages  # all of them, though the weights are random
    problem = dataclasses.replace(prepared.problem, stages=stages)
    result = fit_fold(problem, 0, 0, runtime=CPU)
    assert [report.stage for report in result.history] == list(range(len(stages)))
    assert all(np.isfinite(report.train_loss) for report in result.history)


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_every_backbone_unfreezes_and_steps(name):
    settings = recipes.read(name)
    stages = [dataclasses.replace(Stage.parse(text), epochs=1) for text in settings["stages"]]
    settings |= {"data": "digits", "limit": 20, "folds": 2, "batch_size": 10, "weights": "none"}
    settings |= {"image_size": 64, "audit": "off", "stages": [str(stage) for stage in stages]}
    prepared = prepare(Config.from_flat(settings))
    problem = dataclasses.replace(prepared.problem, stages=tuple(stages))
    result = fit_fold(problem, 0, 0, runtime=CPU)
    assert len(result.history) == len(stages)
    assert np.isfinite(result.probabilities).all()


def test_a_line_tells_each_recipe():
    lines = recipes.listing().splitlines()
    assert [line.split()[0] for line in lines] == recipes.names()
    assert all(len(line.split()) > 5 for line in lines)


def test_reports_say_what_they_reached():
    told = {line.split()[0]: line for line in recipes.listing().splitlines()}
    for name in ("fmap", "vacis", "four-neurons", "spanish-inquisition"):
        assert "local" in told[name]
    assert "0.857" in told["aneurali"]


@pytest.mark.parametrize(
    ("name", "figures"),
    {
        "aneurali": ["0.857"],
        "fmap": ["0.9875", "0.85"],
        "four-neurons": ["0.944", "0.75"],
        "spanish-inquisition": ["0.99", "0.79"],
        "vacis": ["0.972", "0.81"],
    }.items(),
)
def test_a_reports_recipe_says_what_its_team_trained_and_what_is_ours(name, figures):
    text = (resources.files("recipes") / f"{name}.yaml").read_text(encoding="utf-8")
    comment = [line for line in text.splitlines() if line.startswith("#")]
    assert text.startswith("\n".join(comment))
    words = " ".join(line.removeprefix("#").strip() for line in comment[1:])
    assert words.strip().startswith("The team trained: ")
    assert " Ours: " in words
    assert all(figure in words for figure in figures)


def test_auc_chooses_where_the_report_chose_by_it():
    settings = Config.from_flat(recipes.read("spanish-inquisition"))
    assert settings.evaluation.select_by == "roc_auc"
    assert settings.train.val_augment == settings.train.augment != "none"


def test_an_unknown_recipe_is_refused():
    with pytest.raises(UserError, match="--recipe vasis: no such recipe; nearest: vacis"):
        recipes.read("vasis")
    with pytest.raises(UserError, match="no such recipe; there are aneurali, demo"):
        recipes.read("")

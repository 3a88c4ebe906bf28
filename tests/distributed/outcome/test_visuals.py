"""What a page tells and draws; how it looks is tested where it is drawn."""

import shlex

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from distributed import cv
from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.deciding import decide
from distributed.outcome.heat import FoldHeat
from distributed.outcome.pooling import pool
from distributed.outcome.summarise import summarise
from distributed.outcome.visuals import make_visuals
from folds.augment.sheet import sheet
from folds.cli import config_parser
from folds.config import Config
from folds.evaluation.shift import score_corrupted
from tests.distributed.finished import finished_run, fold_of, problem_of
from tracking.report import write_report
from tracking.report.origin import computed_on, reproduce
from tracking.report.parts import elsewhere


def read(command):
    """The configuration that a command line means."""
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "distributed.cv"]
    return config_parser(Config(), cv.Command, words[3:], prog="cv", description="")[0]


words = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), min_size=1)
texts = words.filter(lambda text: text != "None")  # which tyro takes for none
names = st.from_regex(r"[A-Za-z]\w*", fullmatch=True)
shares = st.floats(0, 0.9)
classes = st.text("ab-_ .", min_size=1).filter(lambda name: name == name.strip())
stages = st.builds(
    "{}:{}:{}{}".format,
    st.one_of(st.floats(0, 1), st.integers(1, 9).map("{}blocks".format)),
    st.integers(1, 99),
    st.floats(1e-9, 1e9),
    st.sampled_from(["", ":bn=frozen", ":bn=train"]),
)
policies = st.one_of(
    st.sampled_from(["none", "light+cutmix", "strong"]),
    st.lists(
        st.one_of(
            st.fixed_dictionaries({"op": st.just("rotate"), "p": st.floats(0, 1)}),
            st.just({"op": "rand"}),
        ),
        max_size=3,
    ),
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "data": st.one_of(
            texts,
            st.lists(st.builds("{}={}".format, names, words), min_size=2, max_size=3,
                     unique_by=lambda one: one.partition("=")[0]),
        ),
        "site_regex": st.sampled_from([r"-(s\d+)", "(?P<site>[^/ ]+)'\""]),
        "slices": st.lists(names, max_size=3, unique=True),
        "split_by": st.sampled_from(["group", "site"]),
        "limit": st.integers(1, 10**9),
        "skip_broken": st.booleans(),
        "group_regex": st.sampled_from([r"-(p\d+)", "(?P<group>[^/ ]+)'\""]),
        "image_size": st.sampled_from(["auto", 96]),
        "repeats": st.integers(1, 9),
        "only_folds": st.lists(st.integers(0, 9), min_size=1, max_size=3),
        "splits": texts,
        "holdout": st.floats(0, 0.5),
        "head_layers": st.lists(st.integers(1, 512), max_size=3),
        "tta": st.sampled_from(["none", "d4", "8"]),
        "stages": st.lists(stages, min_size=1, max_size=3),
        "weight_decay": st.floats(0, 1e9),
        "class_weights": st.dictionaries(classes, st.floats(1e-9, 1e9), max_size=3),
        "augment": policies,
        "val_augment": policies,
        "ema": shares,
        "shift": st.sampled_from(["fast", "full"]),
        "select_by": st.sampled_from(["ece", "0.5*macro_f1 + 1e-3*shift.worst"]),
        "external": st.lists(
            st.builds("{}={}".format, names, words), max_size=3,
            unique_by=lambda one: one.partition("=")[0],
        ),
        "workers_per_fold": st.sampled_from(["auto", 2]),
        "sync_bn": st.booleans(),
        "cache_budget": st.one_of(st.just("auto"), st.floats(0, 99)),
        "experiment": texts.filter(lambda text: text == text.strip() and text.isprintable()),
        "candidate": st.sampled_from(["auto", "soup"]),
        "refit": st.booleans(),
        "output": texts,
    },
)  # fmt: skip


@settings(max_examples=25)
@given(values=configs)
def test_the_command_of_a_page_reads_back_as_the_same_configuration(values):
    config = Config.from_flat(values)
    assert read(reproduce(config.flat())) == config


@pytest.mark.parametrize(
    ("values", "command"),
    [
        ({}, ""),
        ({"refit": True, "only_folds": [0, 2]}, " --only-folds 0 2 --refit"),
        ({"head_layers": [24, 12]}, " --head-layers 24,12"),
        ({"class_weights": {"-a": 2, "b,c": 0.5}}, " --class-weights=-a=2.0,b,c=0.5"),
        ({"external": ["a=x y", "b=-z"]}, " --external 'a=x y' --external b=-z"),
        ({"data": "--resume", "output": "-v"}, " --data=--resume --output=-v"),
        ({"stages": ["3blocks:1:1e-3:bn=train"]}, " --stages 3blocks:1:0.001:bn=train"),
    ],
)
def test_commands_are_short_and_can_be_pasted(values, command):
    config = Config.from_flat(values)
    assert reproduce(config.flat()) == "python -m distributed.cv" + command
    assert read(reproduce(config.flat())) == config


def told(folder, problem, **kind):
    """What the page of a finished run tells and draws."""
    run, results = finished_run(folder, problem, **kind)
    images, pooled = problem.images, pool(run.prepared, results)
    said, shift = assess(images, pooled, results), score_corrupted(images.labels, pooled.shift)
    choice = choose(run, results, pooled, {} if shift is None else shift.flat(), 1.5)
    decided = decide(run, pooled, said, choice.chosen)[1]
    summary = summarise(run, results, pooled, shift, said, choice, decided)
    picture = sheet(images, "none", size=32, columns=1)
    heat = FoldHeat(run, pooled.oof)
    visuals = make_visuals(images, results, pooled, said, choice.best, picture, heat)
    write_report(folder / "report.html", summary, visuals)
    return pooled, choice, summary, visuals


def test_a_page_tells_what_was_found(tmp_path):
    problem = problem_of(
        folds=3, repeats=2, shift="full", tta="flips", holdout=0.1, externals=("lab2",), refit=True
    )
    pooled, choice, summary, visuals = told(tmp_path, problem)
    oof, images = pooled.oof, problem.images
    assert (summary.scored, summary.fold_count) == (len(images) - len(pooled.holdout.ids), 3)
    assert [fold.name for fold in summary.folds] == [
        f"repeat {repeat} fold {fold}" for repeat in (1, 2) for fold in (1, 2, 3)
    ]
    assert visuals.confusion.sum() == len(oof.labels)
    assert sum(row.images for row in summary.classes) == len(oof.labels)
    assert summary.class_images == images.counts
    assert summary.groups == len(images)
    assert len(summary.oof_shift.cases) == 19 * 5
    clean = pooled.shift.clean == images.labels[pooled.shift.rows]
    assert summary.oof_shift.clean.accuracy == pytest.approx(clean.mean())
    assert [(row.name, row.model) for row in elsewhere(summary)] == [
        ("out of fold, TTA", "the folds"),
        *((test, kind) for test in ("lab2", "hold-out") for kind in ("best fold", "ensemble",
                                                                     "refit")),
    ]  # fmt: skip
    assert [row.kind for row in summary.candidates] == ["best-fold", "ensemble", "refit"]
    assert visuals.mistakes.heated
    assert visuals.unsure.heated
    trained = visuals.trained
    sure = pooled.other_views["tta"].max(axis=1)
    assert trained.counts.sum() == len(sure)
    assert (trained.counts * np.nan_to_num(trained.confidence)).sum() == pytest.approx(sure.sum())
    assert "--external lab2=there" in reproduce(summary.config)
    assert list(computed_on(summary)) == ["plan", "runtime", "driver", "python"]
    best = _rows(problem, choice.best)
    np.testing.assert_array_equal(visuals.map.labels, images.labels[best])
    mine = 3 * oof.repeat + oof.fold == choice.best
    wrong = oof.probabilities[mine].argmax(axis=1) != oof.labels[mine]
    np.testing.assert_array_equal(visuals.map.wrong, wrong)


def _rows(problem, best):
    return problem.splits.parts(*divmod(best, 3), problem.images.ids)[1]


def test_a_model_without_mistakes_and_shift_has_a_page(tmp_path):
    def perfect(problem, repeat, number):
        return fold_of(problem, repeat, number, skill=1.1)

    _, _, summary, visuals = told(tmp_path, problem_of(), fold=perfect)
    assert (visuals.mistakes.total, list(visuals.mistakes.tiles)) == (0, [])
    assert len(visuals.unsure.tiles) > 0
    assert summary.oof_shift is None

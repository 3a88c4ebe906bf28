"""Trials on a real Ray: what they come to, whoever trains them and however often it is begun."""

import itertools
import shutil
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
import yaml

from distributed.cluster import local_resources
from distributed.planning.plan import make_plan
from distributed.search.engine import Engine
from distributed.search.proposals import Proposer
from distributed.search.race import Rules
from distributed.search.team import Team
from distributed.search.trainable import Shared
from distributed.search.trials import Trials
from distributed.search.variants import prepared_variants, put
from folds.config import Config
from folds.config.space_parser import parse_space
from folds.errors import UserError
from folds.files import read_values, write_values
from folds.images import load
from folds.model.backbone import build
from folds.runtime.device import Runtime
from folds.training.fit import fit_fold
from tests.distributed.search.conftest import MACRO_F1

TEXT = """
head_layers: {choice: [[], [16]]}
rate: {loguniform: [1e-3, 1e-1]}
stages: ["0:2:{rate}"]
"""
CPU = Runtime.choose("cpu", "fp32")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of first weights for two small networks, by name."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("test_resnet", "test_efficientnet"):
        model = build(name, classes=2, size=32, dropout=0, pretrained=None, seed=1)
        torch.save(model.backbone.state_dict(), folder / f"{name}.pt")
    return folder


@pytest.fixture(scope="module")
def search(local_ray, weights, tmp_path_factory):
    """Run a search of digits in a folder of its own; gives its trials, the engine and its words."""
    numbers = itertools.count()

    def run(
        text=TEXT, folder=None, count=3, sampler="tpe", asha=False, team=None, tell=None,
        notify=lambda line: None, max_failures=2, **rules,
    ):  # fmt: skip
        flat = {
            "data": "digits", "limit": 150, "folds": 2, "backbone": "test_resnet", "shift": "off",
            "weights": str(weights / "test_resnet.pt"), "batch_size": 16, "audit": "off",
            "max_failures": max_failures,
        }  # fmt: skip
        config = Config.from_flat(flat)
        space = parse_space(yaml.safe_load(text), config)
        variants = prepared_variants(config, space, load, lambda line: None)
        folds = next(iter(variants.values())).folds
        plan = make_plan(local_resources(), 2)
        shared = Shared(put(variants), folds, CPU, 1, 10**9, team)
        seen = []
        engine = Engine(
            config, space, Rules(**({"ahead": 2, "racing": True} | rules)), shared, plan, asha,
            tell or (lambda trial: seen.append((trial.number, trial.state))), notify,
        )  # fmt: skip
        folder = folder or tmp_path_factory.mktemp(f"search-{next(numbers)}")
        trials = Trials(folder, len(folds), MACRO_F1)
        engine.search(trials, Proposer(space, sampler, count, 0), None)
        return trials, engine, seen

    return run


@pytest.fixture(scope="module")
def searched(search):
    return search()


class TestTrials:
    def test_one_is_what_its_folds_are_without_a_search(self, searched):
        trials, engine, seen = searched
        assert [trial.state for trial in trials] == ["complete"] * 3
        assert (2, "complete") in seen
        config = Config.from_flat(engine.settings(trials[2].values))
        (variant,) = engine.shared.variants.values()
        alone = fit_fold(variant.problem(config), 0, 1, runtime=CPU)
        kept = trials.outcome(2, 1)
        np.testing.assert_allclose(kept.probabilities, alone.probabilities, atol=1e-5)
        assert trials[2].scores[1] == kept.scores["macro_f1"]

    def test_a_search_that_goes_on_trains_what_is_missing_alone(self, search, searched, tmp_path):
        whole, *_ = searched
        shutil.copytree(whole.folder, tmp_path / "cut")
        folder = tmp_path / "cut" / "trial-2"
        (folder / "fold-1" / "result.json").unlink()
        kept = read_values(folder / "trial.json")
        write_values(folder / "trial.json", kept | {"state": "unfinished"})
        before = (folder / "fold-0" / "result.json").stat().st_mtime_ns
        again, _, seen = search(folder=tmp_path / "cut")
        assert [trial.scores for trial in again] == [trial.scores for trial in whole]
        assert {number for number, _ in seen} == {2}
        assert (folder / "fold-0" / "result.json").stat().st_mtime_ns == before

    def test_a_stopped_one_is_finished_when_that_is_wished(self, searched, tmp_path):
        whole, engine, _ = searched
        shutil.copytree(whole.folder, tmp_path / "cut")
        (tmp_path / "cut" / "trial-3" / "fold-1" / "result.json").unlink()
        trials = Trials(tmp_path / "cut", 2, MACRO_F1)
        trials.end(3, "stopped", why="made so")
        engine_of = replace(engine, tell=lambda trial: None)
        engine_of.finish(trials, [3])
        assert trials[3].state == "complete"
        assert trials[3].audited
        assert trials[3].scores == whole[3].scores
        assert trials.best.number != 3

    def test_one_whose_worker_is_killed_goes_on_with_its_next_fold(self, search, searched):
        whole, *_ = searched
        killed, seen, said = [], [], []

        def tell(trial):
            seen.append((trial.number, trial.state, len(trial.scores)))
            if trial.number == 2 and len(trial.scores) == 1 and not killed:
                killed.extend(_workers())
                for process in killed:
                    process.kill()

        hit, *_ = search(tell=tell, notify=said.append)
        assert killed
        assert [trial.state for trial in hit] == ["complete"] * 3
        assert [trial.scores for trial in hit] == [trial.scores for trial in whole]
        assert sorted(seen) == sorted(set(seen))
        assert (
            "trial 2 has lost its worker, 1 of the 2 times it may (--max-failures), and goes on "
            "with fold 2"
        ) in said

    def test_one_that_loses_its_workers_again_and_again_fails(self, search):
        def tell(trial):
            if trial.number == 1 and trial.state == "unfinished":
                for process in _workers():
                    process.kill()

        hit, *_ = search(tell=tell, count=1, max_failures=0)
        assert [trial.state for trial in hit] == ["failed"]
        assert hit[1].why


def _workers():
    """The processes that train trials."""
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if process.name().startswith("ray::") and "Trainable" in process.cmdline()[0]
    ]


@pytest.fixture(scope="module")
def mixed(search, weights):
    networks = [
        {"backbone": name, "weights": str(weights / f"{name}.pt")}
        for name in ("test_resnet", "test_efficientnet")
    ]
    text = yaml.safe_dump(
        {
            "network": {"choice": networks},
            "batch_size": {"choice": [16, 4000]},
            "rate": {"choice": ["1e-2", "1e30"]},
            "optimizer": "sgd",
            "stages": ["1:1:{rate}"],
        }
    )
    return search(text, count=20, sampler="grid")


class TestOneSearch:
    """Of two networks with weights of their own, in which some settings are not to be trained."""

    def test_every_combination_is_tried_on_the_same_folds(self, mixed):
        trials, engine, _ = mixed
        assert len(trials) == 8
        assert len(engine.shared.variants) == 2
        rows = [trials.outcome(trial.number, 0).rows.tolist() for trial in trials.complete()]
        assert len(rows) == 2
        assert rows[0] == rows[1]

    def test_settings_that_do_not_fit_fail_their_trial_alone(self, mixed):
        large = [trial for trial in mixed[0] if trial.values["batch_size"] == 4000]
        assert {trial.state for trial in large} == {"failed"}
        assert all("larger than the smallest training part" in trial.why for trial in large)

    def test_a_loss_that_is_no_number_fails_its_trial_alone(self, mixed):
        small = [trial for trial in mixed[0] if trial.values["batch_size"] == 16]
        states = {(trial.values["rate"], trial.state) for trial in small}
        assert states == {("1e-2", "complete"), ("1e30", "failed")}


def test_the_worst_two_thirds_end_within_their_first_fold(search):
    text = "rate: {choice: ['1e-2', '1e-9']}\nstages: ['1:4:{rate}']"
    trials, _, _ = search(text, count=10, asha=True, ahead=1)
    ended = [trial for trial in trials if trial.state == "stopped" and not trial.scores]
    assert ended
    assert all("not among the best third after epoch" in trial.why for trial in ended)
    assert all(trial.epochs for trial in ended)
    assert trials.best.values["rate"] == "1e-2"


def test_what_is_divided_otherwise_at_another_size_is_refused(monkeypatch, weights):
    from distributed.search import variants

    text = "image_size: {choice: [16, 32]}"
    flat = {"data": "digits", "limit": 150, "folds": 2, "backbone": "test_resnet",
            "weights": "none", "stages": ["1:1:1e-3"]}  # fmt: skip
    config = Config.from_flat(flat)
    space = parse_space(yaml.safe_load(text), config)
    assert len(prepared_variants(config, space, load, lambda line: None)) == 2
    real = variants.prepare

    def prepare(config, *, load, test):
        assert not test  # that part is scored once, and not by trials
        seed = config.data.image_size
        split = config.split.model_copy(update={"seed": seed})
        return real(config.model_copy(update={"split": split}), load=load, test=test)

    monkeypatch.setattr(variants, "prepare", prepare)
    with pytest.raises(UserError, match=r"images of 32 px are not divided as those of 16 px"):
        prepared_variants(config, space, load, lambda line: None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("image_size: {int: [32, 96]}", "65 combinations of backbone, weights and image_size"),
        ("backbone: {choice: [test_resnet, test_resnett]}", "nearest: test_resnet"),
        ("optimizer: {choice: [adamw, admw]}", "no such optimizer here; nearest: adamw"),
    ],
)
def test_names_that_timm_lacks_are_refused_before_anything_is_loaded(text, says):
    config = Config.from_flat({"data": "nowhere", "weights": "none"})
    space = parse_space(yaml.safe_load(text), config)
    with pytest.raises(UserError, match=says):
        prepared_variants(config, space, load, lambda line: None)


@pytest.mark.slow
def test_two_workers_of_a_fold_give_what_one_gives(search):
    text = "optimizer: {choice: [adamw]}\nstages: ['0:1:1e-2']"
    one, _, _ = search(text, count=1)
    team = Team(2, {"CPU": 1.0}, 1, CPU, 10**9)
    two, _, _ = search(text, count=1, team=team)
    assert two[1].state == "complete"
    assert two[1].scores == pytest.approx(one[1].scores, abs=0.03)

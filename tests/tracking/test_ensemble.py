"""``tracking.ensemble`` on a real store: runs with predictions, and with the models of folds."""

import contextlib
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from folds.cli import run
from folds.evaluation.calibration import served
from folds.evaluation.predictions import Predictions
from folds.model.backbone import build
from folds.model.bundle import ModelCard, write_bundle
from folds.model.predictor import Predictor
from tests.distributed.test_end_to_end import SCHEMA
from tests.folds.evaluation.synthetic import rivals
from tests.folds.images.encodings import png16
from tests.tracking.conftest import FORMAT_1
from tests.tracking.test_compare import NAMES, Runs
from tracking import ensemble as command
from tracking import export, predict, promote
from tracking import store as tracking_store
from tracking.comparison.evidence import read_evidence
from tracking.comparison.runs import find_run
from tracking.models import log_model
from tracking.summary_file import read_summary


class Library(Runs):
    """Parent runs as `Runs` makes them, each with a version and the models of its folds."""

    def add(self, name, predictions, bundles=(), names=NAMES, **about):
        made = self.log(name, predictions, names=names, **about)
        summary = read_summary(self.folder / "summary.json")
        children = [self._child(made, number, bundle) for number, bundle in enumerate(bundles)]
        fold = read_summary(FORMAT_1).folds[0]
        folds = [
            fold.model_copy(
                update={"name": f"fold {n + 1}", "fold": n, "repeat": 0, "mlflow_run": child}
            )
            for n, child in enumerate(children)
        ]
        registered = {"name": "cells", "version": str(1 + len(self.versions))}
        changed = summary.registered.model_copy(update=registered)
        summary = summary.model_copy(update={"folds": folds, "registered": changed})
        (self.folder / "summary.json").write_text(summary.model_dump_json())
        self.client.log_artifact(made, str(self.folder / "summary.json"))
        self._version(made)
        return made

    def _child(self, parent, number, bundle):
        tags = {"mlflow.parentRunId": parent, "crossfold.kind": "fold"}
        child = self.client.create_run(self.experiment, tags=tags).info.run_id
        with mlflow.start_run(run_id=child):
            log_model(bundle, name=f"fold-{number + 1}")
        return child

    def _version(self, made):
        if not self.client.search_registered_models():
            self.client.create_registered_model("cells")
        tags = {"crossfold.run": made, "crossfold.candidate": "ensemble"}
        self.client.create_model_version("cells", f"s3://nowhere/{made}", tags=tags)

    @property
    def versions(self):
        return self.client.search_model_versions("name='cells'")


def write(folder, *, seed, card):
    """A bundle of an untrained network that prefers some classes."""
    made = build(card.backbone, classes=4, size=card.size, dropout=0, pretrained=None, seed=seed)
    with torch.no_grad():
        made.head.weight *= 100
    write_bundle(folder, card, made.state_dict())
    return folder


def complements(count=400, seed=0, folds=5):
    """Two equally good models whose noise is their own, so that their mean is better."""
    rng = np.random.default_rng(seed)
    labels, fold = rng.integers(0, 4, count), rng.permutation(count) % folds
    found = []
    for _ in range(2):
        odds = np.exp(1.6 * np.eye(4)[labels] + rng.normal(0, 1, (count, 4)))
        chances = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
        found.append(Predictions(labels, chances, np.arange(count), fold, np.zeros_like(fold)))
    return found


@pytest.fixture
def library(store, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return Library(folder, store.artifact_root)


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")

    def done(*words, main=command.main):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, words)])
        status = run(main)
        out, err = capsys.readouterr()
        assert err.count("\n") <= 1
        return status, out, err

    return done


KINDS = {
    "first": ModelCard("test_resnet", NAMES, 32),
    "second": ModelCard("test_vit", NAMES, 48, tta="flips", levels=4095.0),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A store with two runs of two folds each, of unlike backbones, sizes and views.

    The folds' bundles by run.
    """
    folder = tmp_path_factory.mktemp("trained")
    library = Library(folder, tracking_store.connect(f"sqlite:///{folder}/mlflow.db").artifact_root)
    bundles = {}
    for number, (predictions, (name, card)) in enumerate(
        zip(complements(folds=2), KINDS.items(), strict=True)
    ):
        own = [write(folder / f"{name}-{f}", seed=2 * number + f, card=card) for f in range(2)]
        about = {"backbone": card.backbone, "tta": card.tta, "repeats": 1}
        library.add(name, predictions, own, folds=2, seed=7, shift=0.3, **about)
        bundles[name] = own
    return library, bundles


@pytest.fixture
def connected(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{trained[0].folder}/mlflow.db")
    tracking_store.connect(None)
    return trained


@pytest.fixture(scope="module")
def made(trained):
    """What the command told when it registered the two runs' ensemble."""
    patch, told = pytest.MonkeyPatch(), io.StringIO()
    patch.setattr(sys, "argv", ["ensemble", "first", "second", "--tracking-uri",
                                f"sqlite:///{trained[0].folder}/mlflow.db"])  # fmt: skip
    with contextlib.redirect_stdout(told):
        assert run(command.main) == 0
    patch.undo()
    return told.getvalue()


@pytest.fixture
def version(connected, made):
    return connected[0].client.get_model_version_by_alias("cells", "candidate")


def content_of(version, name):
    path = mlflow.artifacts.download_artifacts(f"runs:/{version.tags['crossfold.run']}/{name}")
    return json.loads(Path(path).read_text())


def expected(version, bundles, images):
    """The weighted mean of what the folds' models say, each with the ensemble's temperature."""
    temperature = content_of(version, "summary.json")["calibration"]["temperature"]
    weights = {one["name"]: one["weight"] for one in content_of(version, "ensemble.json")["runs"]}
    each = {
        name: served([Predictor(one, "cpu").predict(images) for one in own], temperature)
        for name, own in bundles.items()
    }
    total = sum(weights[name] * each[name].astype(float) for name in each)
    return total / sum(weights.values()), each


class TestRegistered:
    def test_predicts_the_weighted_mean_of_the_runs_models(self, connected, version):
        images = np.random.default_rng(0).integers(0, 256, (6, 60, 56, 3), dtype=np.uint8)
        wanted, each = expected(version, connected[1], images)
        found = mlflow.pyfunc.load_model("models:/cells@candidate").predict(images)
        assert list(found) == ["predicted_class", *NAMES, "prediction_set"]
        np.testing.assert_allclose(found.iloc[:, 1:-1], wanted, atol=1e-6)
        assert np.abs(each["first"] - each["second"]).max() > 0.01

    def test_classifies_files_as_it_does(self, connected, version, call, tmp_path):
        """Each run decodes them to its own size, with its own levels."""
        (tmp_path / "new").mkdir()
        grey = np.random.default_rng(1).integers(0, 4096, (60, 56, 1), dtype=np.uint16)
        (tmp_path / "new" / "deep.png").write_bytes(png16(grey))
        rgb = np.random.default_rng(2).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(tmp_path / "new" / "plain.png")
        asked = ("--model", "models:/cells@candidate", "--data", "new", "--out", "found.csv")
        assert call(*asked, main=predict.main)[0] == 0
        found = pd.read_csv(tmp_path / "found.csv")
        paths = {"path": [str(tmp_path / "new" / name) for name in found["id"]]}
        wanted, _ = expected(version, connected[1], paths)
        np.testing.assert_allclose(found.iloc[:, 2:-1], wanted, atol=2e-6)

    def test_is_told_with_what_to_type_next(self, version, made):
        number = version.version
        assert f"cells version {number} (alias candidate): 4 networks, temperature" in made
        assert "python -m tracking.promote --model-name cells" in made
        assert f"--model models:/cells/{number} --data SOURCE" in made
        assert re.search(r"macro_f1 \S+ -> \S+: better by \+0\.\d+, at least \+0\.\d+ at 95%", made)

    def test_its_run_says_what_it_is_made_of(self, connected, version):
        client = connected[0].client
        run = client.get_run(version.tags["crossfold.run"])
        assert (run.info.status, run.data.tags["crossfold.kind"]) == ("FINISHED", "parent")
        assert "x first" in run.data.tags["crossfold.ensemble"]
        assert run.data.params["seed"] == "7"
        assert "tta" not in run.data.params  # the runs differ in it
        assert run.data.params["backbone"] == "test_resnet + test_vit"
        path = mlflow.artifacts.download_artifacts(f"models:/cells/{version.version}")
        (card,) = Path(path).rglob("MODEL_CARD.md")
        text = card.read_text()
        for words in ("| backbone | test\\_resnet", "| backbone | test\\_vit", "input 48 x 48 px"):
            assert words in text
        assert "x first" in version.description

    def test_its_evidence_is_what_was_cross_fitted(self, connected, version):
        evidence = read_evidence(find_run(version.tags["crossfold.run"]))
        runs = [read_evidence(find_run(name)) for name in KINDS]
        assert evidence.splits_digest == runs[0].splits_digest
        by_name = {one["name"]: one for one in content_of(version, "ensemble.json")["runs"]}
        weights = np.array([by_name[name]["weight_by_fold"] for name in KINDS])[
            :, evidence.oof.folds
        ]
        total = sum(
            own[:, None] * one.oof.probabilities for own, one in zip(weights, runs, strict=True)
        )
        np.testing.assert_allclose(
            evidence.oof.probabilities, total / weights.sum(axis=0)[:, None], atol=1e-6
        )
        content = content_of(version, "summary.json")
        right = (evidence.oof.probabilities.argmax(axis=1) == evidence.oof.labels).mean()
        assert content["oof"]["accuracy"] == pytest.approx(right)
        jsonschema.validate(content, json.loads(SCHEMA.read_text()))

    def test_under_corruptions_it_is_the_vote_of_its_runs(self, connected, version, made):
        assert "notice: under corruptions the ensemble is judged by its runs' vote" in made
        evidence = read_evidence(find_run(version.tags["crossfold.run"]))
        runs = [read_evidence(find_run(name)).shift.predicted for name in KINDS]
        agree = runs[0] == runs[1]
        assert 0.3 < agree.mean() < 1
        assert (evidence.shift.predicted == runs[0])[agree].all()
        either = (evidence.shift.predicted == runs[0]) | (evidence.shift.predicted == runs[1])
        assert either.all()
        by_name = {one["name"]: one for one in content_of(version, "ensemble.json")["runs"]}
        first, second = (np.array(by_name[name]["weight_by_fold"]) for name in KINDS)
        of_first = (first >= second)[evidence.shift.fold]
        np.testing.assert_array_equal(
            evidence.shift.predicted, np.where(of_first, runs[0], runs[1])
        )

    def test_is_promoted_if_it_beats_the_champion(self, connected, version, call):
        status, out, err = call("--model-name", "cells", "--version", "1", main=promote.main)
        assert status == 0, err
        status, out, err = call("--model-name", "cells", main=promote.main)
        assert status == 0, out + err
        assert "out-of-fold predictions of the same 400 images" in " ".join(out.split())
        assert "pass no worse under shift" in " ".join(out.split())
        assert f"champion of cells is version {version.version}" in out

    def test_is_no_run_to_choose_from(self, connected, version, call):
        status, _, err = call("first", version.tags["crossfold.run"])
        assert status == 2
        assert "is an ensemble of runs itself" in err
        assert "give the runs that it is made of" in err

    def test_of_unlike_sizes_is_not_exported(self, connected, version, call):
        asked = ("--model", "models:/cells@candidate", "--to", "pt2", "--out", "m.pt2")
        status, _, err = call(*asked, main=export.main)
        assert status == 2
        assert "runs take images of 32 px and 48 px" in err


class TestVerdict:
    def test_of_runs_that_agree_nothing_is_registered(self, library, call):
        a, b = rivals(80, seed=0)
        library.add("plain", a), library.add("other", b)
        status, out, err = call("plain", "other")
        assert status == 0, err + out
        assert re.search(r"not better than (plain|other) alone by more than noise: nothing is", out)
        assert "--register always registers it all the same" in out
        assert re.search(
            r"best run  (plain is cells version 1|other is cells version 2) already", out
        )
        assert "promote   python -m tracking.promote --model-name cells --version" in out
        assert len(library.versions) == 2

    def test_a_run_that_is_far_better_is_best_alone(self, library, call):
        a, b = rivals(300, seed=0, gain=4.0)
        library.add("weak", a), library.add("strong", b)
        status, out, _ = call("weak", "strong", "--register", "always")
        assert status == 0
        assert "strong alone is the best ensemble: nothing is registered" in out

    def test_never_registers_nothing(self, library, call):
        for name, one in zip(("a", "b"), complements(), strict=True):
            library.add(name, one)
        status, out, _ = call("a", "b", "--register", "never")
        assert status == 0
        assert "is better than" in out, out
        assert ": nothing is registered" in out
        assert len(library.versions) == 2

    def test_a_sum_of_scores_may_choose(self, library, call):
        for name, one in zip(("a", "b"), complements(), strict=True):
            library.add(name, one)
        status, out, _ = call(
            "a", "b", "--select-by", "macro_f1+0.5*log_loss", "--register", "never"
        )
        assert status == 0
        assert "macro-F1" in out
        assert "log loss" in out
        assert "macro_f1+0.5*log_loss" in out

    def test_unlike_epochs_are_told(self, library, call):
        a, b = complements()
        library.add("a", a), library.add("b", b, rule="best")
        out = " ".join(call("a", "b", "--register", "never")[1].split())
        assert (
            "notice: a is scored at each fold's last epoch; b is scored at each fold's best" in out
        )


def test_runs_whose_models_are_gone_are_told_and_leave_nothing(library, call):
    for name, one in zip(("a", "b"), complements(), strict=True):
        library.add(name, one)
    status, _, err = call("a", "b")
    assert status == 2
    assert re.match(r"error: RUN [ab]: its summary names no folds", err), err
    assert len(library.versions) == 2
    assert len(library.client.search_runs([library.experiment])) == 2


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faulty")
    store = tracking_store.connect(f"sqlite:///{folder}/mlflow.db")
    library, (a, b) = Runs(folder, store.artifact_root), rivals(40, seed=0)
    library.log("plain", a), library.log("second", b)
    library.log("twin", b), library.log("twin", b)
    library.log("elsewhere", b, splits="others")
    library.log("other", b, names=("a", "b", "c", "d"))
    library.log("fewer", b.take(np.arange(30)))
    library.log("broken", b, drop=("oof.npz",))
    library.log("chosen", b, select_by="accuracy")
    library.log("shifted", a, select_by="0.5*macro_f1+0.5*shift.macro_f1")
    library.log("shaken", b, select_by="0.5*macro_f1+0.5*shift.macro_f1")
    one = replace(a, fold=np.zeros_like(a.fold))
    library.log("alone", one), library.log("single", one)
    return store


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("plain", "RUN plain: give at least two runs"),
        ("plain plain", "RUN plain plain: the same run twice; give different ones"),
        ("plain secnod", "RUN secnod: no such run; nearest: second"),
        ("plain twin", "RUN twin: 2 runs are meant"),
        ("plain broken", "has no oof.npz"),
        ("plain elsewhere", "RUN elsewhere: different splits (split-di, others) than plain; train "
         "it with --splits SPLITS, the splits.json of plain"),
        ("plain fewer", "RUN fewer: different images than plain"),
        ("plain other", "RUN other: its classes are not those of plain"),
        ("plain chosen", "RUN chosen: was chosen by accuracy, plain by macro_f1; say what counts, "
         "as --select-by macro_f1"),
        ("shifted shaken", "--select-by 0.5*macro_f1+0.5*shift.macro_f1: shift.macro_f1 of a mean "
         "of several runs is not known"),
        ("plain second --select-by external.lab.accuracy", "external.lab.accuracy of a mean of"),
        ("plain second --select-by macrof1", "no score 'macrof1'; nearest: macro_f1"),
        ("plain second --rounds 0", "--rounds 0: must be 1 or more, as 25"),
        ("plain second --confidence 95", "--confidence 95.0: must be between 0.5 and 1"),
        ("alone single", "RUN alone: has one fold alone, no other can choose for it"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_status_2(faulty, call, words, message):
    status, out, err = call(*words.split(), "--tracking-uri", faulty.uri)
    assert status == 2
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_help_says_what_it_does(call, capsys):
    with pytest.raises(SystemExit) as stop:
        call("--help")
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert "the best ensemble of several runs" in told
    assert "{better,always,never}" in told

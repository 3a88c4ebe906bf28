import re
import shutil
import subprocess
import sys
from dataclasses import replace

import mlflow
import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import roc_auc_score

from folds.cli import run
from folds.evaluation.predictions import COLUMN, Predictions
from tests.folds.evaluation.synthetic import rivals
from tests.tracking.conftest import FORMAT_1
from tracking import compare as command
from tracking import store as tracking_store
from tracking.comparison.compare import compare
from tracking.comparison.evidence import read_evidence
from tracking.comparison.page import write_page
from tracking.comparison.runs import find_run
from tracking.comparison.table import show
from tracking.summary_file import read_summary
from tracking.summary_parts import EpochChoice, Missing

NAMES = ("platelet", "<script>alert(1)</script>", "eosinophil", "immature granulocyte")
CORRUPTIONS = ("gaussian_noise", "glass_blur", "stain", "jpeg")


class Runs:
    """Synthetic finished runs in a real store."""

    def __init__(self, folder, root):
        self.folder = folder
        self.experiment = mlflow.create_experiment("cells", root)
        self.client = mlflow.MlflowClient()

    def log(
        self,
        name,
        predictions,
        *,
        shift=0.0,
        splits="split-digest",
        names=NAMES,
        drop=(),
        rule="last",
        missing=(),
        sites=None,
        **settings,
    ):
        """A parent run; `shift` is the share that corruptions make wrong, if there is any.

        The folds in `missing` have failed; `sites` are those of the predictions' rows.
        """
        tags = {"crossfold.kind": "parent"}
        made = self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id
        order = np.random.default_rng(0).permutation(len(predictions.labels))
        rows = predictions.take(order)  # not in the order of ids
        ids = np.array([f"image{row:04d}" for row in order])
        arrays = {
            "ids": ids, "labels": rows.labels, "fold": rows.fold, "repeat": rows.repeat,
            "groups": rows.groups.astype(str), "probabilities": rows.probabilities,
        }  # fmt: skip
        if sites is not None:
            arrays[f"{COLUMN}site"] = sites[order]
        arrays = {n: values[~np.isin(rows.fold, missing)] for n, values in arrays.items()}
        np.savez(self.folder / "oof.npz", **{n: v for n, v in arrays.items() if n not in drop})
        config = {"backbone": "mobilenetv2_100", "data": "cells", "repeats": 1, **settings}
        changed = {"class_names": list(names), "splits_digest": splits, "config": config}
        changed["epoch_choice"] = EpochChoice(rule=rule, best=0.9, last=0.9, crossfit=0.9)
        changed["missing"] = [
            Missing(name=f"fold {fold + 1}", repeat=0, fold=fold, images=120, cause="it broke")
            for fold in missing
        ]
        summary = read_summary(FORMAT_1).model_copy(update=changed)
        (self.folder / "summary.json").write_text(summary.model_dump_json())
        written = ["oof.npz", "summary.json"]
        if shift:
            written.append(self._shift(arrays, shift))
        for file in written:
            if file not in drop:
                self.client.log_artifact(made, str(self.folder / file))
        self.client.set_terminated(made, "FINISHED")
        return made

    def _shift(self, arrays, share):
        labels = arrays["labels"]
        spoilt = np.random.default_rng(1).random((len(CORRUPTIONS), len(labels))) < share
        np.savez(
            self.folder / "shift.npz",
            predicted=np.where(spoilt, (labels + 1) % 4, arrays["probabilities"].argmax(axis=1)),
            corruptions=np.array(CORRUPTIONS), severities=np.full(len(CORRUPTIONS), 3),
            **{n: arrays[n] for n in ("ids", "labels", "fold", "repeat", "groups")},
        )  # fmt: skip
        return "shift.npz"


@pytest.fixture
def runs(store, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return Runs(folder, store.artifact_root)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """A store with one good run, `plain`, and several that are not."""
    folder = tmp_path_factory.mktemp("faulty")
    store = tracking_store.connect(f"sqlite:///{folder}/mlflow.db")
    made, (predictions, _) = Runs(folder, store.artifact_root), rivals(40, seed=0)
    for name in ("plain", "twin", "twin"):
        made.log(name, predictions)
    made.log("broken", predictions, drop=("oof.npz",))
    made.log("spoilt", predictions, drop=("labels",))
    made.log("other", predictions, names=("a", "b", "c", "d"))
    return store


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "90")

    def done(*words):
        monkeypatch.setattr(sys, "argv", ["compare", *words])
        status = run(command.main)
        return status, *capsys.readouterr()

    return done


def compared(*words, metric="macro_f1", confidence=0.95):
    return compare([read_evidence(find_run(word)) for word in words], metric, confidence)


class TestPaired:
    def test_a_better_run_is_told_with_its_figures(self, runs, call):
        a, b = rivals(600, seed=0, training=0.1, gain=1.0)
        runs.log("plain", a), runs.log("strong", b)
        status, out, _ = call("plain", "strong")
        assert status == 0
        last = " ".join(out.split("\n\n")[-1].split())
        assert re.match(
            r"B is better than A by \d+\.\d points \(\d+\.\d to \d+\.\d\) of macro-F1, more than "
            r"noise \(p = 0\.0\d+\)\.$", last,
        ), last  # fmt: skip
        assert "corrected t test over folds, macro-F1: +" in out
        assert "McNemar: right on" in out
        assert max(map(len, out.splitlines())) <= 90

    def test_settings_that_differ_are_told_those_of_the_place_are_not(self, runs, call):
        a, b = rivals(300, seed=0)
        stages = (["0:3:0.001", "1:6:0.001"], ["1:6:0.001"])
        runs.log("plain", a, augment="light", stages=stages[0], output="a", limit=None)
        runs.log("strong", b, augment="strong", stages=stages[1], output="b", limit=None)
        _, out, _ = call("plain", "strong")
        line = (
            "settings that differ: augment light | strong; stages 0:3:0.001 1:6:0.001 | 1:6:0.001"
        )
        assert line in out.splitlines()

    def test_accuracy_by_site_is_told_where_both_know_the_same_sites(self, runs, call, tmp_path):
        a, b = rivals(600, seed=0, training=0.1)
        sites = np.where(np.arange(600) % 3 == 0, "north", "south")
        wrong = np.roll(np.eye(4)[b.labels], 1, axis=1)
        worse = np.where((sites == "north")[:, None], wrong, b.probabilities)
        runs.log("plain", a, sites=sites)
        runs.log("blind", replace(b, probabilities=worse), sites=sites)
        runs.log("moved", b, sites=sites[::-1])
        (one,), (other,) = compared("plain", "blind"), compared("plain", "moved")
        north, south = one.slices
        right = (a.probabilities.argmax(axis=1) == a.labels)[sites == "north"].mean()
        assert (north.change.value, north.images) == ("north", 200)
        assert north.difference.value == pytest.approx(-right)
        assert north.difference.high < 0
        assert south.difference.low < 0 < south.difference.high
        assert other.slices == []
        _, out, _ = call("plain", "blind", "--html", "page.html")
        assert re.search(r"site +north +200 +\d+\.\d +0\.0 +-", out)
        assert "<h2>Slices</h2>" in (tmp_path / "page.html").read_text()

    def test_it_does_not_matter_which_comes_first(self, runs):
        a, b = rivals(600, seed=0, training=0.1, gain=1.0)
        runs.log("plain", a), runs.log("strong", b)
        (one,), (other,) = compared("plain", "strong"), compared("strong", "plain")
        assert one.p == pytest.approx(other.p)
        assert one.certain
        assert other.certain
        assert one.mcnemar.only_a == other.mcnemar.only_b

    def test_equal_runs_cannot_be_told_apart(self, runs, call):
        a, b = rivals(300, seed=0, training=0.1)
        runs.log("plain", a), runs.log("strong", b)
        status, out, _ = call("plain", "strong", "--metric", "log_loss")
        assert status == 0
        assert "cannot be told apart: log loss differs by" in " ".join(out.split())

    def test_rows_are_brought_into_the_same_order(self, runs):
        a, _ = rivals(200, seed=0)
        runs.log("first", a), runs.log("second", a)
        (found,) = compared("first", "second")
        assert not found.unpaired
        assert found.differences.pooled["log_loss"].value == 0
        assert (found.mcnemar.only_a, found.mcnemar.only_b, found.p) == (0, 0, 1)

    def test_a_run_without_groups_takes_those_of_the_other(self, runs):
        a, b = rivals(300, seed=0, group_size=5)
        runs.log("old", a, drop=("groups",)), runs.log("new", b)
        (found,) = compared("old", "new")
        assert not found.unpaired

    def test_shift_is_compared_where_both_have_it(self, runs, call):
        a, b = rivals(600, seed=0, training=0.1)
        runs.log("light", a, shift=0.3), runs.log("strong", b, shift=0.1), runs.log("none", b)
        out = " ".join(call("light", "strong")[1].split())
        assert "under shift B is better by" in out
        assert "glass blur" in out
        assert "under shift" not in call("light", "none")[1]

    def test_of_three_runs_p_values_are_corrected(self, runs, call):
        a, b = rivals(300, seed=1, training=0.1, gain=0.4)
        runs.log("one", a), runs.log("two", b), runs.log("three", b)
        alone, several = compared("one", "two")[0].p, compared("one", "two", "three")[0].p
        assert several == pytest.approx(min(1, 2 * alone))
        out = call("one", "two", "three")[1]
        assert "C less A" in out


class TestEpochs:
    @pytest.mark.parametrize(
        ("rules", "words"),
        [
            (("last", "last"), ""),
            (("crossfit", "crossfit"), ""),
            (("last", "crossfit"), "A is scored at each fold's last epoch; B is scored at the ep"),
            (("last", "best"), "B is scored at each fold's best epoch, chosen on these very im"),
            (("best", "best"), "A is scored at each fold's best epoch, chosen on these very im"),
        ],
    )
    def test_that_do_not_compare_are_told(self, runs, call, rules, words):
        a, b = rivals(60, seed=0)
        runs.log("one", a, rule=rules[0]), runs.log("two", b, rule=rules[1])
        out = " ".join(call("one", "two")[1].split())
        assert ("notice:" in out) is bool(words)
        assert words in out

    def test_under_shift_crossfit_has_best_ones(self, runs, call):
        a, b = rivals(60, seed=0)
        runs.log("one", a, rule="crossfit", shift=0.2), runs.log("two", b, shift=0.1)
        out = " ".join(call("one", "two")[1].split())
        assert "notice: under shift A is scored at each fold's best epoch" in out


class TestAucWithinFolds:
    def test_is_not_spoilt_by_scales_that_differ_between_folds(self, runs, call):
        """Each fold ranks its own images perfectly; pooled, one fold is surer than another."""
        labels = np.arange(400) % 2
        fold = np.arange(400) // 2 % 5
        sure = 0.5 + 0.05 * np.where(labels == 1, 1, -1) + 0.09 * (fold - 2)
        chances = np.stack([1 - sure, sure], axis=1)
        one = Predictions(labels, chances, np.arange(400), fold, np.zeros_like(fold))
        for name in ("one", "two"):
            runs.log(name, one, names=("a", "b"))
        (found,) = compared("one", "two")
        assert found.first.auc_in_folds == 1
        assert found.first.scores.pooled["roc_auc"].value < 0.8
        out = " ".join(call("one", "two")[1].split())
        assert "ROC AUC within folds, their mean: A 100.0, B 100.0; +0.0 (0.0 to 0.0)" in out

    def test_is_the_mean_of_scikit_learns(self, runs):
        a, b = rivals(300, seed=0)
        runs.log("one", a), runs.log("two", b, splits="others")
        (found,) = compared("one", "two")
        for side, own in ((found.first, a), (found.other, b)):
            each = [
                roc_auc_score(own.labels[m], own.probabilities[m], multi_class="ovr")
                for m in (own.fold == number for number in range(5))
            ]
            assert side.auc_in_folds == pytest.approx(np.mean(each))
        assert found.auc_in_folds is None  # of other folds there is no test

    def test_is_left_out_where_a_fold_has_one_class_alone(self, runs, call):
        a, _ = rivals(60, seed=0)
        alone = type(a)(a.labels, a.probabilities, a.groups, a.labels, a.repeat)
        runs.log("one", alone), runs.log("two", alone)
        assert "within folds" not in call("one", "two")[1]


class TestUnpaired:
    @pytest.mark.parametrize("difference", ["splits", "images", "folds"])
    def test_is_said_and_compared_as_independent(self, runs, call, difference):
        a, b = rivals(400, seed=0)
        if difference == "images":
            b = b.take(np.arange(300))
        if difference == "folds":
            b = type(b)(b.labels, b.probabilities, b.groups, (b.fold + 1) % 4, b.repeat)
        runs.log("one", a)
        runs.log("two", b, splits="other" if difference == "splits" else "split-digest")
        status, out, _ = call("one", "two")
        assert status == 0
        assert f"different {difference}" in out
        assert "not image by image" in out
        assert "McNemar" not in out


class TestFinding:
    def test_by_id_beginning_name_and_version(self, runs):
        made = runs.log("plain", rivals(60, seed=0)[0])
        fold = runs.client.create_run(
            runs.experiment, tags={"mlflow.parentRunId": made, "crossfold.kind": "fold"}
        ).info.run_id
        runs.client.create_registered_model("cells")
        for number, tags in enumerate([{"crossfold.run": made}, {}], 1):
            runs.client.create_model_version("cells", f"file:{number}", fold, tags=tags)
        runs.client.set_registered_model_alias("cells", "champion", "2")
        words = (made, made[:6], "plain", "models:/cells/1", "models:/cells@champion", fold)
        assert {find_run(word).info.run_id for word in words} == {made}


class TestBadInput:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            ("plain", "error: RUN plain: give at least two runs to compare"),
            ("plain plane", "error: RUN plane: no such run; nearest: plain"),
            ("plain plain", "error: RUN plain plain: the same run twice"),
            ("plain broken", "has no oof.npz"),
            (
                "plain other",
                "its classes are not those of plain (<script>alert(1)</script>, a, b and 5 more)",
            ),
            ("plain twin", "error: RUN twin: 2 runs are meant; give the beginning of one id"),
            ("plain spoilt", "its files cannot be read"),
            ("plain models:/cells@champion", "no such registered version"),
            ("plain models:/cells", "is not models:/NAME/VERSION or models:/NAME@ALIAS"),
            ("plain twin --metric macrof1", "--metric macrof1: no such score; nearest: macro_f1"),
            ("plain twin --confidence 95", "--confidence 95.0: must be between 0.5 and 1"),
            ("plain twin --html no/where.html", "--html no/where.html: no folder"),
        ],
    )
    def test_is_one_line_and_status_2(self, faulty, call, words, message):
        status, out, err = call(*words.split(), "--tracking-uri", faulty.uri)
        assert status == 2
        assert out == ""
        assert message in err
        assert err.count("\n") == 1


def test_files_that_were_moved_are_told_with_the_remedy(call, tmp_path):
    (tmp_path / "A").mkdir()
    store = tracking_store.connect(f"sqlite:///{tmp_path}/A/mlflow.db")
    made, (predictions, _) = Runs(tmp_path, store.artifact_root), rivals(40, seed=0)
    made.log("one", predictions), made.log("two", predictions)
    (tmp_path / "A").rename(tmp_path / "B")
    argv = ("one", "two", "--tracking-uri", f"sqlite:///{tmp_path}/B/mlflow.db")
    status, _, err = call(*argv)
    assert status == 2
    assert re.fullmatch(
        rf"error: RUN one \(.{{8}}\): its files are not in {tmp_path}/A/mlruns/.* any more; if "
        rf"that folder was moved, `ln -s WHERE-IT-IS-NOW {tmp_path}/A` finds them again\n", err
    )  # fmt: skip
    (tmp_path / "A").symlink_to(tmp_path / "B")
    assert call(*argv)[0] == 0


class TestPage:
    @pytest.fixture
    def page(self, runs, tmp_path):
        a, b = rivals(600, seed=0, training=0.1, gain=1.0)
        runs.log("light", a, shift=0.3), runs.log("strong", b, shift=0.1)
        path = tmp_path / "page.html"
        write_page(path, compared("light", "strong"))
        return path

    def test_is_self_contained_and_escaped(self, page):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        assert "&lt;script&gt;" in text
        assert not re.search(r'(src|href)="(?!#)', text)
        assert "http" not in re.sub(r'"http://www\.w3\.org/[^"]*"', "", text)
        assert text.count("<svg") == 4
        assert "B is better than A by" in text
        assert "glass blur" in text

    def test_does_not_scroll_sideways_on_a_phone(self, page):
        chromium = shutil.which("chromium")
        if chromium is None:
            pytest.skip("no chromium: apt-get install chromium")
        probe = page.with_name("probe.html")
        probe.write_text(
            f'<iframe id="f" src="{page.name}" width="390" height="900"></iframe><script>'
            'onload = () => { const d = document.getElementById("f").contentDocument.body;'
            "document.title = d.scrollWidth }</script>"
        )
        done = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
             "--allow-file-access-from-files", f"--user-data-dir={page.parent}/chromium",
             probe.as_uri()],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert int(re.search(r"<title>(\d+)</title>", done.stdout)[1]) <= 390


def test_many_classes_show_those_that_differ_most(runs):
    rng = np.random.default_rng(0)
    a, _ = rivals(600, seed=0)
    labels = np.arange(600) % 30
    names = tuple(f"class {c}" for c in range(30))
    for name in ("one", "two"):
        chances = rng.dirichlet(np.ones(30), 600) + np.eye(30)[labels] * rng.random((600, 1))
        chances /= chances.sum(axis=1, keepdims=True)
        runs.log(name, type(a)(labels, chances, a.groups, a.fold, a.repeat), names=names)
    console = Console(width=90, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    show(console, compared("one", "two"))
    assert "and 10 classes that differ less" in " ".join(console.export_text().split())

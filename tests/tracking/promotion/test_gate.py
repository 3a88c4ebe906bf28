import json
import shutil
import sys
from dataclasses import replace

import numpy as np
import pytest

from folds.cli import run
from folds.config.selection import SelectBy
from folds.evaluation.predictions import Predictions, ShiftPredictions
from tests.folds.evaluation.synthetic import rivals
from tests.tracking.conftest import FORMAT_1
from tests.tracking.test_compare import NAMES, Runs
from tracking import promote as command
from tracking import store as tracking_store
from tracking.comparison.evidence import Evidence, ExternalEvidence
from tracking.promotion.common_images import MissingEvidenceError
from tracking.promotion.gate import Conditions, Contender, judge
from tracking.summary_file import read_summary

FORCE = '--force "REASON" promotes it all the same\n'


class Versions(Runs):
    """Synthetic runs, and versions of the model `cells` made of them."""

    def __init__(self, folder, root):
        super().__init__(folder, root)
        self.client.create_registered_model("cells")

    def register(self, run_id, kind="ensemble", **tags):
        own = {"crossfold.run": run_id, "crossfold.candidate": kind} if run_id else {}
        made = self.client.create_model_version("cells", f"s3://nowhere/{run_id}", tags=own | tags)
        self.client.set_registered_model_alias("cells", "candidate", made.version)
        return str(made.version)

    def add(self, predictions, **about):
        return self.register(self.log("run", predictions, **about))

    def external(self, run_id, name, ids="image", **candidates):
        """What candidates of a run made of other images, by their kinds."""
        first = next(iter(candidates.values()))
        kinds = [kind.replace("_", "-") for kind in candidates]
        order = np.random.default_rng(len(kinds)).permutation(len(first.labels))
        path = self.folder / f"external-{name}.npz"
        each = np.stack([one.probabilities for one in candidates.values()])[:, order]
        np.savez(
            path, ids=np.array([f"{ids}{row:04d}" for row in order]), labels=first.labels[order],
            groups=first.groups[order].astype(str), candidates=np.array(kinds),
            candidate_probabilities=each, probabilities=each,
        )  # fmt: skip
        self.client.log_artifact(run_id, str(path))

    def holdout(self, run_id, **candidates):
        """What candidates of a run made of its hold-out."""
        first = next(iter(candidates.values()))
        np.savez(
            self.folder / "holdout.npz", ids=np.arange(len(first.labels)).astype(str),
            labels=first.labels, groups=first.groups.astype(str),
            candidates=np.array(list(candidates)),
            candidate_probabilities=np.stack([one.probabilities for one in candidates.values()]),
        )  # fmt: skip
        self.client.log_artifact(run_id, str(self.folder / "holdout.npz"))

    @property
    def champion(self):
        aliases = self.client.get_registered_model("cells").aliases
        return str(aliases["champion"]) if "champion" in aliases else None

    def tags(self, version):
        tags = self.client.get_model_version("cells", version).tags
        gate = json.loads(tags.get("crossfold.gate", "[]"))
        own = {n: tags.get(f"crossfold.{n}") for n in ("gate_against", "forced")}
        return {check["name"]: check["passed"] for check in gate}, *own.values()


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """An empty store; making one takes seconds, copying it does not."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    tracking_store.connect(f"sqlite:///{path}")
    return path


@pytest.fixture
def versions(empty, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty, tmp_path)
    store = tracking_store.connect(f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "files").mkdir()
    return Versions(tmp_path / "files", store.artifact_root)


@pytest.fixture
def promote(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    def done(*words):
        monkeypatch.setattr(sys, "argv", ["promote", "--model-name", "cells", *words])
        status = run(command.main)
        out, err = capsys.readouterr()
        assert max(map(len, out.splitlines()), default=0) <= 80
        assert err.count("\n") <= 1
        return status, " ".join(out.split()), err

    return done


@pytest.fixture(scope="module")
def pair():
    """A model and a much better one."""
    return rivals(600, seed=0, training=0.1, gain=1.0)


class TestFirst:
    def test_is_promoted_and_told_that_nothing_was_asked(self, versions, promote, pair):
        versions.add(pair[0])
        status, out, _ = promote()
        assert status == 0
        assert "there is no champion yet" in out
        assert "skip floors none asked for" in out
        assert out.endswith("champion of cells is version 1: models:/cells@champion")
        assert versions.tags("1") == ({"floors": None}, "none", None)

    def test_whose_model_was_moved_is_refused_with_the_remedy(self, versions, promote, tmp_path):
        place = tmp_path
        versions.client.create_model_version("cells", f"file://{place}/mlruns/1/model")
        status, _, err = promote("--version", "1", "--force", "a trial")
        assert status == 2
        assert err.startswith(
            f"error: --version 1: its files are not in {place}/mlruns/1/model any"
        )
        assert f"`ln -s WHERE-IT-IS-NOW {place}/mlruns` finds them again" in err

    def test_needs_no_run_unless_floors_are_asked_for(self, versions, promote):
        versions.register(None)
        status, _, err = promote("--min", "macro_f1=0.5")
        assert status == 1
        assert "what version 1 predicted cannot be read" in err
        assert promote()[0] == 0

    def test_whose_files_were_moved_is_not_to_be_trained_again(
        self, versions, promote, pair, tmp_path
    ):
        versions.add(pair[0])
        place = tmp_path
        (place / "mlruns").rename(place / "elsewhere")
        status, _, err = promote("--min", "macro_f1=0.5")
        assert status == 1, err
        assert f"`ln -s WHERE-IT-IS-NOW {place}/mlruns` finds them again; --force" in err
        assert "train it again" not in err
        (place / "mlruns").symlink_to(place / "elsewhere")
        assert promote("--min", "macro_f1=0.5")[0] == 0

    @pytest.mark.parametrize(
        ("floors", "words"),
        [
            (["macro_f1=0.5", "shift.macro_f1=0.5", "log_loss=2"], ""),
            (["external.lab.accuracy=0.5", "shift.worst=0.5"], ""),
            (["macro_f1=0.99"], "macro_f1 0.7"),
            (["shift.macro_f1=0.9"], "shift.macro_f1 0."),
            (["external.lab.log_loss=0.01"], "(at most 0.01: missed)"),
            (["macro_f1=0.5", "external.attic.accuracy=0.5"], "external.attic.accuracy not meas"),
        ],
    )
    def test_must_reach_floors(self, versions, promote, pair, floors, words):
        made = versions.log("run", pair[0], shift=0.2)
        versions.external(made, "lab", ensemble=pair[1])
        versions.register(made)
        status, out, err = promote(*(word for floor in floors for word in ("--min", floor)))
        assert status == bool(words)
        assert words in out
        assert versions.champion == (None if words else "1")
        if words:
            assert err.endswith("version 1 of cells is not promoted: failed 'floors'; " + FORCE)


class TestSameSplits:
    def test_a_better_one_is_promoted_and_the_checks_are_kept(self, versions, promote, pair):
        for one in pair:
            versions.add(one, shift=0.2)
        promote("--version", "1")
        status, out, _ = promote()
        assert status == 0
        assert "against the champion, version 1, by out-of-fold predictions of the same 600" in out
        assert "pass beats macro_f1 0.7" in out
        assert out.endswith("is version 2, before it version 1: models:/cells@champion")
        passed = {"beats": True, "no worse under shift": True, "no class drops": True}
        assert versions.tags("2") == (passed, "1", None)

    def test_an_equal_one_is_refused(self, versions, promote, pair):
        versions.add(pair[0]), promote(), versions.add(pair[0])
        status, out, err = promote()
        assert status == 1
        assert "FAIL beats" in out
        assert err == "failed: version 2 of cells is not promoted: failed 'beats'; " + FORCE
        assert versions.champion == "1"
        assert versions.tags("2") == ({}, None, None)

    def test_force_is_recorded_until_the_checks_are_passed(self, versions, promote, pair):
        for one in (pair[0], pair[1], pair[0]):
            versions.add(one)
        promote("--version", "2")
        status, out, _ = promote("--version", "1", "--force", "the other leaks")
        assert status == 0
        assert "FAIL beats" in out
        assert versions.champion == "1"
        checks, against, reason = versions.tags("1")
        assert (checks["beats"], against, reason) == (False, "2", "the other leaks")
        promote("--version", "2")
        promote("--version", "3", "--force", "to try")
        assert versions.tags("2")[1:] == ("1", None)
        assert "--force was not needed" in promote("--version", "2", "--force", "needless")[1]
        assert versions.tags("2")[1:] == ("3", None)

    def test_no_class_may_drop(self, versions, promote, pair):
        versions.add(pair[0]), promote()
        labels, chances = pair[1].labels, pair[1].probabilities.copy()
        chances[(labels == 3).nonzero()[0][:60]] = np.eye(4)[0]
        versions.add(replace(pair[1], probabilities=chances))
        _, out, _ = promote("--select-by", "roc_auc")
        assert "FAIL no class drops greatest loss of recall: immature granulocyte 0." in out
        assert "pass no class drops" in promote("--max-class-drop", "1")[1]

    def test_no_site_may_drop(self, pair):
        rows = np.arange(len(pair[0].labels))
        sites = np.where(rows % 10 == 0, "a", "b")
        wrong = np.roll(np.eye(4)[pair[1].labels], 1, axis=1)
        spoilt = np.where((sites == "a")[:, None], wrong, pair[1].probabilities)
        champion, candidate = (
            with_sites(side(one), sites)
            for one in (pair[0], replace(pair[1], probabilities=spoilt))
        )
        found = {c.name: c for c in judge(candidate, champion, Conditions()).checks}
        assert found["no slice drops"].passed is False
        assert "greatest loss of accuracy: site a" in found["no slice drops"].text
        allowed = judge(candidate, champion, Conditions(max_slice_drop=1)).checks
        assert next(c for c in allowed if c.name == "no slice drops").passed
        better = judge(with_sites(side(pair[1]), sites), champion, Conditions()).checks
        assert next(c for c in better if c.name == "no slice drops").passed

    def test_versions_are_judged_as_they_are_served(self, pair):
        champion, candidate = side(pair[0]), side(replace(pair[0]))
        assert not judge(candidate, champion, Conditions()).checks[0].passed
        evidence = replace(candidate.evidence, served=pair[1])
        verdict = judge(replace(candidate, evidence=evidence), champion, Conditions())
        assert verdict.checks[0].passed
        assert "looked at as each version does" in verdict.compared_on

    def test_sites_of_other_images_or_of_one_run_alone_are_not_compared(self, pair):
        sites = np.repeat(["a", "b"], len(pair[0].labels) // 2)
        champion, candidate = side(pair[0]), side(pair[1])
        for before, after in (
            (champion, with_sites(candidate, sites)),
            (with_sites(champion, sites[::-1]), with_sites(candidate, sites)),
        ):
            checks = judge(after, before, Conditions()).checks
            (found,) = (check for check in checks if check.name == "no slice drops")
            assert found.passed is None
        checks = judge(candidate, champion, Conditions()).checks
        assert "no slice drops" not in {check.name for check in checks}

    def test_may_be_chosen_by_the_worst_site(self, pair):
        sites = np.where(np.arange(len(pair[0].labels)) % 3 == 0, "a", "b")
        champion, candidate = (with_sites(side(one), sites) for one in pair)
        asked = Conditions(select_by=SelectBy.parse("worst_site.macro_f1"))
        beats = judge(candidate, champion, asked).checks[0]
        assert beats.passed
        assert "worst_site.macro_f1 0." in beats.text
        assert not judge(champion, candidate, asked).checks[0].passed
        with pytest.raises(MissingEvidenceError, match="site is not known of the same images"):
            judge(candidate, side(pair[0]), asked)

    def test_floors_hold_beside_the_champion(self, versions, promote, pair):
        versions.add(pair[0]), promote(), versions.add(pair[1])
        assert promote("--min", "accuracy=0.999")[2].count("failed 'floors'")
        assert promote("--min", "accuracy=0.5")[0] == 0


class TestShift:
    @pytest.mark.parametrize(
        ("champion", "candidate", "words", "status"),
        [
            (0.2, 0.1, "pass no worse under shift mean corruption macro-F1 changes by +0.", 0),
            (0.1, 0.3, "FAIL no worse under shift mean corruption macro-F1 changes by -0.", 1),
            (0.0, 0.3, "skip no worse under shift not measured in the champion's run", 0),
            (0.2, 0.0, "FAIL no worse under shift not measured; train with --shift fast", 1),
        ],
    )
    def test_is_checked_where_it_was_measured(
        self, versions, promote, pair, champion, candidate, words, status
    ):
        versions.add(pair[0], shift=champion), promote(), versions.add(pair[1], shift=candidate)
        found, out, _ = promote()
        assert found == status
        assert words in out

    def test_images_that_both_saw_corrupted_are_compared(self, pair):
        """A run of fewer epochs corrupts fewer of them."""
        champion, candidate = (side(one) for one in pair)
        few = np.arange(0, 600, 3)
        champion, candidate = shifted(champion, np.arange(600)), shifted(candidate, few)
        found = next(
            c for c in judge(candidate, champion, Conditions()).checks if "shift" in c.name
        )
        assert found.passed
        assert found.text.endswith("of 200 images")
        assert "by +0.0000" in found.text

    def test_other_corruptions_do_not_count(self, pair):
        champion, candidate = (shifted(side(one), np.arange(600)) for one in pair)
        shift = replace(champion.evidence.shift, corruptions=np.array(["blur", "blur"]))
        champion = replace(champion, evidence=replace(champion.evidence, shift=shift))
        found = judge(candidate, champion, Conditions()).checks[1]
        assert found.passed is False
        assert "train with --shift full" in found.text


class TestExternal:
    def test_is_used_where_splits_differ(self, versions, promote, pair):
        for number, one in enumerate(pair):
            made = versions.log("run", pair[0], splits=f"splits-{number}")
            versions.external(made, "lab", best_fold=pair[0], ensemble=one)
            versions.register(made), promote()
        assert versions.champion == "2"
        versions.add(pair[1], splits="splits-2")
        status, out, err = promote()
        assert (status, out) == (1, "")
        assert (
            "different splits (splits-1, splits-2), and no external images or hold-out in common"
            in err
        )
        assert "the same --external NAME=SOURCE, or the candidate with --splits of the" in err
        assert err.endswith(FORCE)

    def test_tells_candidates_of_one_run_apart(self, versions, promote, pair):
        made = versions.log("run", pair[0], shift=0.2)
        versions.register(made, "best-fold"), promote()
        versions.register(made, "ensemble")
        status, _, err = promote()
        assert status == 1
        assert "both are of one run" in err
        assert "--splits" not in err
        versions.external(made, "lab", ensemble=pair[1], best_fold=pair[0])
        status, out, _ = promote()
        assert status == 0
        assert "external images lab (both are of one run" in out
        assert "over folds" not in out
        assert "skip no worse under shift not told apart" in out

    def test_may_be_asked_for_and_must_be_named_where_there_are_two(self, versions, promote, pair):
        for number, one in enumerate(pair):
            made = versions.log("run", one, splits=f"splits-{number}")
            versions.external(made, "lab", ensemble=one)
            versions.external(made, "other", ensemble=pair[1 - number])
            versions.register(made)
        promote("--version", "1")
        assert "name one set with --external: lab, other" in promote()[2]
        assert promote("--external", "other")[0] == 1
        assert promote("--external", "lab")[0] == 0

    @pytest.mark.parametrize(
        "kinds",
        [
            ("ensemble", "refit"),
            ("soup", "soup"),
            ("ensemble", "student"),
            ("best-fold", "ensemble"),
        ],
    )
    def test_folds_predictions_do_not_speak_for_a_model_that_is_not_theirs(
        self, versions, promote, pair, kinds
    ):
        """A refit or a soup passed on the evidence of the folds' models."""
        versions.register(versions.log("first", pair[0]), kinds[0]), promote()
        made = versions.log("second", pair[1])
        versions.register(made, kinds[1])
        status, _, err = promote()
        assert status == 1
        assert "no external images or hold-out in common; train both with the same" in err

    @pytest.mark.parametrize(
        ("ids", "kind", "words"),
        [
            ("picture", "ensemble", "the images of lab or their labels were others"),
            ("image", "soup", "version 2 was not scored on lab; train it with --external lab="),
        ],
    )
    def test_other_images_are_not_compared(self, versions, promote, pair, ids, kind, words):
        made = versions.log("run", pair[0])
        versions.external(made, "lab", ensemble=pair[0])
        versions.register(made), promote()
        made = versions.log("run", pair[1])
        versions.external(made, "lab", ids, **{kind: pair[1]})
        versions.register(made)
        assert words in promote("--external", "lab")[2]
        assert promote()[0] == 0

    def test_unknown_ones_are_bad_input(self, versions, promote, pair):
        for one in pair:
            made = versions.log("run", one)
            versions.external(made, "lab", ensemble=one)
            versions.register(made)
        promote("--version", "1")
        status, out, err = promote("--external", "labs", "--force", "typo")
        assert (status, out) == (2, "")
        assert err == "error: --external labs: neither run has scored such images; nearest: lab\n"


class TestChosenEpochs:
    """The images that chose a candidate's epochs do not judge it."""

    def test_out_of_fold_predictions_that_flatter_the_candidate_are_no_ground(
        self, versions, promote, pair
    ):
        versions.add(pair[0]), promote(), versions.add(pair[1], rule="best")
        status, out, err = promote()
        assert (status, out) == (1, "")
        assert "the candidate's epochs were chosen on its out-of-fold images, which flatters" in err
        assert "or the candidate with --choose-epoch last (or crossfit);" in err

    def test_and_what_else_stands_in_the_way_is_told_at_once(self, versions, promote, pair):
        versions.add(pair[0]), promote(), versions.add(pair[1], rule="best", splits="others")
        err = promote()[2]
        assert "which flatters it and different splits (split-di, others), and no ext" in err
        assert "with --choose-epoch last (or crossfit) and --splits of the champion's run;" in err

    @pytest.mark.parametrize("unseen", ["lab", "hold-out"])
    def test_images_that_did_not_choose_are_used_instead(self, versions, promote, pair, unseen):
        for one, rule in zip(pair, ("last", "best"), strict=True):
            made = versions.log("run", one, rule=rule)
            if unseen == "lab":
                versions.external(made, unseen, ensemble=one)
            else:
                versions.holdout(made, ensemble=one)
            versions.register(made), promote()
        assert versions.champion == "2"

    def test_nothing_flatters_a_candidate_that_others_chose_the_epochs_of(
        self, versions, promote, pair
    ):
        versions.add(pair[0]), promote(), versions.add(pair[1], rule="crossfit", shift=0.2)
        status, out, _ = promote()
        assert status == 0
        assert "chose the" not in out

    def test_a_champion_that_is_flattered_is_on_the_safe_side(self, versions, promote, pair):
        versions.add(pair[0], rule="best"), promote(), versions.add(pair[1])
        status, out, _ = promote()
        assert status == 0
        assert "which chose the champion's epochs: it is flattered, the candidate is not" in out

    @pytest.mark.parametrize("rule", ["best", "crossfit"])
    def test_external_images_that_chose_are_no_ground(self, versions, promote, pair, rule):
        by = "0.5*macro_f1+0.5*external.lab.macro_f1"
        for one, own in zip(pair, ("last", rule), strict=True):
            made = versions.log("run", one, rule=own, select_by=by, splits=f"splits-{own}")
            versions.external(made, "lab", ensemble=one)
            versions.register(made)
        promote("--version", "1")
        err = promote("--external", "lab")[2]
        assert "chosen by the images of lab, which flatters it; train it with --choose-ep" in err
        assert "hold-out in common but those that chose the epochs; train both" in promote()[2]

    @pytest.mark.parametrize("by", ["shift.macro_f1", "0.5*macro_f1+0.5*external.lab.accuracy"])
    def test_no_term_of_select_by_may_flatter(self, versions, promote, pair, by):
        """With crossfit what is registered, and corrupted, is each fold's best epoch."""
        for one, rule in zip(pair, ("last", "crossfit"), strict=True):
            made = versions.log("run", one, rule=rule, select_by=by, shift=0.2)
            versions.external(made, "lab", ensemble=one)
            versions.register(made)
        promote("--version", "1")
        name = by.split("*")[-1]
        assert f"{name} of the candidate: the same images chose its epochs" in promote()[2]
        status, out, _ = promote("--select-by", "macro_f1")
        assert status == 0
        assert "of 600 images, which chose the candidate's epochs and so flatter it" in out

    @pytest.mark.parametrize(("rule", "told"), [("best", True), ("last", False)])
    def test_floors_that_are_flattered_are_told(self, versions, promote, pair, rule, told):
        made = versions.log("run", pair[0], rule=rule)
        versions.external(made, "lab", ensemble=pair[0])
        versions.register(made)
        out = promote("--min", "macro_f1=0.5", "--min", "external.lab.accuracy=0.5")[1]
        words = "notice: --min macro_f1: of epochs that the same images chose, which flatters"
        assert (words in out) is told

    def test_a_run_of_format_1_kept_its_best_epochs(self):
        assert read_summary(FORMAT_1).epoch_choice.rule == "best"


class TestAttempts:
    def test_are_numbered_by_candidate_and_the_verdict_says_which(self, versions, promote, pair):
        versions.add(pair[0]), promote()
        for _ in range(3):
            versions.add(pair[0])
        assert "attempt" not in promote("--version", "2")[1]
        assert "notice: attempt 2 against version 1, each at 5%" in promote("--version", "3")[1]
        assert "attempt" not in promote("--version", "2")[1]  # asked again: the same answer
        out = promote("--version", "4")[1]
        assert "notice: attempt 3 against version 1, each at 5%: that one of so many" in out
        assert "has a chance of up to 15%; --alpha-spending quadratic keeps it at 5%" in out
        tag = versions.client.get_model_version("cells", "1").tags["crossfold.attempts"]
        assert [word.split("-")[0] for word in tag.split()] == ["3:", "2", "3", "4"]

    def test_begin_anew_with_each_champion(self, versions, promote, pair):
        versions.add(pair[0]), promote(), versions.add(pair[0]), promote()
        versions.add(pair[1])
        assert "attempt 2 against version 1" in promote()[1]
        assert versions.champion == "3"
        versions.add(pair[0])
        assert "attempt" not in promote()[1]

    def test_another_question_about_a_candidate_is_another_attempt(self, versions, promote, pair):
        versions.add(pair[0]), promote(), versions.add(pair[0]), promote()
        assert "attempt 2 against version 1" in promote("--select-by", "accuracy")[1]

    def test_what_cannot_be_compared_was_none(self, versions, promote, pair):
        versions.add(pair[0]), promote()
        versions.add(pair[1], splits="others"), promote()
        versions.add(pair[1]), promote("--select-by", "shift.macro_f1")
        assert "crossfold.attempts" not in versions.client.get_model_version("cells", "1").tags

    def test_spend_alpha_where_that_is_asked_for(self, versions, promote):
        champion, better = rivals(600, seed=1, training=0.1, gain=0.6)
        versions.add(champion), promote()
        for one in (champion, champion, better):
            versions.add(one)
        spending = "--alpha-spending", "quadratic"
        out = promote("--version", "2", *spending)[1]
        assert "notice: attempt 1 against version 1: 3% of the 5% of all attempts is left" in out
        assert "at 96.96%" in out
        promote("--version", "3", *spending)
        status, out, _ = promote("--version", "4", *spending)
        assert "at 99.662%" in out
        assert "0.34% of the 5% of all attempts is left" in out
        assert status == 1
        assert promote("--version", "4", "--alpha-spending", "none")[0] == 0
        notices = versions.client.get_model_version("cells", "4").tags["crossfold.gate_notices"]
        assert notices.startswith("attempt 3 against version 1, each at 5%")


class TestUses:
    def test_of_a_hold_out_add_up_over_champions_and_are_told(self, versions, promote, pair):
        """A hold-out that has judged is not unseen any more."""
        for number, one in enumerate((pair[0], pair[0], pair[1], pair[0])):
            made = versions.log("run", one, splits=f"splits-{number}")
            versions.holdout(made, ensemble=one)
            versions.register(made)
        promote("--version", "1")
        assert "judged" not in promote("--version", "2")[1]
        assert "judged" not in promote("--version", "2")[1]  # nor when asked again
        status, out, _ = promote("--version", "3")
        assert status == 0
        assert "by predictions of the same 600 hold-out images (different splits" in out
        assert "notice: this hold-out has judged 2 candidates, this one among them: not" in out
        assert "notice: this hold-out has judged 3 candidates" in promote("--version", "4")[1]
        tags = versions.client.get_registered_model("cells").tags
        assert [v for n, v in tags.items() if n.startswith("crossfold.uses.")] == ["3: 2 3 4"]

    def test_of_other_images_are_others(self, versions, promote, pair):
        for number, ids in enumerate(("image", "image", "picture", "picture")):
            made = versions.log("run", pair[0], splits=f"splits-{number}")
            versions.external(made, "lab", ids, ensemble=pair[0])
            versions.register(made)
        promote("--version", "1"), promote("--version", "2")
        promote("--version", "3", "--force", "other images")
        assert "judged" not in promote("--version", "4")[1]

    def test_count_for_the_terms_of_a_sum_too(self, versions, promote, pair):
        for _ in range(3):
            made = versions.log("run", pair[0])
            versions.external(made, "lab", ensemble=pair[0])
            versions.register(made)
        promote("--version", "1")
        for version in ("2", "3"):
            out = promote("--version", version, "--select-by", "macro_f1+external.lab.macro_f1")[1]
        assert "notice: the external images lab have judged 2 candidates, this one among" in out
        assert "judged" not in promote("--version", "2")[1]


class TestMissing:
    @pytest.mark.parametrize("lack", ["run", "tags", "file", "damaged", "external", "classes"])
    def test_evidence_is_one_line_and_can_be_forced(self, versions, promote, pair, lack):
        versions.add(pair[0]), promote()
        if lack == "run":
            versions.register("0" * 32)
        elif lack == "tags":
            versions.register(None)
        elif lack == "external":
            made = versions.log("run", pair[1])
            np.savez(versions.folder / "external-lab.npz", ids=np.arange(3), labels=np.arange(2))
            versions.client.log_artifact(made, str(versions.folder / "external-lab.npz"))
            versions.register(made)
        elif lack == "classes":
            versions.add(pair[1], names=("a", *NAMES[1:]))
        else:
            versions.add(pair[1], drop=("oof.npz" if lack == "file" else "labels",))
        status, out, err = promote()
        assert (status, out) == (1, "")
        assert err.startswith("failed: version 2 of cells is not promoted: ")
        assert err.endswith(FORCE)
        status, out, _ = promote("--force", "it is known to be good")
        assert status == 0
        assert "FAIL evidence" in out
        assert versions.tags("2") == ({"evidence": False}, "1", "it is known to be good")

    def test_an_older_version_is_known_by_its_folds_run(self, versions, promote, pair):
        versions.register(versions.log("first", pair[0]), "best-fold"), promote()
        tags = {"mlflow.parentRunId": versions.log("run", pair[1]), "crossfold.kind": "fold"}
        fold = versions.client.create_run(versions.experiment, tags=tags).info.run_id
        versions.client.create_model_version("cells", "s3://nowhere/fold", fold)
        assert promote("--version", "2")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--select-by macrof1", "--select-by macrof1: no score 'macrof1'; nearest: macro_f1"),
        ("--confidence 95", "--confidence 95.0: must be between 0.5 and 1"),
        ("--max-class-drop 5", "--max-class-drop 5.0: must be 0 to 1"),
        ("--min macro_f1", "--min macro_f1: must be METRIC=VALUE"),
        ("--min macro_f1=much", "--min macro_f1=much: must be METRIC=VALUE"),
        ("--min macro_f1=nan", "--min macro_f1=nan: must be METRIC=VALUE"),
        ("--min macrof1=0.9", "no score 'macrof1'; nearest: macro_f1"),
        ("--min 2*macro_f1=0.9", "takes one score, without a weight"),
        ("--min =0.9", "is no sum of scores"),
        ("--force=", "--force: needs a reason"),
        ("--rollback --force x", "--rollback: takes no --version, --min, --external or --force"),
        ("--rollback --version 1", "--rollback: takes no --version"),
        ("--version 9", "--version 9: cells has no such version; it has 1"),
    ],
)
def test_bad_input_is_one_line_and_status_2(versions, promote, words, message):
    versions.register(None)
    status, out, err = promote(*words.split())
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err


def side(predictions, *, external=False):
    """A version of a run of its own; `external` leaves only other images to compare on."""
    ids = np.array([f"image{row:04d}" for row in range(len(predictions.labels))])
    digest = str(np.random.default_rng().integers(10**9)) if external else "the same"
    rows = Predictions(predictions.labels, predictions.probabilities, predictions.groups)
    none = (np.empty(0, np.str_), np.empty(0, np.int64), None)
    evidence = Evidence(
        str(id(predictions)), "run", "", digest, "macro_f1", "last", NAMES, ids,
        predictions, predictions, *none,
    )  # fmt: skip
    lab = {"lab": ExternalEvidence(ids, {"ensemble": rows})}
    return Contender("1", "ensemble", evidence, lab)


def with_sites(one, sites):
    return replace(one, evidence=replace(one.evidence, columns={"site": sites}))


def shifted(one, rows, *, spoilt=0.0, seed=0):
    """With predictions under two corruptions of some of the images, wrong in a share of cases."""
    oof, wrong = one.evidence.oof, np.random.default_rng(seed).random((2, len(rows))) < spoilt
    predicted = np.where(wrong, (oof.labels[rows] + 1) % 4, oof.labels[rows])
    names, groups = np.array(["blur", "noise"]), oof.groups[rows]
    found = ShiftPredictions(oof.labels[rows], predicted, names, groups, 4)
    ids = one.evidence.ids[rows]
    evidence = replace(
        one.evidence, shift_ids=ids, shift_repeats=np.zeros(len(ids), np.int64), shift=found
    )
    return replace(one, evidence=evidence)


def promoted(trials, *, external=False, **kind):
    """Share of `trials` in which a rival passes the whole gate."""
    passed = []
    for seed in range(trials):
        champion, candidate = (
            shifted(side(one, external=external), np.arange(len(one.labels)), spoilt=0.2, seed=n)
            for n, one in enumerate(rivals(seed=seed, **kind))
        )
        verdict = judge(candidate, champion, Conditions())
        assert ("external" in verdict.compared_on) is external
        passed.append(not verdict.failed)
    return float(np.mean(passed))


class TestSimulated:
    @pytest.mark.parametrize("external", [False, True])
    def test_equal_ones_rarely_pass_and_better_ones_do(self, external):
        """60 trials of at most 6%: more than 10 has a chance of 0.2%."""
        training = 0 if external else 0.1
        assert promoted(60, count=300, training=training, external=external) <= 10 / 60
        assert promoted(20, count=600, training=training, external=external, gain=1.0) >= 0.8

    @pytest.mark.slow
    @pytest.mark.parametrize(("training", "external"), [(0.0, False), (0.3, False), (0.0, True)])
    def test_equal_ones_pass_in_at_most_6_percent(self, training, external):
        assert promoted(1000, count=600, training=training, external=external) <= 0.06


class TestPartial:
    """Runs in which a fold has failed, of the same splits as others."""

    def test_is_named_and_compared_on_the_images_that_both_have_validated(
        self, versions, promote, pair
    ):
        versions.add(pair[0], shift=0.2), promote()
        versions.add(pair[1], shift=0.2, missing=(1,))
        status, out, err = promote()
        assert status == 0, err
        left = int((pair[1].fold != 1).sum())
        assert 0 < left < 600
        assert f"predictions of the same {left} images, those that both have validated" in out
        assert "notice: version 2 is of a run with missing folds: fold 2 is missing; " in out
        kept = versions.client.get_model_version("cells", "2").tags["crossfold.gate_notices"]
        assert "version 2 is of a run with missing folds: fold 2 is missing" in kept

    def test_an_equal_one_is_refused_however_easy_the_images_that_are_left(
        self, versions, promote, pair
    ):
        champion = pair[0]
        hard = np.where(champion.fold == 1)[0]
        wrong = champion.probabilities.copy()
        wrong[hard] = np.eye(4)[(champion.labels[hard] + 1) % 4] * 0.9 + 0.025
        versions.add(replace(champion, probabilities=wrong)), promote()
        versions.add(champion, missing=(1,))
        status, out, _ = promote()
        assert status == 1
        assert "FAIL beats" in out
        assert "better by +0.0000" in out

    def test_a_partial_champion_is_named_too(self, versions, promote, pair):
        versions.add(pair[0], missing=(0,)), promote(), versions.add(pair[1])
        status, out, _ = promote()
        assert status == 0
        assert "notice: version 1 is of a run with missing folds: fold 1 is missing" in out

    def test_without_a_common_image_there_is_nothing_to_compare(self, versions, promote, pair):
        folds = np.unique(pair[0].fold).tolist()
        versions.add(pair[0], missing=folds[:1]), promote()
        versions.add(pair[1], missing=folds[1:])
        status, _, err = promote()
        assert status == 1
        assert "different images (run: fold 1 is missing; " in err

    def test_the_first_champion_is_named(self, versions, promote, pair):
        made = versions.log("run", pair[0], missing=(1,))
        versions.register(made, **{"crossfold.partial": "fold 2 is missing"})
        assert "version 1 is of a run with missing folds: fold 2 is missing" in promote()[1]
        versions.register(made)
        versions.client.delete_registered_model_alias("cells", "champion")
        status, out, _ = promote("--min", "macro_f1=0.5")
        assert status == 0
        assert "version 2 is of a run with missing folds: fold 2 is missing" in out

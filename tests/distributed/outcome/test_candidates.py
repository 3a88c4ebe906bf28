import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distributed.outcome import candidates as candidates_module
from distributed.outcome.assessment import assess
from distributed.outcome.candidates import choose
from distributed.outcome.deciding import decide
from distributed.outcome.pooling import pool
from distributed.outcome.soup import Soup
from distributed.outcome.summarise import summarise
from folds.evaluation.calibration import fit_temperature, served
from folds.evaluation.metrics import scores
from folds.evaluation.shift import score_corrupted
from folds.model.predictor import Predictor
from folds.training.validate import external_scores
from tests.conftest import small_images
from tests.distributed.finished import finished_run, fold_of, problem_of


def decided(folder, problem, *, only=None, fold=fold_of):
    """What is chosen for a finished run, and the run."""
    run, results = finished_run(folder, problem, only=only, fold=fold)
    pooled = pool(run.prepared, results)
    shift = score_corrupted(problem.images.labels, pooled.shift)
    return run, pooled, choose(run, results, pooled, {} if shift is None else shift.flat(), 1.5)


def kinds(choice):
    return [candidate.kind for candidate in choice.candidates]


@pytest.fixture
def soup(monkeypatch):
    """Soups as these; what a real one is, is tested beside `distributed.outcome.soup`."""

    def cook(problem, **facts):
        usual = {"members": (0, 1), "value": 0.9, "needed": 0.5} | facts
        classes = len(problem.images.class_names)
        external = {
            e.name: np.eye(classes, dtype=np.float32)[e.images.labels] for e in problem.externals
        }
        held_out = len(problem.splits.holdout(problem.images.ids))
        holdout = np.full((held_out, classes), 1 / classes, np.float32)
        found = Soup(
            problem.card, {"weight": torch.ones(2)}, external=external, holdout=holdout, **usual
        )
        monkeypatch.setattr(candidates_module, "make_soup", lambda run, results: found)

    return cook


def test_the_ensemble_is_registered_unless_something_else_is_asked_for(tmp_path):
    _, pooled, choice = decided(tmp_path, problem_of(folds=3, shift="fast"))
    assert kinds(choice) == ["best-fold", "ensemble"]
    assert choice.chosen.kind == "ensemble"
    assert len(choice.chosen.folders) == 3
    own = scores(pooled.oof.labels, pooled.oof.probabilities)
    assert own.items() <= choice.chosen.measured.items()
    assert "shift.macro_f1" in choice.chosen.measured


def test_of_one_fold_it_is_the_best(tmp_path):
    run, _, choice = decided(tmp_path, problem_of(folds=3), only=[2])
    assert kinds(choice) == ["best-fold"]
    assert (choice.chosen.kind, choice.best) == ("best-fold", 0)
    assert choice.chosen.folders == [run.space.fold(0) / "bundle"]
    assert "fold 3" in choice.chosen.evidence


@pytest.mark.parametrize("asked", ["ensemble", "soup"])
def test_what_one_fold_cannot_give_is_replaced_with_a_notice(tmp_path, asked):
    run, _, choice = decided(tmp_path, problem_of(folds=3, candidate=asked), only=[2])
    assert choice.chosen.kind == "best-fold"
    assert f"notice: --candidate {asked}: " in run.console.file.getvalue()


def test_a_student_takes_the_refits_place(tmp_path):
    run, _, choice = decided(tmp_path, problem_of(distill=0.7, candidate="student"))
    assert run.prepared.names[-1] == "student"
    assert kinds(choice) == ["best-fold", "ensemble", "student"]
    assert choice.chosen.kind == "student"
    assert choice.chosen.folders == [run.space.bundle(2)]


@pytest.mark.parametrize("asked", ["best-fold", "ensemble", "refit"])
def test_what_is_asked_for_is_registered(tmp_path, asked):
    problem = problem_of(candidate=asked, externals=("lab2",), select_by="external.lab2.macro_f1")
    run, _, choice = decided(tmp_path, problem)
    assert (choice.chosen.kind, choice.why) == (asked, f"--candidate {asked}")
    assert run.prepared.refit == (asked == "refit")
    assert ("refit" in kinds(choice)) == (asked == "refit")
    assert run.console.file.getvalue() == ""


@pytest.mark.parametrize(("select", "best"), [("macro_f1", 1), ("log_loss", 1), ("shift.worst", 0)])
def test_the_best_fold_is_that_by_select_by(tmp_path, select, best):
    def fold(problem, repeat, number):
        found = fold_of(problem, repeat, number, skill=(0.2, 1.1)[number])
        found.measured["shift.worst"] = (0.9, 0.1)[number]
        return found

    problem = problem_of(candidate="best-fold", select_by=select, shift="fast")
    _, _, choice = decided(tmp_path, problem, fold=fold)
    assert choice.best == best


def test_external_images_tell_which_candidate_is_worth_most(tmp_path, soup):
    """Each candidate's external score is its own, the ensemble's that of the mean."""
    problem = problem_of(
        externals=("lab2", "lab3"), refit=True, holdout=0.1, select_by="external.lab3.macro_f1"
    )
    soup(problem)
    run, pooled, choice = decided(tmp_path, problem)
    lab2, lab3 = problem.externals
    assert kinds(choice) == ["best-fold", "ensemble", "refit", "soup"]
    assert (choice.chosen.kind, choice.why) == (
        "soup",
        "it is worth most on the external images of --select-by",
    )
    best, mean, refit, _ = choice.candidates
    found = pooled.external["lab3"].probabilities
    np.testing.assert_array_equal(best.external["lab3"], served([found[choice.best]], 1.5))
    np.testing.assert_array_equal(mean.external["lab3"], served(found, 1.5))
    alone = run.space.read_outcome(2).external["lab3"]
    np.testing.assert_array_equal(refit.external["lab3"], served([alone], 1.5))
    np.testing.assert_array_equal(mean.holdout, served(pooled.holdout.probabilities, 1.5))
    for candidate in choice.candidates:
        for other in (lab2, lab3):
            own = external_scores(other, candidate.external[other.name])
            for name, value in own.items():
                assert candidate.measured[name] == pytest.approx(value, nan_ok=True)


def test_a_hold_out_of_enough_images_fits_each_candidates_temperature(tmp_path):
    """The ensemble's after averaging; its hold-out answers are never by what fits themselves."""
    images = small_images((300, 300, 300))
    _, pooled, choice = decided(tmp_path, problem_of(images, holdout=0.3, refit=True))
    labels, found = pooled.holdout.labels, pooled.holdout.probabilities
    assert len(labels) == 270
    best, mean, _ = choice.candidates
    assert {candidate.fitted_on for candidate in choice.candidates} == {"holdout"}
    assert best.temperature == fit_temperature(labels, found[choice.best])
    assert mean.temperature == fit_temperature(labels, *found)
    part = np.unique(pooled.holdout.groups, return_inverse=True)[1] % 5
    for number in range(5):
        mine, others = part == number, part != number
        temperature = fit_temperature(labels[others], *(own[others] for own in found))
        expected = served([own[mine] for own in found], temperature)
        np.testing.assert_array_equal(mean.holdout[mine], expected)


def test_a_small_hold_out_leaves_the_folds_temperature(tmp_path):
    _, _, choice = decided(tmp_path, problem_of(holdout=0.1))
    found = [(candidate.temperature, candidate.fitted_on) for candidate in choice.candidates]
    assert found == [(1.5, "out-of-fold")] * 2


def test_a_draw_goes_to_the_ensemble(tmp_path, soup):
    problem = problem_of(externals=("lab2",), refit=True, select_by="external.lab2.accuracy")
    soup(problem)

    def fold(problem, repeat, number):
        return fold_of(problem, repeat, number, skill=1.1)

    _, _, choice = decided(tmp_path, problem, fold=fold)
    assert {c.measured["external.lab2.accuracy"] for c in choice.candidates} == {1.0}
    assert choice.chosen.kind == "ensemble"


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"value": 0.4, "needed": 0.512},
            "the soup is left out: macro-F1 0.400 on images it knows, 0.512 out of fold",
        ),
        ({"members": (1,)}, "the soup is left out: it is best with one fold alone"),
    ],
)
def test_a_soup_that_is_none_is_left_out_with_a_notice(tmp_path, soup, facts, words):
    problem = problem_of(candidate="soup")
    soup(problem, **facts)
    run, _, choice = decided(tmp_path, problem)
    assert (kinds(choice), choice.chosen.kind) == (["best-fold", "ensemble"], "ensemble")
    told = run.console.file.getvalue()
    assert f"notice: {words}" in told
    assert "--candidate soup: " in told


def test_a_soup_as_good_as_it_must_be_is_registered(tmp_path, soup):
    problem = problem_of(candidate="soup")
    soup(problem, value=0.5, needed=0.5)
    _, _, choice = decided(tmp_path, problem)
    assert (choice.chosen.kind, choice.why) == ("soup", "--candidate soup")
    (folder,) = choice.chosen.folders
    assert load_file(folder / "model.safetensors")["weight"].tolist() == [1, 1]


def test_no_soup_is_cooked_that_nothing_could_choose(tmp_path, monkeypatch):
    monkeypatch.setattr(candidates_module, "make_soup", None)
    assert kinds(decided(tmp_path, problem_of(externals=("lab2",)))[2]) == ["best-fold", "ensemble"]


def test_the_bundle_of_an_ensemble_predicts_the_mean_of_its_folds(tmp_path):
    problem = problem_of(folds=3)
    run, _, choice = decided(tmp_path, problem)
    choice.chosen.write(tmp_path / "all")
    members = []
    for number in range(3):
        bundle = run.space.fold(number) / "bundle"
        plain = Predictor(bundle, "cpu").predict(problem.images.pixels)
        logits = torch.from_numpy(plain).double().log() / 1.5
        members.append(logits.softmax(dim=1).numpy())
    found = Predictor(tmp_path / "all", "cpu").predict(problem.images.pixels)
    np.testing.assert_allclose(found, np.mean(members, axis=0), atol=1e-6)
    assert np.ptp([member[0] for member in members], axis=0).max() > 1e-3


def test_a_summary_names_every_candidate_with_its_own_scores(tmp_path, soup):
    problem = problem_of(
        externals=("lab2",), refit=True, holdout=0.1, select_by="external.lab2.log_loss"
    )
    soup(problem)
    run, results = finished_run(tmp_path, problem)
    pooled = pool(run.prepared, results)
    choice = choose(run, results, pooled, {}, 1.5)
    said = assess(problem.images, pooled, results)
    decided = decide(run, pooled, said, choice.chosen)[1]
    summary = summarise(run, results, pooled, None, said, choice, decided)
    names = ["best-fold", "ensemble", "refit", "soup"]
    assert [found.kind for found in summary.candidates] == names
    assert [found.members for found in summary.candidates] == [1, 2, 1, 1]
    assert list(summary.external["lab2"].models) == names
    labels = problem.externals[0].images.labels
    for candidate, row in zip(choice.candidates, summary.candidates, strict=True):
        own = scores(labels, candidate.external["lab2"])
        told = summary.external["lab2"].models[candidate.kind]
        assert told.macro_f1 == pytest.approx(own["macro_f1"])
        assert row.value == pytest.approx(-own["log_loss"])
        assert row.scores.accuracy == pytest.approx(candidate.measured["accuracy"])
    assert (summary.registered.fold, summary.registered.repeat) == (None, None)
    assert summary.oof_shift is None

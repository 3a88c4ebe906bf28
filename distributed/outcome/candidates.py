"""Which models could be registered, what is known of each, and which it shall be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from distributed.outcome.pooling import Pooled, Results
from distributed.outcome.soup import Soup, make_soup
from distributed.run import Run
from folds.arrays import Floats
from folds.config.selection import SelectBy
from folds.evaluation.calibration import out_of_fold_temperature, served
from folds.evaluation.metrics import scores
from folds.model.bundle import ensemble, with_temperature, write_bundle
from folds.training.validate import external_scores

_OOF = "each image by the one model that had not seen it"
_ENOUGH = 200  # images of a hold-out that may fit a temperature
HOLDOUT_PARTS = 5  # of a hold-out, each tempered by what fits the others


@dataclass(frozen=True)
class Candidate:
    """A model that could be registered.

    Parameters
    ----------
    kind : str
        best-fold, ensemble, soup, refit or student.
    folders : sequence of Path
        Bundles of its members.
    measured : dict of str to float
        Scores by the names of ``--select-by``.
    evidence : str
        What those of its validation are of.
    external : dict of str to ndarray of float32, shape (E, C)
        Probabilities of external images, as the model will give them: tempered.
    holdout : ndarray of float32, shape (H, C), optional
        The same of the test part; where that fits the temperature, each fifth of it with what fits
        the others.
    temperature : float
    fitted_on : str
        out-of-fold or holdout: which predictions the temperature fits.
    """

    kind: str
    folders: Sequence[Path]
    measured: dict[str, float]
    evidence: str
    external: dict[str, Floats]
    holdout: Floats | None
    temperature: float
    fitted_on: Literal["out-of-fold", "holdout"]

    def write(self, target: Path) -> None:
        """Write it as one bundle."""
        if len(self.folders) == 1:
            with_temperature(self.folders[0], target, self.temperature)
        else:
            ensemble(self.folders, target, self.temperature)


@dataclass(frozen=True)
class Choice:
    """What is registered, of all candidates.

    Parameters
    ----------
    why : str
        The end of a sentence.
    best : int
        Which of the results is the best fold's, whatever is chosen.
    """

    candidates: Sequence[Candidate]
    chosen: Candidate
    why: str
    best: int


def choose(
    run: Run,
    results: Results,
    pooled: Pooled,
    beside: dict[str, float],
    temperature: float,
) -> Choice:
    """Make the candidates, with what is known of each, and choose the one that is registered.

    Parameters
    ----------
    beside : dict of str to float
        Pooled scores under corruptions and of the worst slices, by the names of ``--select-by``.
    temperature : float
        Of all out-of-fold predictions: of every candidate, unless a hold-out fits its own.

    Notes
    -----
    No image can honestly tell the ensemble, a soup and a refit apart but those that no fold has
    seen. Unless ``--select-by`` names external images the ensemble is taken: its out-of-fold score
    is that of its members on average, which it rarely falls below. The best fold's score has been
    chosen for being the best, so it does not count; external images that choose flatter, too.
    """
    select, asked = run.prepared.problem.select_by, run.config.tracking.candidate
    best = max(range(len(results)), key=lambda fold: select.value(results[fold].measured))
    oof = scores(pooled.oof.labels, pooled.oof.probabilities) | beside
    maker = _CandidateMaker(run, results, pooled, oof, temperature)
    candidates = {"best-fold": maker.best_fold(best)}
    if len(results) > 1:
        candidates["ensemble"] = maker.ensemble()
    if run.refitted:
        candidates[run.prepared.whole] = maker.whole()
    # A soup is cooked only where something could choose it.
    if len(results) > 1 and (asked == "soup" or (asked == "auto" and select.externals)):
        soup = make_soup(run, results)
        if soup.flaw is None:
            candidates["soup"] = maker.soup(soup)
        else:
            run.notify(f"the soup is left out: {soup.flaw}")
    kind, why = _kind(asked, select, candidates, run)
    if asked not in ("auto", kind):
        run.notify(f"--candidate {asked}: there is none; the {kind} is registered instead")
    return Choice(list(candidates.values()), candidates[kind], why, best)


def _kind(
    asked: str, select: SelectBy, candidates: dict[str, Candidate], run: Run
) -> tuple[str, str]:
    """The kind that is registered, and why."""
    if asked in candidates:
        return asked, f"--candidate {asked}"
    if select.externals:
        ranked = sorted(candidates, key=lambda kind: kind != "ensemble")  # it wins a draw
        kind = max(ranked, key=lambda kind: select.elsewhere.value(candidates[kind].measured))
        return kind, "it is worth most on the external images of --select-by"
    count, there = len(run.prepared.folds), len(run.there)
    if "ensemble" in candidates:
        whose = "all folds'" if there == count else f"{there} of {count} folds'"
        return "ensemble", f"the mean of {whose} probabilities"
    return "best-fold", f"the only fold that {'was trained' if count == 1 else 'is there'}"


@dataclass(frozen=True)
class _CandidateMaker:
    """Makes the candidates of a run, whose pooled out-of-fold scores are `oof`."""

    run: Run
    results: Results
    pooled: Pooled
    oof: dict[str, float]
    temperature: float

    def best_fold(self, best: int) -> Candidate:
        name = self.run.prepared.names[self.run.there[best]]
        evidence = f"the validation part of {name}, which it was chosen by"
        return self._candidate("best-fold", [best], evidence, self.results[best].measured)

    def ensemble(self) -> Candidate:
        return self._candidate("ensemble", range(len(self.results)), _OOF, self.oof)

    def _candidate(
        self, kind: str, folds: Sequence[int], evidence: str, measured: dict[str, float]
    ) -> Candidate:
        """A candidate of some of the folds' models, by their places among the results."""
        external = {
            name: [unseen.probabilities[fold] for fold in folds]
            for name, unseen in self.pooled.external.items()
        }
        holdout = self.pooled.holdout
        own = [] if holdout is None else [holdout.probabilities[fold] for fold in folds]
        folders = [self._bundle(self.run.there[fold]) for fold in folds]
        return self._made(kind, folders, evidence, measured, external, own)

    def whole(self) -> Candidate:
        task = len(self.run.prepared.folds)  # it is trained after them, see `Prepared.tasks`
        result = self.run.space.read_outcome(task)
        external = {name: [result.external[name]] for name in self.pooled.external}
        kind, folders = self.run.prepared.whole, [self._bundle(task)]
        return self._made(kind, folders, _OOF, self.oof, external, [result.holdout])

    def soup(self, soup: Soup) -> Candidate:
        folder = self.run.space.folder / "soup"
        problem = self.run.prepared.problem
        write_bundle(folder, soup.card, soup.weights, problem.splits.data)
        external = {name: [probabilities] for name, probabilities in soup.external.items()}
        return self._made("soup", [folder], _OOF, self.oof, external, [soup.holdout])

    def _bundle(self, task: int) -> Path:
        return self.run.space.bundle(task)

    def _made(
        self,
        kind: str,
        folders: list[Path],
        evidence: str,
        measured: dict[str, float],
        external: dict[str, list[Floats]],
        holdout: list[Floats],
    ) -> Candidate:
        """A candidate, judged on images that no fold has seen by what it will answer for them."""
        own, temperature = self._tempered(holdout)
        answers = {name: served(members, temperature) for name, members in external.items()}
        for other in self.run.prepared.problem.externals:
            measured = measured | external_scores(other, answers[other.name])
        fitted_on: Literal["out-of-fold", "holdout"] = "holdout" if self._enough else "out-of-fold"
        return Candidate(kind, folders, measured, evidence, answers, own, temperature, fitted_on)

    @property
    def _enough(self) -> bool:
        """Whether there is a hold-out, and of enough images to fit a temperature."""
        unseen = self.pooled.holdout
        return unseen is not None and len(unseen.labels) >= _ENOUGH

    def _tempered(self, members: list[Floats]) -> tuple[Floats | None, float]:
        """A candidate's answers for the hold-out, if there is one, and its temperature."""
        unseen = self.pooled.holdout
        if unseen is None:  # then a member's predictions of it have no rows
            return None, self.temperature
        if not self._enough:
            return served(members, self.temperature), self.temperature
        part = np.unique(unseen.groups, return_inverse=True)[1] % HOLDOUT_PARTS
        return out_of_fold_temperature(unseen.labels, members, part, unseen.ids)

"""A version held against the champion, by what their runs predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from folds.config.selection import SelectBy
from folds.errors import UserError, listed, reason
from folds.evaluation.gains import Rivals
from folds.evaluation.gate import Check, beats, floors, no_class_drops, no_worse_under_shift
from tracking.comparison.evidence import (
    Evidence,
    read_evidence,
    read_externals,
)
from tracking.comparison.runs import find_run
from tracking.places import LostError
from tracking.promotion.common_images import (
    Contender,
    MissingEvidenceError,
    PairedPredictions,
    common_predictions,
    corrupted_by_both,
    on_external,
    same_images,
)

_OLD = "best-fold"  # all that was registered before versions said what they are
_UNDER_SHIFT = "no worse under shift"


@dataclass(frozen=True)
class Conditions:
    """What is asked of a candidate.

    Parameters
    ----------
    select_by : SelectBy, optional
        By what it must be better; default: what the candidate's run was chosen by.
    confidence : float
        0.5 to 1, exclusive.
    max_class_drop : float
        Of a recall, 0 to 1.
    least : mapping of str to float
        Floors, by the names of ``--select-by``.
    external : str, optional
        External images on which they are to be compared.
    """

    select_by: SelectBy | None = None
    confidence: float = 0.95
    max_class_drop: float = 0.05
    least: Mapping[str, float] = field(default_factory=dict)
    external: str | None = None


@dataclass(frozen=True)
class Verdict:
    """The results of all checks.

    Parameters
    ----------
    compared_on : str
        What the two were compared on, and why there; empty if they could not be.
    checks : tuple of Check
    """

    compared_on: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass; one that could not be made has not failed."""
        return [check for check in self.checks if check.passed is False]


def check(candidate: ModelVersion, champion: ModelVersion | None, asked: Conditions) -> Verdict:
    """Hold a version against the champion.

    Parameters
    ----------
    champion : ModelVersion, optional
        Without one there are floors only.

    Raises
    ------
    UserError
        `asked.external` names images that neither has seen.

    Notes
    -----
    Out of fold it is the folds' models that are compared, whatever was made of them; on external
    images it is the versions themselves. Evidence that cannot be had is a check that failed.
    """
    try:
        if champion is None:
            return _first(candidate, asked)
        return judge(_contender(candidate), _contender(champion), asked)
    except MissingEvidenceError as error:
        return Verdict("", (Check("evidence", False, str(error)),))


def judge(candidate: Contender, champion: Contender, asked: Conditions) -> Verdict:
    """Make all checks.

    Raises
    ------
    MissingEvidenceError
        There are no predictions of both for the same images.
    UserError
        See `check`.
    """
    names = candidate.evidence.class_names
    if names != champion.evidence.class_names:
        odd = set(names) ^ set(champion.evidence.class_names)
        raise MissingEvidenceError(
            f"their classes differ ({listed(sorted(odd)) or 'in order'}), so nothing can be "
            "compared; register it under another --model-name"
        )
    pair = common_predictions(candidate, champion, asked.external)
    checks = [
        _beats(pair, candidate, champion, asked),
        _shift(candidate.evidence, champion.evidence, asked.confidence),
        no_class_drops(pair.champion, pair.candidate, names, asked.max_class_drop),
    ]
    if asked.least:
        checks.append(floors(candidate.scores, asked.least))
    return Verdict(pair.text, tuple(checks))


def _beats(
    pair: PairedPredictions, candidate: Contender, champion: Contender, asked: Conditions
) -> Check:
    select = asked.select_by or SelectBy.parse(candidate.evidence.select_by)
    external = {
        name: on_external(candidate, champion, name, "")
        for name in candidate.externals
        if same_images(candidate, champion, name)
    }
    rivals = Rivals(
        (pair.champion, pair.candidate),
        corrupted_by_both(champion.evidence, candidate.evidence),
        {name: (pair.champion, pair.candidate) for name, pair in external.items()},
    )
    try:
        return beats(rivals, select, asked.confidence)
    except ValueError as error:
        raise MissingEvidenceError(f"{error}; name another score with --select-by") from None


def _first(candidate: ModelVersion, asked: Conditions) -> Verdict:
    scores = _contender(candidate).scores if asked.least else {}
    return Verdict("floors alone: there is no champion yet", (floors(scores, asked.least),))


def _contender(version: ModelVersion) -> Contender:
    try:
        run = find_run(_run_of(version))
        evidence, externals = read_evidence(run), read_externals(run)
    except (UserError, MlflowException) as error:
        what = f"what version {version.version} predicted cannot be read"
        if isinstance(error, LostError):  # which has a remedy
            raise MissingEvidenceError(f"{what}: {error}") from None
        why = reason(error).partition(";")[0]
        raise MissingEvidenceError(
            f"{what}: {why}; train it again and promote that version"
        ) from None
    kind = version.tags.get("crossfold.candidate", _OLD)
    return Contender(str(version.version), kind, evidence, externals)


def _run_of(version: ModelVersion) -> str:
    """Id of the run that made it; an older version has that of a fold's run."""
    run_id = version.tags.get("crossfold.run") or version.run_id
    if not run_id:
        raise UserError("it was not made by a run")
    return str(run_id)


def _shift(candidate: Evidence, champion: Evidence, confidence: float) -> Check:
    """The check under shift; it is left out, not failed, where the candidate could not help it."""
    a, b = champion.shift, candidate.shift
    if a is None:
        return Check(_UNDER_SHIFT, None, "not measured in the champion's run")
    if candidate.run == champion.run:
        return Check(_UNDER_SHIFT, None, "not told apart: both are of one run, its folds' models")
    if b is None or not np.array_equal(a.corruptions, b.corruptions):
        what = "not measured" if b is None else "other corruptions than in the champion's run"
        kind = "full" if len(a.corruptions) > len(np.unique(a.corruptions)) else "fast"
        return Check(_UNDER_SHIFT, False, f"{what}; train with --shift {kind}")
    pair = corrupted_by_both(champion, candidate)
    if pair is None:
        return Check(_UNDER_SHIFT, None, "not the same images as in the champion's run")
    result = no_worse_under_shift(*pair, confidence)
    count = len(np.intersect1d(champion.shift_ids, candidate.shift_ids))
    return replace(result, text=f"{result.text}; of {count} images")

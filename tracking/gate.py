"""A version held against the champion, by what their runs predicted."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from folds.assess.gate import Check, beats, floors, no_class_drops, no_worse_under_shift
from folds.assess.predictions import Predictions, ShiftPredictions
from folds.assess.replicates import tally
from folds.assess.shifted import shift_tally
from folds.errors import UserError, listed, nearest
from tracking.comparison.compare import same_groups, why_unpaired
from tracking.comparison.evidence import (
    Evidence,
    ExternalEvidence,
    find_run,
    read_evidence,
    read_externals,
)

_OLD = "best-fold"  # all that was registered before versions said what they are
_UNDER_SHIFT = "no worse under shift"


@dataclass(frozen=True)
class Conditions:
    """What is asked of a candidate.

    Parameters
    ----------
    metric : str
        The pooled score by which it must be better.
    confidence : float
        0.5 to 1, exclusive.
    max_class_drop : float
        Of a recall, 0 to 1.
    least : mapping of str to float
        Floors, by the names of ``--select-by``.
    external : str, optional
        External images on which they are to be compared.
    """

    metric: str = "macro_f1"
    confidence: float = 0.95
    max_class_drop: float = 0.05
    least: Mapping[str, float] = field(default_factory=dict)
    external: str | None = None


@dataclass(frozen=True)
class Verdict:
    """What the checks have found.

    Parameters
    ----------
    ground : str
        What the two were compared on, and why there; empty if they could not be.
    checks : tuple of Check
    """

    ground: str
    checks: tuple[Check, ...]

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass; one that could not be made has not failed."""
        return [check for check in self.checks if check.passed is False]


@dataclass(frozen=True)
class Side:
    """A version and what its run predicted.

    Parameters
    ----------
    version : str
    kind : str
        best-fold, ensemble, soup or refit.
    evidence : Evidence
    externals : dict of str to ExternalEvidence
        By the names of ``--external``.
    """

    version: str
    kind: str
    evidence: Evidence
    externals: dict[str, ExternalEvidence]

    @property
    def scores(self) -> dict[str, float]:
        """By the names of ``--select-by``."""
        found = _pooled("", self.evidence.oof)
        for name, external in self.externals.items():
            if self.kind in external.candidates:
                found |= _pooled(f"external.{name}.", external.candidates[self.kind])
        if self.evidence.shift is not None:
            shift = shift_tally(self.evidence.shift).once()
            means = ("shift.accuracy", "shift.macro_f1")
            worst = min(value for name, value in shift.items() if name not in means)
            found |= shift | {"shift.worst": worst}
        return found


@dataclass(frozen=True)
class _Ground:
    """Predictions of both for the same images."""

    text: str
    champion: Predictions
    candidate: Predictions


class MissingEvidenceError(Exception):
    """What would be needed to judge is not there; the message says it, and the remedy."""


def hold(candidate: ModelVersion, champion: ModelVersion | None, asked: Conditions) -> Verdict:
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
        return judge(_side(candidate), _side(champion), asked)
    except MissingEvidenceError as error:
        return Verdict("", (Check("evidence", False, str(error)),))


def judge(candidate: Side, champion: Side, asked: Conditions) -> Verdict:
    """Make all checks.

    Raises
    ------
    MissingEvidenceError
        There are no predictions of both for the same images.
    UserError
        See `hold`.
    """
    names = candidate.evidence.class_names
    if names != champion.evidence.class_names:
        odd = set(names) ^ set(champion.evidence.class_names)
        raise MissingEvidenceError(
            f"their classes differ ({listed(sorted(odd)) or 'in order'}), so nothing can be "
            "compared; register it under another --model-name"
        )
    ground = _ground(candidate, champion, asked.external)
    checks = [
        beats(ground.champion, ground.candidate, asked.metric, asked.confidence),
        _shift(candidate.evidence, champion.evidence, asked.confidence),
        no_class_drops(ground.champion, ground.candidate, names, asked.max_class_drop),
    ]
    if asked.least:
        checks.append(floors(candidate.scores, asked.least))
    return Verdict(ground.text, tuple(checks))


def _first(candidate: ModelVersion, asked: Conditions) -> Verdict:
    scores = _side(candidate).scores if asked.least else {}
    return Verdict("floors alone: there is no champion yet", (floors(scores, asked.least),))


def _side(version: ModelVersion) -> Side:
    try:
        run = find_run(_run_of(version))
        evidence, externals = read_evidence(run), read_externals(run)
    except (UserError, MlflowException) as error:
        reason = " ".join(str(error).split(";")[0].split())
        raise MissingEvidenceError(
            f"what version {version.version} predicted cannot be read: {reason}; train it again "
            "and promote that version"
        ) from None
    kind = version.tags.get("crossfold.candidate", _OLD)
    return Side(str(version.version), kind, evidence, externals)


def _run_of(version: ModelVersion) -> str:
    """Id of the run that made it; an older version has that of a fold's run."""
    found = version.tags.get("crossfold.run") or version.run_id
    if not found:
        raise UserError("it was not made by a run")
    return str(found)


def _ground(candidate: Side, champion: Side, external: str | None) -> _Ground:
    """Out-of-fold predictions where they are of the same splits, else the same external images."""
    common = [n for n in candidate.externals if n in champion.externals]
    common = [n for n in common if _same_images(candidate, champion, n)]
    if external is not None:
        _check_external(candidate, champion, external, common)
        return _on_external(candidate, champion, external, "")
    why = _why_not_out_of_fold(candidate.evidence, champion.evidence)
    if not why:
        before, after = same_groups(champion.evidence.oof, candidate.evidence.oof)
        count = len(np.unique(candidate.evidence.ids))
        return _Ground(f"out-of-fold predictions of the same {count} images", before, after)
    if len(common) == 1:
        return _on_external(candidate, champion, common[0], f" ({why})")
    if common:
        raise MissingEvidenceError(f"{why}; name one set with --external: {', '.join(common)}")
    splits = "" if why.startswith("both") else ", or train with --splits of the champion's run"
    raise MissingEvidenceError(
        f"{why}, and no external images in common; train both with the same "
        f"--external NAME=SOURCE{splits}"
    )


def _why_not_out_of_fold(candidate: Evidence, champion: Evidence) -> str:
    if candidate.run == champion.run:
        return "both are of one run, whose out-of-fold predictions are those of both"
    return why_unpaired(champion, candidate)


def _same_images(candidate: Side, champion: Side, name: str) -> bool:
    """Whether both versions have predicted the same external images with the same labels."""
    a, b = candidate.externals[name], champion.externals[name]
    if candidate.kind not in a.candidates or champion.kind not in b.candidates:
        return False
    labels = a.candidates[candidate.kind].labels, b.candidates[champion.kind].labels
    return np.array_equal(a.ids, b.ids) and np.array_equal(*labels)


def _check_external(candidate: Side, champion: Side, name: str, common: list[str]) -> None:
    known = sorted({*candidate.externals, *champion.externals})
    if name not in known:
        near = nearest(name, known) or (f"; there are: {', '.join(known)}" if known else "")
        raise UserError(f"--external {name}: neither run has scored such images{near}")
    for side in (candidate, champion):
        if name not in side.externals or side.kind not in side.externals[name].candidates:
            raise MissingEvidenceError(
                f"version {side.version} was not scored on {name}; train it with "
                f"--external {name}=SOURCE"
            )
    if name not in common:
        raise MissingEvidenceError(
            f"the images of {name} or their labels were others in the champion's run; train with "
            f"the same --external {name}=SOURCE"
        )


def _on_external(candidate: Side, champion: Side, name: str, why: str) -> _Ground:
    before, after = (side.externals[name].candidates[side.kind] for side in (champion, candidate))
    text = f"predictions of the same {len(before.labels)} external images {name}{why}"
    return _Ground(text, *same_groups(before, after))


def _shift(candidate: Evidence, champion: Evidence, confidence: float) -> Check:
    a, b = champion.shift, candidate.shift
    if a is None:
        return Check(_UNDER_SHIFT, None, "not measured in the champion's run")
    if candidate.run == champion.run:
        return Check(_UNDER_SHIFT, None, "not told apart: both are of one run, its folds' models")
    if b is None or not np.array_equal(a.corruptions, b.corruptions):
        what = "not measured" if b is None else "other corruptions than in the champion's run"
        kind = "full" if len(a.corruptions) > len(np.unique(a.corruptions)) else "fast"
        return Check(_UNDER_SHIFT, False, f"{what}; train with --shift {kind}")
    rows_a, rows_b = _common(_keys(champion), _keys(candidate))
    same = len(rows_a) > 0 and np.array_equal(a.labels[rows_a], b.labels[rows_b])
    if not same:
        return Check(_UNDER_SHIFT, None, "not the same images as in the champion's run")
    before = _take(a, rows_a, a.groups[rows_a])
    after = _take(b, rows_b, before.groups)
    found = no_worse_under_shift(before, after, confidence)
    count = len(np.unique(champion.shift_ids[rows_a]))
    return replace(found, text=f"{found.text}; of {count} images")


def _keys(evidence: Evidence) -> list[tuple[int, str]]:
    return list(zip(evidence.shift_repeats.tolist(), evidence.shift_ids.tolist(), strict=True))


def _common(a: list[tuple[int, str]], b: list[tuple[int, str]]) -> tuple[NDArray, NDArray]:
    """Rows of both that have the same key; runs of fewer epochs corrupt fewer images."""
    rows = {key: row for row, key in enumerate(b)}
    pairs = [(row, rows[key]) for row, key in enumerate(a) if key in rows]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _take(shift: ShiftPredictions, rows: NDArray, groups: NDArray) -> ShiftPredictions:
    return replace(
        shift, labels=shift.labels[rows], predicted=shift.predicted[:, rows], groups=groups
    )


def _pooled(prefix: str, predictions: Predictions) -> dict[str, float]:
    return {
        f"{prefix}{name}": float(value[0])
        for name, value in tally(predictions).once().pooled.items()
    }

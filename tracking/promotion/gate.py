"""A version held against the champion, by what their runs predicted."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from folds.config.selection import SelectBy
from folds.errors import UserError, listed, reason
from folds.evaluation.gains import Rivals, check_measured
from folds.evaluation.gate import (
    Check,
    beats,
    floors,
    no_class_drops,
)
from folds.evaluation.spending import Spending, spent
from tracking.comparison.evidence import HOLDOUT, read_evidence, read_externals
from tracking.comparison.runs import find_run
from tracking.places import LostError
from tracking.promotion.attempts import Count, Trial
from tracking.promotion.checks import shift_check, slice_checks
from tracking.promotion.common_images import (
    Contender,
    MissingEvidenceError,
    PairedPredictions,
    common_predictions,
    corrupted_by_both,
    digest_of,
    on_external,
    same_images,
)

_OLD = "best-fold"  # all that was registered before versions said what they are
_PARTIAL = "version {} is of a run with missing folds"


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
    max_slice_drop : float
        Of a site's or slice's accuracy, 0 to 1.
    least : mapping of str to float
        Floors, by the names of ``--select-by``.
    external : str, optional
        External images on which they are to be compared.
    alpha_spending : {"none", "quadratic"}
        What each of several attempts against one champion may spend of 1 - `confidence`.
    """

    select_by: SelectBy | None = None
    confidence: float = 0.95
    max_class_drop: float = 0.05
    max_slice_drop: float = 0.05
    least: Mapping[str, float] = field(default_factory=dict)
    external: str | None = None
    alpha_spending: Spending = "none"


@dataclass(frozen=True)
class Verdict:
    """The results of all checks.

    Parameters
    ----------
    compared_on : str
        What the two were compared on, and why there; empty if they could not be.
    checks : tuple of Check
    notices : tuple of str
        What somebody who relies on the checks must know besides.
    """

    compared_on: str
    checks: tuple[Check, ...]
    notices: tuple[str, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass; one that could not be made has not failed."""
        return [check for check in self.checks if check.passed is False]


def _uncounted(trial: Trial) -> Count:
    return Count(1, dict.fromkeys(trial.unseen, 1))


def check(
    candidate: ModelVersion,
    champion: ModelVersion | None,
    asked: Conditions,
    count: Callable[[Trial], Count] = _uncounted,
) -> Verdict:
    """Hold a version against the champion.

    Parameters
    ----------
    champion : ModelVersion, optional
        Without one there are floors only.
    count : callable
        Numbers a comparison that can be made, before it is.

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
        return judge(_contender(candidate), _contender(champion), asked, count)
    except MissingEvidenceError as error:
        return Verdict("", (Check("evidence", False, str(error)),))


def judge(
    candidate: Contender,
    champion: Contender,
    asked: Conditions,
    count: Callable[[Trial], Count] = _uncounted,
) -> Verdict:
    """Make all checks, as `check`.

    Raises
    ------
    MissingEvidenceError
        There are no predictions of both for the same images.
    UserError
        See `check`.
    """
    _check_classes(candidate.evidence.class_names, champion.evidence.class_names)
    pair = common_predictions(candidate, champion, asked.external)
    select = asked.select_by or SelectBy.parse(candidate.evidence.select_by)
    rivals = _rivals(pair, candidate, champion)
    _check_terms(rivals, select, candidate)
    trial = _trial(pair, select, candidate, champion)
    counted = count(trial)
    alpha = spent(1 - asked.confidence, counted.attempt, asked.alpha_spending)
    checks = [
        beats(rivals, select, 1 - alpha),
        shift_check(candidate, champion, asked.confidence),
        no_class_drops(
            pair.champion, pair.candidate, candidate.evidence.class_names, asked.max_class_drop
        ),
        *slice_checks(pair, candidate, champion, asked.max_slice_drop),
    ]
    if asked.least:
        checks.append(floors(candidate.scores, asked.least))
    notices = (
        *_partial(candidate, champion),
        *_attempt(counted.attempt, trial.champion, asked),
        *_uses(counted.uses),
        *_flattering_floors(candidate, asked),
    )
    return Verdict(pair.text, tuple(checks), notices)


def _check_classes(names: tuple[str, ...], before: tuple[str, ...]) -> None:
    if names != before:
        odd = set(names) ^ set(before)
        raise MissingEvidenceError(
            f"their classes differ ({listed(sorted(odd)) or 'in order'}), so nothing can be "
            "compared; register it under another --model-name"
        )


def _rivals(pair: PairedPredictions, candidate: Contender, champion: Contender) -> Rivals:
    external = {
        name: on_external(candidate, champion, name, "")
        for name in candidate.externals
        if same_images(candidate, champion, name)
    }
    return Rivals(
        (pair.champion, pair.candidate),
        corrupted_by_both(champion.evidence, candidate.evidence),
        {name: (pair.champion, pair.candidate) for name, pair in external.items()},
        pair.columns,
    )


def _check_terms(rivals: Rivals, select: SelectBy, candidate: Contender) -> None:
    """Raise MissingEvidenceError where a term is not there for both, or flatters the candidate."""
    try:
        check_measured(rivals, select)
    except ValueError as error:
        raise MissingEvidenceError(f"{error}; name another score with --select-by") from None
    # without a dot it is of the common images, which `common_predictions` has looked at
    flattering = candidate.flattering(name for name in select.names if "." in name)
    if flattering:
        raise MissingEvidenceError(
            f"{listed(flattering)} of the candidate: the same images chose its epochs, which "
            "flatters; train it with --choose-epoch last, or name another score with --select-by"
        )


def _trial(
    pair: PairedPredictions, select: SelectBy, candidate: Contender, champion: Contender
) -> Trial:
    """What is to be compared, and on which images that no fold trained on."""
    names = sorted(select.externals | ({pair.unseen} if pair.unseen else set()))
    question = hashlib.sha256(f"{select} on {pair.unseen}".encode()).hexdigest()[:4]
    unseen = {name: digest_of(candidate.externals[name]) for name in names}
    return Trial(candidate.version, champion.version, question, unseen)


def _attempt(number: int, champion: str, asked: Conditions) -> list[str]:
    """The number of an attempt and what it may spend, where it is not the only one."""
    alpha = 1 - asked.confidence
    told = f"attempt {number} against version {champion}"
    if asked.alpha_spending != "none":
        share = spent(alpha, number, asked.alpha_spending)
        return [f"{told}: {100 * share:.2g}% of the {100 * alpha:.2g}% of all attempts is left"]
    if number == 1:
        return []
    return [
        f"{told}, each at {100 * alpha:.2g}%: that one of so many passes without being better has "
        f"a chance of up to {min(1, number * alpha):.0%}; --alpha-spending quadratic keeps it at "
        f"{100 * alpha:.2g}%"
    ]


def _uses(uses: Mapping[str, int]) -> list[str]:
    """Which images are not unseen any more, since they have judged several candidates."""
    words = {name: f"the external images {name}" for name in uses} | {HOLDOUT: "this hold-out"}
    return [
        f"{words[name]} {'has' if name == HOLDOUT else 'have'} judged {count} candidates, this one "
        "among them: not unseen any more"
        for name, count in uses.items()
        if count > 1
    ]


def _partial(*contenders: Contender) -> list[str]:
    """Which versions are of runs with missing folds."""
    return [
        f"{_PARTIAL.format(one.version)}: {one.evidence.partial}"
        for one in contenders
        if one.evidence.partial
    ]


def _flattering_floors(candidate: Contender, asked: Conditions) -> list[str]:
    names = candidate.flattering(asked.least)
    words = f"--min {listed(names)}: of epochs that the same images chose, which flatters"
    return [words] if names else []


def _first(candidate: ModelVersion, asked: Conditions) -> Verdict:
    text = "floors alone: there is no champion yet"
    if not asked.least:
        told = candidate.tags.get("crossfold.partial")
        words = [] if told is None else [f"{_PARTIAL.format(candidate.version)}: {told}"]
        return Verdict(text, (floors({}, asked.least),), tuple(words))
    found = _contender(candidate)
    notices = (*_partial(found), *_flattering_floors(found, asked))
    return Verdict(text, (floors(found.scores, asked.least),), notices)


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

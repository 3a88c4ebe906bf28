"""What two versions can be compared on: predictions of both for the same images."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from folds.arrays import Ints
from folds.config.selection import SelectBy
from folds.errors import UserError, nearest
from folds.evaluation.predictions import Predictions, ShiftPredictions
from folds.evaluation.replicates import tally
from folds.evaluation.shift_replicates import shift_tally
from tracking.comparison.compare import common_columns, same_groups, why_unpaired
from tracking.comparison.evidence import HOLDOUT, Evidence, ExternalEvidence


@dataclass(frozen=True)
class Contender:
    """A version and what its run predicted.

    Parameters
    ----------
    version : str
        Its number in the registry.
    kind : str
        best-fold, ensemble, soup, refit or student.
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
        """What the version is held against floors with, by the names of ``--select-by``.

        Out of fold they are those of the folds' models, looked at as the version does; on external
        images the version's own.
        """
        scores = _pooled_scores("", self.evidence.served)
        for name, external in self.externals.items():
            if self.kind in external.candidates:
                scores |= _pooled_scores(f"external.{name}.", external.candidates[self.kind])
        if self.evidence.shift is not None:
            scores |= shift_tally(self.evidence.shift).observed()
        return scores

    def flattering(self, names: Iterable[str]) -> list[str]:
        """Those scores whose very images chose the epochs that they are of.

        Parameters
        ----------
        names : iterable of str
            As ``--select-by`` has them.

        Notes
        -----
        With ``crossfit`` the models are of best epochs, too, and only the out-of-fold predictions
        of images as they are come from epochs that others chose. What the epochs were not chosen
        by (external images that ``--select-by`` did not name, the hold-out) never flatters.
        """
        rule, chosen_by = self.evidence.epoch_rule, SelectBy.parse(self.evidence.select_by)

        def flatters(name: str) -> bool:
            kind, _, rest = name.partition(".")
            if kind == "external":
                return rule != "last" and rest.split(".")[0] in chosen_by.externals
            return rule == "best" or (rule == "crossfit" and kind == "shift")

        return [name for name in names if flatters(name)]


@dataclass(frozen=True)
class PairedPredictions:
    """Predictions of both for the same images.

    Parameters
    ----------
    text : str
        Which images these are, and why no others, for people.
    unseen : str
        Name of the external set or `HOLDOUT`; empty where they are the folds' own images.
    champion, candidate : Predictions
        The same rows, with the same groups.
    columns : mapping of str to ndarray of str, shape (M,)
        Sites and slices of the rows, as both runs know them.
    """

    text: str
    unseen: str
    champion: Predictions
    candidate: Predictions
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)


class MissingEvidenceError(Exception):
    """What would be needed to judge is not there; the message says it, and the remedy."""


def common_predictions(
    candidate: Contender, champion: Contender, external: str | None
) -> PairedPredictions:
    """Choose what a candidate and a champion are compared on.

    Parameters
    ----------
    external : str, optional
        External images to compare on; default: out of fold where the splits are the same, else the
        one external set that both have predicted.

    Raises
    ------
    MissingEvidenceError
        There are no predictions of both for the same images.
    UserError
        Neither run has external images of that name.
    """
    common = [name for name in candidate.externals if same_images(candidate, champion, name)]
    if external is not None:
        _check_external(candidate, champion, external, common)
        return on_external(candidate, champion, external, "")
    both = _validated_by_both(candidate, champion)
    why, remedy = _why_not_out_of_fold(*both)
    if not why:
        return _out_of_fold(*both)
    usable = [name for name in common if not _chose_epochs(candidate, name)]
    if len(usable) == 1:
        return on_external(candidate, champion, usable[0], f" ({why})")
    if usable:
        raise MissingEvidenceError(f"{why}; name one set with --external: {', '.join(usable)}")
    also = " but those that chose the epochs" if common else ""
    raise MissingEvidenceError(
        f"{why}, and no external images or hold-out in common{also}; train both with the same "
        f"--external NAME=SOURCE{remedy}"
    )


def _validated_by_both(candidate: Contender, champion: Contender) -> tuple[Contender, Contender]:
    """The two on the rows that both have validated, where folds of one of them are missing."""
    a, b = candidate.evidence, champion.evidence
    if not (a.partial or b.partial) or a.splits_digest != b.splits_digest:
        return candidate, champion
    one, other = _common(*(_keys(run.oof.repeat, run.ids) for run in (a, b)))
    if not len(one):
        return candidate, champion
    return replace(candidate, evidence=a.take(one)), replace(champion, evidence=b.take(other))


def _out_of_fold(candidate: Contender, champion: Contender) -> PairedPredictions:
    count = len(np.unique(candidate.evidence.ids))
    text = f"out-of-fold predictions of the same {count} images"
    if candidate.evidence.partial or champion.evidence.partial:
        text += ", those that both have validated"
    if candidate.evidence.served_otherwise or champion.evidence.served_otherwise:
        text += ", looked at as each version does (--tta, --adapt)"
    if champion.evidence.epoch_rule == "best":
        text += ", which chose the champion's epochs: it is flattered, the candidate is not"
    same = common_columns(candidate.evidence, champion.evidence)
    both = same_groups(champion.evidence.served, candidate.evidence.served)
    return PairedPredictions(text, "", *both, same)


def _why_not_out_of_fold(candidate: Contender, champion: Contender) -> tuple[str, str]:
    """Why the folds' predictions cannot tell the two apart, and what to do; empty if they can."""
    if candidate.evidence.run == champion.evidence.run:
        return "both are of one run, whose out-of-fold predictions are those of both", ""
    for kind in (candidate.kind, champion.kind):
        if kind in ("refit", "soup", "student"):
            return f"the out-of-fold predictions are the folds' models', not a {kind}'s", ""
    whys, flags = [], []
    if candidate.kind != champion.kind:
        whys.append(
            f"a {candidate.kind} and a {champion.kind} differ by more than their folds' models"
        )
        flags.append(f"--candidate {champion.kind}")
    if candidate.evidence.epoch_rule == "best":
        whys.append(
            "the candidate's epochs were chosen on its out-of-fold images, which flatters it"
        )
        # what is not of the images as they are stays that of the best epochs with crossfit
        names = SelectBy.parse(candidate.evidence.select_by).names
        other = "" if any("." in name for name in names) else " (or crossfit)"
        flags.append(f"--choose-epoch last{other}")
    if unpaired := why_unpaired(champion.evidence, candidate.evidence):
        whys.append(unpaired)
        flags.append("--splits of the champion's run")
    remedy = f", or the candidate with {' and '.join(flags)}" if flags else ""
    return " and ".join(whys), remedy


def _chose_epochs(candidate: Contender, name: str) -> bool:
    """Whether the candidate's epochs were chosen by the external images of a name."""
    return bool(candidate.flattering([f"external.{name}."]))


def same_images(candidate: Contender, champion: Contender, name: str) -> bool:
    """Whether both versions have predicted the same external images with the same labels."""
    if name not in champion.externals:
        return False
    a, b = candidate.externals[name], champion.externals[name]
    if candidate.kind not in a.candidates or champion.kind not in b.candidates:
        return False
    labels = a.candidates[candidate.kind].labels, b.candidates[champion.kind].labels
    return np.array_equal(a.ids, b.ids) and np.array_equal(*labels)


def _check_external(
    candidate: Contender, champion: Contender, name: str, common: list[str]
) -> None:
    known = sorted({*candidate.externals, *champion.externals})
    if name not in known:
        near = nearest(name, known) or (f"; there are: {', '.join(known)}" if known else "")
        raise UserError(f"--external {name}: neither run has scored such images{near}")
    same = "--holdout and --splits as the champion's run"
    remedy = same if name == HOLDOUT else f"--external {name}=SOURCE"
    for contender in (candidate, champion):
        if (
            name not in contender.externals
            or contender.kind not in contender.externals[name].candidates
        ):
            raise MissingEvidenceError(
                f"version {contender.version} was not scored on {name}; train it with {remedy}"
            )
    if name not in common:
        raise MissingEvidenceError(
            f"the images of {name} or their labels were others in the champion's run; train with "
            f"the same {remedy}"
        )
    if _chose_epochs(candidate, name):
        raise MissingEvidenceError(
            f"the candidate's epochs were chosen by the images of {name}, which flatters it; train "
            "it with --choose-epoch last"
        )


def on_external(
    candidate: Contender, champion: Contender, name: str, why: str
) -> PairedPredictions:
    """The external images of a name, which both have predicted; `why` not out of fold."""
    before, after = (
        contender.externals[name].candidates[contender.kind] for contender in (champion, candidate)
    )
    which = "hold-out images" if name == HOLDOUT else f"external images {name}"
    text = f"predictions of the same {len(before.labels)} {which}{why}"
    return PairedPredictions(text, name, *same_groups(before, after))


def digest_of(external: ExternalEvidence) -> str:
    """Eight letters that are equal for the same ids with the same labels."""
    labels = next(iter(external.candidates.values())).labels
    rows = zip(external.ids.tolist(), labels.tolist(), strict=True)
    return hashlib.sha256(repr(list(rows)).encode()).hexdigest()[:8]


def corrupted_by_both(
    champion: Evidence, candidate: Evidence
) -> tuple[ShiftPredictions, ShiftPredictions] | None:
    """Predictions of both for the images that both have corrupted alike, if there are such."""
    a, b = champion.shift, candidate.shift
    if a is None or b is None or not np.array_equal(a.corruptions, b.corruptions):
        return None
    rows_a, rows_b = _common(
        *(_keys(run.shift_repeats, run.shift_ids) for run in (champion, candidate))
    )
    if not len(rows_a) or not np.array_equal(a.labels[rows_a], b.labels[rows_b]):
        return None
    before, after = a.take(rows_a), b.take(rows_b)
    same = champion.splits_digest == candidate.splits_digest
    fold = before.fold if same else None
    return replace(before, fold=fold), replace(after, groups=before.groups, fold=fold)


def _keys(repeat: Ints | None, ids: NDArray[np.str_]) -> list[tuple[int, str]]:
    """Repeat and id of each row."""
    assert repeat is not None  # it is there of all that folds have predicted
    return list(zip(repeat.tolist(), ids.tolist(), strict=True))


def _common(a: list[tuple[int, str]], b: list[tuple[int, str]]) -> tuple[NDArray, NDArray]:
    """Rows of both that have the same key."""
    rows = {key: row for row, key in enumerate(b)}
    pairs = [(row, rows[key]) for row, key in enumerate(a) if key in rows]
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _pooled_scores(prefix: str, predictions: Predictions) -> dict[str, float]:
    """All pooled scores, their names behind a prefix."""
    return {
        f"{prefix}{name}": float(value[0])
        for name, value in tally(predictions).observed().pooled.items()
    }

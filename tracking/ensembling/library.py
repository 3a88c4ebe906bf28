"""The runs that an ensemble may be chosen from, and whether they go together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from mlflow.entities import Run

from folds.config.selection import SelectBy
from folds.errors import UserError, listed
from folds.evaluation.epoch_choice import EPOCHS
from folds.evaluation.predictions import Predictions
from tracking.comparison.compare import why_unpaired
from tracking.comparison.evidence import Evidence, read_evidence, summary_of
from tracking.comparison.runs import find_run
from tracking.summary import Summary

KIND = "crossfold.ensemble"  # tag of a run that is an ensemble of others: what it is made of


@dataclass(frozen=True)
class Member:
    """A run that may be in the ensemble.

    Parameters
    ----------
    run : Run
        The parent run in MLflow.
    evidence : Evidence
        What it predicted.
    summary : Summary
    """

    run: Run
    evidence: Evidence
    summary: Summary

    @property
    def version(self) -> str:
        """Its registered model, for people."""
        registered = self.summary.registered
        return f"{registered.name} version {registered.version}"


def read_members(words: Sequence[str]) -> list[Member]:
    """Find runs, as `find_run` does, and read what they predicted.

    Raises
    ------
    UserError
        Fewer than two, one of them twice, one that is an ensemble of runs itself, or two that did
        not predict the same rows.
    """
    if len(words) < 2:
        raise UserError(f"RUN {' '.join(words) or 'none'}: give at least two runs")
    runs = [find_run(word) for word in words]
    if len({run.info.run_id for run in runs}) < len(runs):
        raise UserError(f"RUN {' '.join(words)}: the same run twice; give different ones")
    for word, run in zip(words, runs, strict=True):
        if KIND in run.data.tags:
            raise UserError(
                f"RUN {word}: is an ensemble of runs itself ({run.data.tags[KIND]}); give the runs "
                "that it is made of"
            )
    members = [Member(run, read_evidence(run), summary_of(run)) for run in runs]
    for other in members[1:]:
        _check_same_rows(members[0].evidence, other.evidence)
    folds = members[0].evidence.oof.folds
    if len(np.unique(folds)) < 2:
        raise UserError(
            f"RUN {words[0]}: has one fold alone, no other can choose for it; train all folds"
        )
    return members


def _check_same_rows(first: Evidence, other: Evidence) -> None:
    if other.class_names != first.class_names:
        odd = sorted(set(first.class_names) ^ set(other.class_names)) or ["their order"]
        raise UserError(
            f"RUN {other.name}: its classes are not those of {first.name} ({listed(odd)}); "
            "give runs of the same classes"
        )
    if why := why_unpaired(first, other):
        raise UserError(
            f"RUN {other.name}: {why} than {first.name}; train it with --splits SPLITS, the "
            f"splits.json of {first.name}"
        )


def selection(members: Sequence[Member], given: SelectBy | None) -> SelectBy:
    """By what the ensemble is chosen: what all runs were chosen by, unless something is given.

    Raises
    ------
    UserError
        Runs were chosen by different scores, or it is of other images than the folds' own.
    """
    first = members[0].evidence
    for other in members[1:]:
        if given is None and other.evidence.select_by != first.select_by:
            raise UserError(
                f"RUN {other.evidence.name}: was chosen by {other.evidence.select_by}, "
                f"{first.name} by {first.select_by}; say what counts, as --select-by macro_f1"
            )
    select = SelectBy.parse(first.select_by) if given is None else given
    elsewhere = [name for name in select.names if "." in name]
    if elsewhere:
        raise UserError(
            f"--select-by {select}: {listed(elsewhere)} of a mean of several runs is not known, "
            "only what each makes of such images by itself; use --select-by macro_f1"
        )
    return select


def same_groups(members: Sequence[Member]) -> list[Predictions]:
    """The runs' predictions, all with the groups of the run that has the fewest.

    A run of an older version did not write its groups; with another's, dependent images stay
    together.
    """
    each = [member.evidence.oof for member in members]
    groups = min((one.groups for one in each), key=lambda own: len(np.unique(own)))
    return [replace(one, groups=groups) for one in each]


def notices(members: Sequence[Member]) -> list[str]:
    """That runs are scored at epochs that flatter them, or at unlike ones."""
    rules = {member.evidence.epoch_rule for member in members}
    if rules in ({"last"}, {"crossfit"}):
        return []
    each = (f"{m.evidence.name} is scored at {EPOCHS[m.evidence.epoch_rule]}" for m in members)
    return ["; ".join(each)]

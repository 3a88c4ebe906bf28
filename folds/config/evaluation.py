"""How models are scored, chosen, and decide where they are unsure."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from folds.config.corruptions import Shift
from folds.config.costs import canonical
from folds.config.scores import SCORES
from folds.config.section import Section
from folds.config.selection import check_select_by

COVERAGE = 0.9
EpochChoice = Literal["last", "best", "crossfit"]
_NAME = re.compile(r"[A-Za-z]\w*")


def _check_external(given: str) -> str:
    name, _, source = given.partition("=")
    if not source or not _NAME.fullmatch(name):
        raise ValueError("must be NAME=SOURCE, the name of letters, digits and _, as lab2=lab2/")
    return given


def _check_unique(given: tuple[str, ...]) -> tuple[str, ...]:
    names = [text.partition("=")[0] for text in given]
    if len(set(names)) < len(names):
        raise ValueError("two of them have one name; give each its own")
    return given


class EvaluationConfig(Section):
    """How models are scored, and what they are chosen by."""

    select_by: Annotated[str, AfterValidator(check_select_by)] = Field(
        "macro_f1",
        description="What picks the best epoch, the best fold and the model that is registered: "
        f"{', '.join(SCORES)}; under corruptions "
        "shift.accuracy, shift.macro_f1, shift.worst, shift.CORRUPTION; elsewhere "
        "external.NAME.SCORE; or a sum as 0.5*macro_f1+0.5*shift.macro_f1.",
    )
    choose_epoch: EpochChoice = Field(
        "last",
        description="Which epoch's model a fold keeps. last: the last one, whose scores are "
        "honest. best: the best one by --select-by on the very images that are then scored, which "
        "flatters. crossfit: keeps that one, and scores the epoch that the other folds choose.",
    )
    shift: Shift = Field(
        "fast",
        description="Score each fold's model on its validation images under 19 corruptions, at "
        "severity 3 (fast) or 1 to 5 (full).",
    )
    external: Annotated[
        tuple[Annotated[str, AfterValidator(_check_external)], ...], AfterValidator(_check_unique)
    ] = Field(
        (),
        description="Other images with labels, another laboratory's, say: each fold's model and "
        "each candidate is scored on them, and nothing trains on them.",
    )
    coverage: float = Field(
        COVERAGE,
        gt=0,
        lt=1,
        description="How often the prediction set of an image holds its true class, for each class "
        "(conformal prediction by out-of-fold scores); the registered model gives the set as "
        "prediction_set.",
    )
    costs: Annotated[str, BeforeValidator(canonical)] = Field(
        "",
        description="YAML file of what mistakes cost, {true class: {predicted class: cost}}, 1 "
        "where it says nothing: the model answers the class of least expected cost.",
    )

    @property
    def externals(self) -> dict[str, str]:
        """Sources of external images by name."""
        return dict(text.split("=", 1) for text in self.external)

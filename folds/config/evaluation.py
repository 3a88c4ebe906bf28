"""How models are scored, chosen, and decide where they are unsure."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from folds.config.corruptions import Shift
from folds.config.costs import canonical
from folds.config.named import by_name, check_named, check_unique
from folds.config.scores import SCORES
from folds.config.section import Section
from folds.config.selection import check_select_by

COVERAGE = 0.9
EpochChoice = Literal["last", "best", "crossfit"]


class EvaluationConfig(Section):
    """How models are scored, and what they are chosen by."""

    select_by: Annotated[str, AfterValidator(check_select_by)] = Field(
        "macro_f1",
        description="What picks the best epoch, the best fold and the model that is registered: "
        f"{', '.join(SCORES)}; under corruptions "
        "shift.accuracy, shift.macro_f1, shift.worst, shift.CORRUPTION; elsewhere "
        "external.NAME.SCORE; at the worst site worst_site.macro_f1 or worst_site.accuracy, of a "
        "column of --slices slices.NAME.worst; or a sum as 0.5*macro_f1+0.5*shift.macro_f1.",
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
        tuple[Annotated[str, AfterValidator(check_named)], ...], AfterValidator(check_unique)
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
        return by_name(self.external)

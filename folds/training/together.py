"""The folds' models as one."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from folds.model.bundle import ensemble, write_bundle
from folds.training.problem import Problem
from folds.training.result import FoldResult


def write_ensemble(
    folder: Path, problem: Problem, results: Sequence[FoldResult], temperature: float = 1.0
) -> None:
    """Write the ensemble of the folds' models as a bundle.

    Parameters
    ----------
    folder : Path
        To write.
    problem : Problem
        That the folds were trained on.
    results : sequence of FoldResult
    temperature : float
        Of each member.
    """
    with tempfile.TemporaryDirectory() as scratch:
        members = [Path(scratch) / str(number) for number in range(len(results))]
        for member, result in zip(members, results, strict=True):
            card = replace(problem.card, appearance=result.appearance())
            write_bundle(member, card, result.weights, typicality=result.typicality())
        ensemble(members, folder, temperature)

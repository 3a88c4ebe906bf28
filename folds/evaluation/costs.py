"""The answer that costs least, where mistakes are not all alike."""

import json

import numpy as np

from folds.arrays import AnyFloats, Doubles, Ints
from folds.errors import UserError, nearest
from folds.text import one_line


def cost_matrix(costs: str, class_names: tuple[str, ...]) -> Doubles | None:
    """Costs (C, C), rows being true classes; None where none were given.

    Parameters
    ----------
    costs : str
        As `folds.config.costs.canonical` gives them. What is not said is 0 for the right answer
        and 1 for any other.

    Raises
    ------
    UserError
        There is no such class.
    """
    if not costs:
        return None
    number = {name: place for place, name in enumerate(class_names)}
    matrix: Doubles = 1 - np.eye(len(class_names))
    for true, row in json.loads(costs).items():
        for name in (true, *row):
            if name not in number:
                raise UserError(
                    f"--costs: there is no class {one_line(name)!r}"
                    f"{nearest(name, class_names) or '; use the names of the classes'}"
                )
        for other, cost in row.items():
            matrix[number[true], number[other]] = cost
    return matrix


def least_cost(probabilities: AnyFloats, costs: Doubles | None) -> Ints:
    """For each image (N,) the class of least expected cost; without costs the most probable one.

    Parameters
    ----------
    probabilities : ndarray of float, shape (N, C)
    costs : ndarray of float64, shape (C, C), optional

    Notes
    -----
    With costs of 0 and 1 it is the most probable class; of equals the first.
    """
    if costs is None:
        return probabilities.argmax(axis=1)
    return (probabilities.astype(np.float64) @ costs).argmin(axis=1)


def mean_cost(labels: Ints, answers: Ints, costs: Doubles) -> float:
    """What answers (N,) cost on average."""
    return float(costs[labels, answers].mean())

"""Class shares of a table that are unlike training's, found without labels."""

import numpy as np

from folds.arrays import Floats

_STRENGTH = 0.1  # images of training's shares that stand beside each image of the table
_STEPS, _CLOSE = 1000, 1e-7


def shifted(probabilities: Floats, shares: Floats) -> Floats:
    """Probabilities for a table in which the classes have other shares than in training.

    Parameters
    ----------
    probabilities : ndarray of float32, shape (N, C)
        Of all images of the table.
    shares : ndarray of float, shape (C,)
        Of each class in training, each above 0.

    Returns
    -------
    ndarray of float32, shape (N, C)

    Notes
    -----
    - rows sum to 1; one of certainty stays as it is;
    - a table whose mean probabilities are the shares stays as it is.

    The shares are those of greatest posterior probability, by expectation maximisation from a
    Dirichlet prior around training's: of greatest likelihood, they run away with a network that is
    sure and wrong.

    References
    ----------
    Saerens, Latinne and Decaestecker, Adjusting the Outputs of a Classifier to New a Priori
    Probabilities, Neural Computation 2002.
    """
    given = np.asarray(probabilities, np.float64)
    usual = np.asarray(shares, np.float64)
    found, answered = usual, given
    for _ in range(_STEPS if len(given) else 0):
        answered = given * (found / usual)
        answered = answered / answered.sum(axis=1, keepdims=True)
        moved = (answered.mean(axis=0) + _STRENGTH * usual) / (1 + _STRENGTH)
        close = np.abs(moved - found).max() < _CLOSE
        found = moved
        if close:
            break
    return answered.astype(np.float32)

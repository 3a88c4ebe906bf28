"""How much of alpha each of several attempts against one champion may spend."""

from math import pi
from typing import Literal

Spending = Literal["none", "quadratic"]


def spent(alpha: float, attempt: int, rule: Spending) -> float:
    """The significance level of an attempt.

    Parameters
    ----------
    alpha : float
        Of all attempts together, or with ``none`` of each; 0 to 1, exclusive.
    attempt : int
        Its number, from 1.
    rule : {"none", "quadratic"}

    Notes
    -----
    - With ``quadratic`` the n-th attempt has 6 / (pi n)^2 of `alpha`: 61%, 15%, 7%, ... The shares
      add up to 1, so however many attempts there will be, what they spend never exceeds `alpha`,
      and by Boole's inequality that bounds the chance that any candidate that is no better passes,
      whatever the attempts have in common. It does not hold for a candidate that was made after
      looking at how others did on the very images that judge it.
    - Shares that fall like a power leave later attempts far more than those that halve each time
      (the tenth 0.6% of `alpha`, not 0.1%).

    References
    ----------
    Foster, Stine: Alpha-investing, J. R. Stat. Soc. B 70, 2008, for spending alpha on a sequence of
    tests. Tian, Ramdas: Online control of the familywise error rate, Stat. Methods Med. Res. 30,
    2021, for shares that add up to 1 over any number of tests.
    """
    return alpha if rule == "none" else alpha * 6 / (pi * attempt) ** 2

"""The score that a search compares trials by, as people read it."""

from dataclasses import dataclass
from math import isclose

from folds.config.scores import SCORES, TITLES, sign
from folds.config.selection import SelectBy
from folds.pages.scale import Scale
from tracking.formatting import SHARES, figure, interval
from tracking.summary_parts import Estimate

_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Measure:
    """How values of ``search_by`` are written.

    Parameters
    ----------
    search_by : str
        A score, or a sum of several, see `SelectBy`.

    Raises
    ------
    ValueError
        It is none.

    Notes
    -----
    A summary holds what is better when larger; a loss alone is therefore negative there, and is
    turned round for people.
    """

    search_by: str

    @property
    def _terms(self) -> tuple[tuple[float, str], ...]:
        return SelectBy.parse(self.search_by).terms

    @property
    def turn(self) -> int:
        """-1 of a loss alone, else 1."""
        ((weight, name), *others) = self._terms
        return 1 if others or weight != 1 else sign(name)

    @property
    def title(self) -> str:
        """Its name."""
        return TITLES.get(self.search_by, self.search_by)

    @property
    def is_share(self) -> bool:
        """Whether it lies between 0 and 1 and is written in per cent."""
        total = sum(weight for weight, _ in self._terms)
        return isclose(total, 1) and all(map(_is_share, (name for _, name in self._terms)))

    @property
    def key(self) -> str:
        """The score that `tracking.formatting` is to write it as."""
        return "accuracy" if self.is_share else "log_loss"

    @property
    def unit(self) -> str:
        """What differences are in, to go into brackets; empty if they have no unit."""
        return "points" if self.is_share else ""

    def turned(self, estimate: Estimate) -> Estimate:
        """An estimate as people know it."""
        if self.turn == 1:
            return estimate
        value, low, high = (
            None if end is None else -end for end in (estimate.value, estimate.high, estimate.low)
        )
        return Estimate(value=value, low=low, high=high)

    def value(self, score: float | None) -> str:
        """A score."""
        return figure(None if score is None else self.turn * score, self.key)

    def interval(self, estimate: Estimate) -> str:
        """The ends of its interval; empty where it has none."""
        return interval(self.turned(estimate), self.key)

    def ends(self, scale: Scale) -> tuple[str, str]:
        """What stands at the ends of an axis of scores as people know them."""
        return figure(scale.low, self.key), figure(scale.high, self.key)

    def difference(self, value: float | None) -> str:
        """A difference of two scores with its sign, in points or as it is."""
        if value is None:
            return figure(None)
        turned = self.turn * value
        text = f"{100 * turned:+z.1f}" if self.is_share else f"{turned:+z.3f}"
        return text.replace("-", _MINUS)

    def difference_interval(self, estimate: Estimate) -> str:
        """The ends of a difference's interval; empty where it has none."""
        turned = self.turned(estimate)
        if turned.low is None or turned.high is None:
            return ""
        return " to ".join(
            self.difference(self.turn * end).lstrip("+") for end in (turned.low, turned.high)
        )


def _is_share(name: str) -> bool:
    """Whether a score lies between 0 and 1; what is said of a corruption is its macro-F1."""
    last = name.rpartition(".")[2]
    return last in SHARES or last not in SCORES

"""``--adapt``: what is done to images, or to the network, where a table is unlike training's."""

from typing import Any

from folds.errors import UserError

KINDS = ("colour", "framing", "bn", "prior")
AUTO = "auto"


def check_adapt(given: Any) -> str:
    """Read ``--adapt``: none, auto, or kinds joined by ``+``, which come back in one order.

    Raises
    ------
    ValueError
        It is none of these.
    """
    text = str(given).strip()
    if text in ("none", AUTO):
        return text
    asked = {word.strip() for word in text.split("+")}
    if not asked or not asked <= set(KINDS):
        raise ValueError(f"use none, auto, or some of {', '.join(KINDS)} joined by +")
    return "+".join(kind for kind in KINDS if kind in asked)


def refuse_adapt(given: str | None) -> None:
    """Refuse an ``--adapt`` of a command line that is none.

    Raises
    ------
    UserError
        See `check_adapt`.
    """
    try:
        check_adapt("none" if given is None else given)
    except ValueError as error:
        raise UserError(f"--adapt {given}: {error}") from None


def asked_kinds(adapt: str) -> tuple[str, ...]:
    """The kinds that a checked ``--adapt`` names."""
    return {"none": (), AUTO: KINDS}.get(adapt, tuple(adapt.split("+")))

"""What the groups of settings have in common: they are frozen and know no other names."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Auto = Literal["auto"]


class Section(BaseModel):
    """A group of settings: frozen, and with no names but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

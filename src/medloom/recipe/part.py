"""What every table of a recipe is made of."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..ledger import Refusal

Share = Annotated[float, Field(gt=0, lt=1)]
Moment = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class RecipeError(Refusal):
    """A recipe that cannot be used: the message says where, why and what would mend it."""


class Part(BaseModel):
    """A table of the recipe: frozen, and closed to keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

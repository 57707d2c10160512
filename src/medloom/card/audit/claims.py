"""What a card states in numbers, each with the sentence or cell that it rests on."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from .document import Document
from .known import bare
from .quantity import quantity
from .tables import Table

Place = Literal["prose", "table", "front"]
_SHARED = frozenset(("tokens", "watts", "pue", "overhead", "intensity", "length", "context"))  # what variants of a model have in common
_MOST_RUNS = 100


@dataclass(frozen=True)
class Claim:
    """A number that the card states, in base units (tokens, kilograms, kWh, hours, watts): `half` a unit of its last printed place, where
    it stands, the passage, and the variant of the model that it is of ("" for the card's one model or all of them)."""

    kind: str
    value: float
    half: float
    printed: str
    place: Place
    quote: str
    start: int = 0
    variant: str = ""


@dataclass(frozen=True)
class Card:
    """A card as the laws see it. `claims` are those of one run: of all that the card says in common, or of one variant."""

    document: Document
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]
    variant: str = ""

    def of(self, kind: str, place: Place | None = None) -> list[Claim]:
        """Claims of a kind, in order."""
        return [claim for claim in self.claims if claim.kind == kind and place in (None, claim.place)]

    def values(self, kind: str, place: Place | None = None) -> list[float]:
        """Distinct values of a kind, in order."""
        return list(dict.fromkeys(claim.value for claim in self.of(kind, place)))

    def quote(self, kind: str, place: Place | None = None) -> str:
        """The passage of the first claim of a kind."""
        return next((claim.quote for claim in self.of(kind, place)), "")

    @cached_property
    def runs(self) -> tuple[Card, ...]:
        """One card for what is said in common and one for each variant, which takes from the common what it does not say itself."""
        common = [claim for claim in self.claims if not claim.variant]
        runs = [replace(self, claims=tuple(common))]
        for variant in dict.fromkeys(claim.variant for claim in self.claims if claim.variant):
            own = [claim for claim in self.claims if claim.variant == variant]
            kinds = {claim.kind for claim in own}
            if len(kinds) < 2 or len(runs) > _MOST_RUNS:
                continue
            own += _sized(variant) if "parameters" not in kinds else []
            shared = [claim for claim in common if claim.kind in _SHARED - kinds]
            runs.append(replace(self, claims=(*own, *shared), variant=variant))
        return tuple(runs)


def own_name(card: Card, names: tuple[str, ...]) -> str | None:
    """Which of the names is the card's own model: the longest that its title holds."""
    titles = [bare(title) for title in card.document.titles]
    held = [name for name in names if len(bare(name)) >= 4 and any(bare(name) in title for title in titles)]
    return max(held, key=len, default=None)


def _sized(variant: str) -> list[Claim]:
    """The parameters that a variant's name tells, "Llama 2 7B"."""
    found = re.search(r"(?<![\w.])(\d{1,4}(?:\.\d)?)\s?B\b", variant)
    read = quantity(found.group(1), "B") if found else None
    return [Claim("parameters", read.value, read.half, variant, "table", variant, 0, variant)] if read else []

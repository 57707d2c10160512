"""What the claims of a run come to: its tokens, weights, devices, hours and layout.

Where a card can be read in several ways, all are returned, and a law finds fault only where no reading holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from math import prod

from .claims import Card, Claim, Place
from .front import base_model
from .known import DEVICES, bare, base_parameters
from .patterns import MAKING, USING
from .tables import Table

CLOSE = 0.02  # rounded factors multiply to within this of a rounded product
_OF_TRAINING = re.compile(r"train|continu|corpus|adapt|combin|total", re.I)
_OF_BASE = re.compile(r"(?P<who>originally|initially|base model|which|llama[\w .-]{0,8}?|mistral[\w-]*|mixtral|qwen[\w.-]*|gemma[\w-]*|"
                      r"phi[\w-]*)[, ]+"
                      r"(?:was|were|is|has been|had been|itself)?\s?(?:already\s)?(?:pre-?)?trained (?:on|with|for)[^.]{0,40}$", re.I)
_EXPERTS = re.compile(r"mixture[- ]of[- ]experts|\bMoE\b|\b\d+x\d+(?:\.\d)?B\b|\bA\d+(?:\.\d)?B\b")
_ADAPTERS = re.compile(r"\bQ?(?:Lo|Do)RA\b|\bPEFT\b|\badapters?\b")
_DIMENSIONS = ("data", "tensor", "pipeline", "context_parallel")
_EIGHT_BITS = re.compile(r"\bfp8\b|\bfloat8\b", re.I)  # twice the peak
_MOST_READINGS = 64


@dataclass(frozen=True)
class Hours:
    """Device hours, how they are known, and the passage."""

    value: float
    how: str
    quote: str


@dataclass(frozen=True)
class Layout:
    """Ranks by dimension, as one place states them."""

    ranks: dict[str, float]

    @property
    def devices(self) -> float:
        """How many devices the layout takes."""
        return prod(self.ranks.values())

    def told(self) -> str:
        """data 2 x tensor 1 x pipeline 4."""
        return " x ".join(f"{name.removesuffix('_parallel')} {size:g}" for name, size in self.ranks.items())

    def sum(self) -> str:
        """2 x 1 x 4 = 8 devices."""
        return " x ".join(f"{size:g}" for size in self.ranks.values()) + f" = {self.devices:g} devices"


def agree(a: float, b: float, close: float = CLOSE) -> bool:
    """Whether two numbers are the same but for rounding."""
    return abs(a - b) <= close * max(abs(a), abs(b))


def prints_as(value: float, claim: Claim) -> bool:
    """Whether a product of rounded factors can be what a claim prints."""
    return agree(value, claim.value) or abs(value - claim.value) <= claim.half * (1 + 1e-9)


def listed(values: list[float]) -> str:
    """Numbers joined by "and"."""
    return " and ".join(f"{value:,.6g}" for value in values)


def training_tokens(card: Card) -> list[Claim]:
    """Readings of the tokens trained on, smallest first: labelled cells, else the largest number of each sentence about training that is
    neither of a part of the corpus nor of the base model."""
    labelled = card.of("tokens", "table")
    if labelled:
        return sorted(labelled, key=lambda claim: claim.value)
    by_sentence: dict[str, Claim] = {}
    for claim in card.of("tokens", "prose"):
        quote = claim.quote
        if _OF_TRAINING.search(quote) and not _of_a_part(quote) and not _of_base(card, claim):
            by_sentence[quote] = max(claim, by_sentence.get(quote, claim), key=lambda found: found.value)
    return sorted(by_sentence.values(), key=lambda claim: claim.value)


def _of_a_part(quote: str) -> bool:
    """Whether a sentence is a list's item about one source, "Replay data: 400M tokens of ...", or a dataset's own description."""
    label = re.match(r"\W*([A-Z][^.:]{2,60}):\s", quote)
    return label is not None and re.search(r"train|total|corpus|token|mixture", label.group(1), re.I) is None


def _of_base(card: Card, claim: Claim) -> bool:
    """Whether the tokens are those that the base model was made with."""
    found = _OF_BASE.search(card.document.prose[max(0, claim.start - 160) : claim.start])
    return found is not None and not any(bare(found["who"]) in bare(title) for title in card.document.titles)


def tokens_of_steps(card: Card) -> tuple[float, str] | None:
    """Tokens that the steps see, and the product, where each factor has one value."""
    steps, whole, length = card.values("steps"), card.values("global_batch"), lengths(card)
    if len(steps) == len(whole) == len(length) == 1:
        return steps[0] * whole[0] * length[0], f"{steps[0]:,.0f} steps x {whole[0]:g} x {length[0]:g}"
    return None


def lengths(card: Card) -> list[float]:
    """Readings of the length of a training row in tokens."""
    return card.values("length")


def weights(card: Card) -> tuple[float, str] | None:
    """The smallest reading of the weights that a token passes, and whence: as exactly as a named base model allows, only the active ones of
    a mixture of experts."""
    if _EXPERTS.search(card.document.text[:20000]):
        active = card.values("active")
        return (min(active), "active, as stated") if active else None
    stated = min(card.values("parameters", "table") or card.values("parameters"), default=None)
    base = base_model(card.document.front)
    if base is None:
        found = re.search(r"from(?: model:)?\s*\[?(?:base\s+)?([\w./-]*\d+(?:\.\d)?\s?B\b)", card.document.prose, re.I)
        base = found.group(1) if found else None
    exact = base_parameters(base) if base else None
    if exact is not None and base is not None and (stated is None or abs(exact / stated - 1) < 0.1):
        return float(exact), f"{bare(base.rpartition('/')[2])}, published"
    return None if stated is None else (stated, "as stated")


def passes(card: Card) -> tuple[int, str]:
    """FLOP for a weight and a token: 2 forward, 2 for the gradients of activations, 2 for those of weights, which frozen weights
    have not."""
    return (4, "4 x (weights frozen under adapters)") if _ADAPTERS.search(card.document.text) else (6, "6 x")


def peak(card: Card) -> tuple[str, float] | None:
    """The fastest device that the card names where it speaks of making the model, with its peak in TFLOP/s."""
    return _peak(card.document.prose, card.document.settings, card.tables, card.document.text)


@lru_cache(maxsize=2)  # every run of a card asks
def _peak(prose: str, settings: tuple[tuple[str, str], ...], tables: tuple[Table, ...], text: str) -> tuple[str, float] | None:
    lines = [line for line in re.split(r"\n|(?<=[.!?])\s", prose) if MAKING.search(line)]
    cells = [f"{label} {value}" for label, value in settings]
    cells += [" ".join(row) for table in tables[:100] for row in (table.header, *table.rows[:200])]
    for part in ("\n".join([*lines, *cells]), text):
        named = [name for name in DEVICES if re.search(rf"\b{re.escape(name)}s?\b", part)]
        if named:
            best = max(named, key=lambda name: DEVICES[name][0])
            eight = any(_EIGHT_BITS.search(line) for line in [*(line for line in lines if not USING.search(line)), *cells])
            return (f"{best} in 8 bits", 2 * DEVICES[best][0]) if eight else (best, DEVICES[best][0])
    return None


def devices(card: Card) -> list[float]:
    """Readings of the number of devices that trained: as stated, else the layout's."""
    return card.values("gpus") or [layout.devices for layout in layouts(card, "table")[:1] or layouts(card, "prose")[:1]]


def wall_hours(card: Card) -> list[float]:
    """Hours of the clock: those stated that are not device hours, as such or as devices times other hours."""
    hours, total = card.values("hours"), card.values("gpu_hours")
    products = [*total, *(g * h for g in card.values("gpus")[:20] if g > 1 for h in hours[:20])]
    return [value for value in hours if not any(agree(value, other) for other in products)]


def device_hours(card: Card) -> list[Hours]:
    """Readings of the device hours: as stated, else devices times hours."""
    stated = {claim.value: Hours(claim.value, "as stated", claim.quote) for claim in reversed(card.of("gpu_hours"))}
    if stated:
        return list(reversed(stated.values()))
    return [Hours(count * hours, f"{count:g} devices x {hours:g} h", card.quote("hours"))
            for count in devices(card)[:20] for hours in wall_hours(card)[:20]]


def layouts(card: Card, place: Place) -> list[Layout]:
    """Readings of the layout of one place: none where it names fewer than two dimensions."""
    stated = {name: card.values(name, place) for name in _DIMENSIONS}
    named = {name: values for name, values in stated.items() if values}
    if len(named) < 2:
        return []
    readings = islice(product(*named.values()), _MOST_READINGS)
    return [Layout(dict(zip(named, sizes, strict=True))) for sizes in readings]

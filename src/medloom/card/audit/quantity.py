"""Numbers as people print them: thousands, scales, units, and how finely they were rounded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite

# One group each. Fifteen digits are more than a card needs and few enough for a float to hold.
NUMBER = r"(?<![\w.,])(\d{1,3}(?:,\d{3}){1,4}(?:\.\d{1,9})?|\d{1,15}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,2})?)(?!\d|,\d{3})"
SCALE = r"\s?\+?\s?(trillion|billion|million|thousand|[TBMK])?\+?"

_SCALES = {"trillion": 1e12, "t": 1e12, "billion": 1e9, "b": 1e9, "million": 1e6, "m": 1e6, "thousand": 1e3, "k": 1e3}
_KILOGRAMS = {"kg": 1.0, "kilograms": 1.0, "g": 1e-3, "grams": 1e-3, "t": 1e3, "ton": 1e3, "tons": 1e3, "tonne": 1e3, "tonnes": 1e3,
              "lb": 0.45359237, "lbs": 0.45359237}
_KILOWATT_HOURS = {"wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6}
_WATTS = {"w": 1.0, "watt": 1.0, "watts": 1.0, "kw": 1e3}
_HOURS = {"hour": 1.0, "hours": 1.0, "hr": 1.0, "hrs": 1.0, "h": 1.0, "day": 24.0, "days": 24.0, "week": 168.0, "weeks": 168.0,
          "min": 1 / 60, "minutes": 1 / 60}
MASS = "|".join(sorted(_KILOGRAMS, key=len, reverse=True))
DURATION = "|".join(sorted(_HOURS, key=len, reverse=True))
_UNITS = {"carbon": _KILOGRAMS, "intensity": _KILOGRAMS, "kwh": _KILOWATT_HOURS, "watts": _WATTS, "hours": _HOURS}
_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORD = re.compile(rf"\b({'|'.join(_WORDS)}|sixteen|a single)\s+(?=(?:\S+\s){{0,3}}"
                   rf"(?:GPUs?|nodes?|RTX|TPUs?|[AHBLVT]\d{{1,3}}s?|epochs?|seeds|runs)\b)", re.I)


@dataclass(frozen=True)
class Quantity:
    """A number in base units, and half a unit of its last printed place."""

    value: float
    half: float


def quantity(digits: str, unit: str = "", kind: str = "") -> Quantity | None:
    """The number that digits and a scale or unit mean: kilograms, kWh, watts and hours for their kinds. None where it is none or not
    above zero."""
    bare = digits.replace(",", "")
    try:
        value = float(bare)
    except ValueError:
        return None
    mantissa, _, exponent = bare.lower().partition("e")
    half = 0.5 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    scale = _UNITS.get(kind, _SCALES).get(unit.lower(), 1.0)
    if kind == "length" and unit.lower() == "k":
        scale = 1024.0
    return Quantity(value * scale, half * scale) if isfinite(value) and value > 0 else None


def spelled(text: str) -> str:
    """Small numbers before machines, epochs and seeds in digits: "two nodes" is "2 nodes"."""
    def digits(found: re.Match[str]) -> str:
        word = found.group(1).lower()
        return f"{_WORDS.index(word) + 1 if word in _WORDS else 16 if word == 'sixteen' else 1} "

    return _WORD.sub(digits, text)

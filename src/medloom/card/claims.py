"""What a card states in numbers, found by tolerant patterns in its prose and by the labels of its tables.

A pattern asks for the words around a number, never for a place in the card. What no pattern knows is not audited: silence of the audit
proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..ledger import Refusal
from .known import PEAK_TFLOPS
from .tables import Table, from_html, split_tables

_N = r"(?<![\w.,])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)"
_SCALE = r"\s*(trillion|billion|million|thousand|[TBMK])?"
_SCALES = {"trillion": 1e12, "t": 1e12, "billion": 1e9, "b": 1e9, "million": 1e6, "m": 1e6, "thousand": 1e3, "k": 1e3, "": 1.0}
_DEVICES = "|".join(re.escape(name) for name in sorted(PEAK_TFLOPS, key=len, reverse=True))
_DEVICE = rf"(?:NVIDIA\s+|AMD\s+|Nvidia\s+)?(?:{_DEVICES})s?\b"
_TIMES = "[*x\u00d7]"
_GRAMS = {"kg": 1.0, "g": 1e-3, "t": 1e3, "ton": 1e3, "tons": 1e3, "tonne": 1e3, "tonnes": 1e3}
_CO2 = r"(?:of\s+)?CO_?2[\s-]*(?:equivalents?|eq|e)?\b"

# kind: patterns whose first group is the number; a second group, where there is one, its scale or unit.
_PROSE = {
    "tokens": (rf"{_N}{_SCALE}[\s-]*(?:training\s+)?tokens\b",),
    "parameters": (rf"{_N}{_SCALE}[\s-]*param(?:eter)?s?\b",),
    "gpu_hours": (rf"(?:GPU|{_DEVICES})[\s-]*hours?(?:\s*\([^)]*\))?\W{{0,6}}(?:is|of|was)?\s*{_N}{_SCALE}\b(?!\s*(?:x|nodes?|GPU))",
                  rf"{_N}{_SCALE}\s*(?:GPU|{_DEVICE}|device)[\s-]*(?:hours?|h)\b"),
    "hours": (rf"{_N}()\s*(?:hours?|hrs?|h)\b",),
    "watts": (rf"TDP\W{{0,3}}(?:of|is|:|=)?\s*{_N}()\s*W\b", rf"{_N}()\s*W(?:atts?)?\s*(?:TDP|per\s+(?:GPU|device|accelerator))"),
    "pue": (r"(?:PUE|power usage effectiveness)(?:\s*\(PUE\))?(?:,? a factor)?\s*(?:of|:|=|is|at|was)?\s*"
            rf"{_N}()(?!\s*(?:k?g|t|tons?|tonnes?)\b)",
            rf"{_TIMES}\s*{_N}()\s*\(?PUE\b"),
    "overhead": (rf"\boverhead(?:,? a factor)?\s*(?:factor)?\s*(?:of|:|=|is|was)?\s*{_N}()",),
    "intensity": (rf"{_N}\s*(k?g)\s*{_CO2}\s*(?:/|per)\s*kWh", rf"{_N}\s*(k?g)\s*(?:/|per)\s*kWh"),
    "carbon": (rf"{_N}\s*(kg|g|t|tons?|tonnes?)\s*{_CO2}(?!\s*(?:/|per)\s*kWh)",),
    "kwh": (rf"{_N}\s*([kM])Wh\b",),
    "data": (r"data[\s-]*parallel\w*[^.|]{0,110}?(?:of|=|:)\s*(\d+)()", r"(\d+)()[\s-]*way\s+data[\s-]*parallel",
             r"\bDP\s*(?:=|:|of|size)?\s*(\d+)()"),
    "tensor": (r"tensor[\s-]*parallel\w*[^.|]{0,110}?(?:of|=|:)\s*(\d+)()", r"(\d+)()[\s-]*way\s+tensor[\s-]*parallel",
               r"\bTP\s*(?:=|:|of|size)?\s*(\d+)()"),
    "pipeline": (r"pipeline[\s-]*parallel\w*[^.|]{0,110}?(?:of|=|:)\s*(\d+)()", r"(\d+)()[\s-]*way\s+pipeline[\s-]*parallel",
                 r"\bPP\s*(?:=|:|of|size)?\s*(\d+)()"),
    "global_batch": (rf"global[\s_-]*batch[\s_-]*size\s*(?:of|=|:|is|was)?\s*{_N}()(?!\s*[KMB]?\s*tokens)",),
    "micro_batch": (rf"micro[\s_-]*batch[\s_-]*size\s*(?:of|=|:|is|was)?\s*{_N}()",),
    "accumulation": (rf"gradient[\s_-]*accumulation(?:\s*steps)?\s*(?:of|=|:|is|was|over)?\s*{_N}()",),
    "steps": (rf"{_N}{_SCALE}\s+(?:training\s+|optimi[sz]er\s+|update\s+)?(?:steps|iterations)\b(?!\s*of\s+warm)",),
}
_LABELS = {
    "parameters": r"^(?:model size|(?:num(?:ber)?\.?(?: of)? )?param(?:eter)?s?(?: count)?)$",
    "tokens": r"^(?:(?:training |total |train )?tokens|(?:number of|num\.?) tokens)$",
    "data": r"^(?:dp|data[ -]parallel\w*)(?: (?:size|degree))?$",
    "tensor": r"^(?:tp|tensor[ -](?:model )?parallel\w*)(?: (?:size|degree))?$",
    "pipeline": r"^(?:pp|pipeline[ -](?:model )?parallel\w*)(?: (?:size|degree))?$",
    "global_batch": r"^(?:global|total) ?(?:train )?batch(?: size)?$",
    "micro_batch": r"^(?:micro|per[ -]device(?: train)?) ?batch(?: size)?$",
    "accumulation": r"^(?:gradient|grad) accumulation(?: steps)?$",
    "length": r"^(?:seq(?:uence)?|context) ?len(?:gth)?$",
    "steps": r"^(?:training |train |total )?(?:steps|iterations|iters)$",
    "warmup": r"^warm-?up (?:iterations?|steps?)$",
    "rate": r"^(?:lr|learning rate|peak lr|max lr)$",
    "last_rate": r"^(?:min(?:imum)?|final|end) ?(?:lr|learning rate)$",
    "gpus": r"^(?:gpus|num(?:ber)?\.?(?: of)? (?:gpus|devices|accelerators))$",
    "gpu_hours": r"^(?:total )?(?:gpu|device) ?-?hours$",
    "pue": r"^(?:pue|power usage effectiveness)(?:, a factor)?$",
    "overhead": r"^(?:node )?overhead(?:, a factor)?$",
    "watts": r"^(?:tdp|device power|watts)$",
}
_GPUS = re.compile(rf"(?:{_N}\s*nodes?\s*(?:of|with|each with|,|{_TIMES})?\s*(?:each\s*)?)?"
                   rf"{_N}\s*{_TIMES}?\s*(?:{_DEVICE}|GPUs?\b)(?![\s-]*(?:hours?|h)\b)", re.I)
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*#\[-])|\n+|\s(?=#{1,6} )|\s-\s(?=\*\*|[A-Z])")


@dataclass(frozen=True)
class Claim:
    """A number that the card states: in base units (tokens, kilograms, hours, watts), where, and the passage."""

    kind: str
    value: float
    printed: str
    place: str
    quote: str
    start: int = 0


@dataclass(frozen=True)
class Card:
    """A card as the audit sees it: whole text, prose without tables, tables, claims in their order."""

    text: str
    prose: str
    tables: tuple[Table, ...]
    claims: tuple[Claim, ...]

    def of(self, kind: str, place: str | None = None) -> list[Claim]:
        """Claims of a kind, in order; `place` is "prose" or "table"."""
        return [claim for claim in self.claims if claim.kind == kind and place in (None, claim.place)]

    def values(self, kind: str, place: str | None = None) -> list[float]:
        """Distinct values of a kind, in order."""
        return list(dict.fromkeys(claim.value for claim in self.of(kind, place)))

    def one(self, kind: str, place: str | None = None) -> float | None:
        """The first value of a kind."""
        return next(iter(self.values(kind, place)), None)


def read_card(path: Path) -> Card:
    """Read a card in Markdown, plain text or HTML. Raises Refusal where it is no text or empty."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror}); name a model card in Markdown, text or HTML") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: is not UTF-8 text; name a model card in Markdown, text or HTML") from None
    if not text.strip():
        raise Refusal(f"{path}: is empty; name a model card in Markdown, text or HTML")
    return parse_card(text)


def parse_card(text: str) -> Card:
    """Claims and tables of a card's text."""
    if re.search(r"<(?:html|body|table|p)\b", text, re.I):
        text = from_html(text)
    text = text.replace("₂", "2").replace("\u00a0", " ")
    prose, tables = split_tables(text)
    prose = re.sub(r"\[\^\w+\]", "", prose)
    prose = re.sub(r"(?<=[^\n])\n(?=[^\s\-*+#>|])(?!\d+\.)", " ", prose)
    prose = re.sub(r"\]\([^)\s]*\)", "]", prose)
    prose = re.sub(r"https?://\S+", " ", prose)
    prose = re.sub(r"[*`]{2,3}", "", prose)
    claims = [*_from_tables(tables), *sorted(_from_prose(prose), key=lambda claim: claim.start)]
    return Card(text, prose, tuple(tables), tuple(claims))


def sentence(prose: str, start: int) -> str:
    """The sentence around a place, for quoting and for the words that give a number its meaning."""
    begin, end = 0, len(prose)
    for cut in _SENTENCE.finditer(prose):
        if cut.end() <= start:
            begin = cut.end()
        elif cut.start() > start:
            end = cut.start()
            break
    return re.sub(r"\s+", " ", prose[begin:end]).strip()


def _from_prose(prose: str) -> Iterator[Claim]:
    for kind, patterns in _PROSE.items():
        seen: set[int] = set()
        for pattern in patterns:
            for found in re.finditer(pattern, prose, re.I):
                if found.start(1) in seen:
                    continue
                seen.add(found.start(1))
                value = _scaled(kind, found.group(1), found.group(2) or "")
                quote = sentence(prose, found.start(1))
                if _meant(kind, value, quote):
                    yield Claim(kind, value, found.group().strip(), "prose", quote, found.start(1))
    for found in _GPUS.finditer(prose):
        nodes, each = found.group(1), _float(found.group(2))
        count = each * (_float(nodes) if nodes else 1)
        yield Claim("gpus", count, found.group().strip(), "prose", sentence(prose, found.start()), found.start())


def _from_tables(tables: list[Table]) -> Iterator[Claim]:
    """Rows of two cells are a label and a value. So are a header and its only row."""
    for table in tables:
        rows = [row for row in ((table.header, *table.rows) if table.header else table.rows) if len(row) >= 2]
        if any(len(row) > 3 for row in rows):
            continue
        for row in rows:
            label = re.sub(r"[\s_]+", " ", row[0].lower()).strip(" :")
            for kind, pattern in _LABELS.items():
                found = re.match(rf"{_N}{_SCALE}\b", row[1])
                if found and re.match(pattern, label):
                    yield Claim(kind, _scaled(kind, found.group(1), found.group(2) or ""), row[1], "table", f"{row[0]} | {row[1]}")
            # Factors and sums stand in a value cell with their unit: "0.2 kWh", "480 gCO2e/kWh".
            for kind in ("intensity", "carbon", "kwh"):
                for pattern in _PROSE[kind]:
                    inside = re.match(pattern, row[1], re.I)
                    if inside:
                        yield Claim(kind, _scaled(kind, inside.group(1), inside.group(2)), row[1], "table", f"{row[0]} | {row[1]}")
                        break


def _meant(kind: str, value: float, quote: str) -> bool:
    """Whether a number in that sentence can be of that kind: hours of machines and not of patients, a factor and not a percentage."""
    if kind == "hours":
        return re.search(r"\b(?:GPUs?|devices?|nodes?|train|trained|training|wall|comput\w+|TDP)\b|" + _DEVICE, quote, re.I) is not None
    if kind in ("pue", "overhead"):
        return 1 <= value < 4
    if kind == "tokens":
        return value >= 1e6
    if kind == "parameters":
        return value >= 1e4
    return True


def _scaled(kind: str, digits: str, unit: str) -> float:
    value = _float(digits)
    if kind in ("carbon", "intensity"):
        return value * _GRAMS[unit.lower()]
    if kind == "kwh":
        return value * (1000 if unit == "M" else 1)
    if kind == "length" and unit.lower() == "k":
        return value * 1024
    return value * _SCALES[unit.lower()]


def _float(digits: str) -> float:
    return float(digits.replace(",", ""))

"""Laws of energy and carbon: device hours x watts x factors, each factor named once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product

from ..claims import Card, Claim
from ..finding import Finding
from ..known import DEVICES, DIRTIEST_GRID
from ..runs import agree, device_hours, devices, layouts, peak, prints_as, wall_hours

_MOST = 256  # readings
_UNITS = re.compile(r"\d[\d,.]{0,9}\s?k?W\s?/\s?\d[\d,.]{0,9}\s?k?W\s?/\s?kWh")
_Energy = tuple[float, str]  # kWh and the product they come from


def factors(card: Card) -> Iterator[Finding]:
    """Each factor has one value; a power usage effectiveness below 1 would be a machine room that makes power."""
    for kind, name in (("pue", "power usage effectiveness"), ("intensity", "grid intensity")):
        values = _distinct(card.of(kind))
        if len(values) > 1:
            yield Finding("carbon-factors", "error" if kind == "pue" else "warning",
                          f"The {name} is stated as {' and as '.join(f'{value:g}' for value in values)}.",
                          f"{values[-1]:g} / {values[0]:g} = {values[-1] / values[0]:.3g}: the emissions change by that factor",
                          "Name each factor once, and a node overhead by its own name.", card.quote(kind))
    for claim in card.of("pue"):
        if claim.value < 1:
            yield Finding("carbon-factors", "error", f"A power usage effectiveness of {claim.value:g} is below 1.",
                          f"{claim.value:g} < 1: the site would draw less than its machines", "State the site's energy over the machines'.",
                          claim.quote)


def units(card: Card) -> Iterator[Finding]:
    """A formula whose units do not come out as energy."""
    found = _UNITS.search(card.document.text)
    if found:
        yield Finding("units", "warning", f"The units of {found.group()!r} do not make an energy.",
                      "W / (W/kWh) = kWh without any time; multiplied by hours and by kg/kWh it gives kg x h",
                      "Write watts / 1000 x hours x devices = kWh.",
                      card.document.text[max(0, found.start() - 100) : found.end() + 60].strip())


def energy(card: Card) -> Iterator[Finding]:
    """Devices draw their stated power at most: the energy is no more than power times hours times the factors."""
    claims, computed = card.of("kwh"), _of_watts(card)
    if not claims or not computed:
        return
    pue, overhead = max(card.values("pue") or [1.0]), max(card.values("overhead") or [1.0])
    most = max(computed)
    top = most[0] * pue * overhead
    for claim in claims:
        if claim.value > 1.05 * top and not prints_as(top, claim):
            yield Finding("energy", "error",
                          f"{claim.value:,.6g} kWh are stated, and the stated power, hours and factors make {top:,.1f} at most.",
                          f"{most[1]}{_times(overhead, pue)} = {top:,.1f} kWh", "State energy, power and hours of the one run.",
                          claim.quote)


def identity(card: Card) -> Iterator[Finding]:
    """Emissions are energy x overhead x PUE x intensity, under every value that is stated."""
    claims, intensities, energies = _emitted(card), card.values("intensity"), _energies(card)
    if not claims or not intensities or not energies:
        return
    pues, overheads = card.values("pue") or [1.0], card.values("overhead") or [1.0]
    readings = list(islice(product(claims, energies, overheads, pues, intensities), _MOST))
    told = [(claim, kwh * overhead * pue * kg, pue, f"{how}{_times(overhead, pue)} x {kg:g} kg/kWh")
            for claim, (kwh, how), overhead, pue, kg in readings]
    # A factor may be in the energy already, or stated and left out of the sum.
    bare = [(claim, kwh * kg) for claim, (kwh, _), _, _, kg in readings if card.of("kwh")]
    hold = [entry for entry in told if prints_as(entry[1], entry[0])]
    if not hold and not any(prints_as(value, claim) for claim, value in bare):
        claim, value, _, how = told[0]
        yield Finding("carbon", "error", f"{claim.printed} are stated, and the stated factors give {_kg(value)}.",
                      f"{how} = {_kg(value)}", "Redo the product, or state the factor that is missing.", claim.quote)
    elif hold and len(pues) > 1:
        claim = hold[0][0]
        seen: set[float] = set()
        for entry in told:
            if entry[0] is claim and not prints_as(entry[1], claim) and entry[2] not in {held[2] for held in hold} | seen:
                seen.add(entry[2])
                others = "; ".join(f"PUE {held[2]:g} gives {_kg(held[1])}" for held in hold[:1])
                yield Finding("carbon", "error",
                              f"With the stated PUE of {entry[2]:g} the emissions are {_kg(entry[1])}, not {claim.printed}.",
                              f"{entry[3]} = {_kg(entry[1])}; {others}", "Use the PUE that is stated.", claim.quote)
    yield from _of_layout(card, max(claims, key=lambda found: found.value), intensities[0], overheads[0], pues)


def grid(card: Card) -> Iterator[Finding]:
    """Where no intensity is stated: the one that the emissions ask for, at the most power and the most overhead there is."""
    claims, hours, device = _emitted(card), device_hours(card), peak(card)
    if not claims or not hours or device is None or card.values("intensity") or card.values("kwh"):
        return
    watts = max(card.values("watts") or [DEVICES[device[0].removesuffix(" in 8 bits")][1]])
    most = max(hours, key=lambda found: found.value)
    kwh = most.value * watts / 1000
    claim = min(claims, key=lambda found: found.value)
    asked = claim.value / kwh
    factor = (max(card.values("pue") or [2.0])) * 2.0
    if asked > DIRTIEST_GRID * factor:
        yield Finding("carbon-range", "warning",
                      f"{_kg(claim.value)} for {most.value:,.1f} device hours ask for a grid of {asked:.3g} kg/kWh; no grid is so.",
                      f"{most.value:,.1f} h ({most.how}) x {watts:g} W / 1000 = {kwh:,.1f} kWh; {_kg(claim.value)} / {kwh:,.1f} kWh = "
                      f"{asked:.3g} kg/kWh",
                      "Check the unit of the emissions (g, kg or t) and of the hours.", claim.quote)


def _of_layout(card: Card, claim: Claim, intensity: float, overhead: float, pues: list[float]) -> Iterator[Finding]:
    """What the same factors give for the devices of a stated layout, where those differ from the devices reckoned with."""
    hours, counts, watts = wall_hours(card), devices(card), card.values("watts")
    found = layouts(card, "table") or layouts(card, "prose")
    if len(hours) != 1 or len(watts) != 1 or not found or not counts or any(agree(found[0].devices, count) for count in counts):
        return
    kwh = found[0].devices * hours[0] * watts[0] / 1000
    told = " or ".join(f"{_kg(kwh * overhead * pue * intensity)} at PUE {pue:g}" for pue in pues)
    yield Finding("carbon", "warning",
                  f"If the layout of {found[0].devices:g} devices is right, the emissions are {told}, not {claim.printed}.",
                  f"{found[0].devices:g} devices x {hours[0]:g} h x {watts[0]:g} W / 1000 = {kwh:,.1f} kWh; x {intensity:g} kg/kWh = "
                  f"{_kg(kwh * intensity)}, then x PUE", "Reckon energy on the devices that ran.", claim.quote)


def _emitted(card: Card) -> list[Claim]:
    """The emissions that text and tables state; the front matter's where they state none."""
    return [claim for claim in card.of("carbon") if claim.place != "front"] or card.of("carbon")


def _energies(card: Card) -> list[_Energy]:
    stated = [(kwh, f"{kwh:g} kWh") for kwh in card.values("kwh")]
    computed = [] if stated else _of_watts(card)
    if not stated and not computed:
        # A card of the Hub's template has hours and no count of devices: they are device hours.
        computed = [(hours * watts / 1000, f"{hours:g} h x {watts:g} W / 1000 = {hours * watts / 1000:,.1f} kWh")
                    for hours in card.values("hours") for watts in card.values("watts")]
    return [*stated, *computed]


def _of_watts(card: Card) -> list[_Energy]:
    return [(hours.value * watts / 1000, f"{watts:g} W x {hours.value:,.1f} h / 1000 = {hours.value * watts / 1000:,.1f} kWh")
            for hours in device_hours(card) for watts in card.values("watts")]


def _distinct(claims: list[Claim]) -> list[float]:
    """Values that differ by more than their rounding."""
    kept: list[Claim] = []
    for claim in claims:
        if not any(abs(claim.value - other.value) <= claim.half + other.half + 1e-12 for other in kept):
            kept.append(claim)
    return [claim.value for claim in kept]


def _times(overhead: float, pue: float) -> str:
    return (f" x overhead {overhead:g}" if overhead != 1 else "") + (f" x PUE {pue:g}" if pue != 1 else "")


def _kg(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.1f} t"
    return f"{value:.2f} kg" if value >= 0.1 else f"{1000 * value:.3g} g"



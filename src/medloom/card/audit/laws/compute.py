"""Laws of machines: work against time, layout against devices, batch against its parts, energy against carbon."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from .claims import Card, Claim
from .finding import Finding
from .known import PEAK_TFLOPS, UTILISATION, bare, base_parameters

CLOSE = 0.02  # rounded factors multiply to within this of a rounded product


def compute(card: Card) -> Iterator[Finding]:
    """The work, 6 N D, must fit into the stated device hours at no more than the peak, and in practice at no more than 70 % of it."""
    tokens, hours, peak = training_tokens(card), _device_hours(card), _peak(card)
    weights, whence = _parameters(card)
    if tokens is None or weights is None or peak is None or not hours:
        return
    device, tera = peak
    flops = 6 * weights * tokens.value
    for claim_hours, how, quote in hours:
        share = flops / (claim_hours * 3600 * tera * 1e12)
        least = flops / (tera * 1e12) / 3600
        sums = (f"6 x {weights:.4g} parameters ({whence}) x {tokens.value:.4g} tokens = {flops:.3g} FLOP; {claim_hours:,.1f} device hours "
                f"({how}) x {tera:g} TFLOP/s ({device}) = {claim_hours * 3600 * tera * 1e12:.3g} FLOP: utilisation {share:.0%}")
        if share > UTILISATION:
            word = "more than the devices can do" if share > 1 else "more than any published run has kept up"
            yield Finding("compute", "error",
                          f"The stated work would take {share:.0%} of the devices' peak for {claim_hours:,.1f} device hours: {word}.",
                          f"{sums}; at 100 % it would take {least:,.0f} device hours", _other_devices(card, flops, tera), quote)
        elif share < 0.02:
            yield Finding("compute", "note", f"The stated work uses only {share:.2%} of the devices' peak.", sums,
                          "Say what else the hours were spent on, or check tokens and hours.", quote)


def device_hours_agree(card: Card) -> Iterator[Finding]:
    """Device hours are devices times hours."""
    stated, devices, hours = card.of("gpu_hours"), card.values("gpus"), _wall_hours(card)
    for claim in stated[:1]:
        pairs = list(product(devices, hours))
        if pairs and len(hours) == 1 and not any(_agree(g * h, claim.value) for g, h in pairs):
            g, h = pairs[0]
            yield Finding("device-hours", "error",
                          f"{claim.value:,.1f} device hours are stated, and devices times hours is {g * h:,.1f}.",
                          f"{g:g} devices x {h:g} h = {g * h:,.1f}", "State devices and wall time whose product is the device hours.",
                          claim.quote)


def layout(card: Card) -> Iterator[Finding]:
    """Devices are data x tensor x pipeline ranks, and prose and table state one layout."""
    found = {place: _layout(card, place) for place in ("prose", "table")}
    known = {place: parts for place, parts in found.items() if parts is not None}
    if len(known) == 2 and found["prose"] != found["table"]:
        told = {place: " x ".join(f"{name} {size:g}" for name, size in parts.items()) for place, parts in known.items()}
        yield Finding("layout", "error", f"The prose states {told['prose']}, the table {told['table']}.",
                      "; ".join(f"{place}: {_factors(parts)}" for place, parts in known.items()),
                      "State the one layout that was run.", _quote(card, "data", "prose"))
    devices = card.values("gpus")
    for place, parts in known.items():
        size = _size(parts)
        if devices and not any(_agree(size * context, count) for count in devices for context in (1, *_replicas(card))):
            yield Finding("layout", "error", f"The layout of the {place} takes {size:g} devices, and {_listed(devices)} are stated.",
                          _factors(parts), f"Either the run had {size:g} devices, and device hours and energy must be reckoned on them, "
                          "or the layout was another.", _quote(card, "gpus", None))


def batch(card: Card) -> Iterator[Finding]:
    """A global batch is micro-batch x data-parallel ranks x accumulation, and steps x batch x length are the tokens."""
    whole, micro, stated = card.one("global_batch"), card.one("micro_batch"), card.one("accumulation")
    for place in ("prose", "table"):
        parts = _layout(card, place)
        if whole is None or micro is None or parts is None or "data" not in parts:
            continue
        once = micro * parts["data"]
        if whole % once:
            yield Finding("batch", "error",
                          f"A global batch of {whole:g} cannot be made of micro-batches of {micro:g} on {parts['data']:g} data ranks.",
                          f"{whole:g} / ({micro:g} x {parts['data']:g}) = {whole / once:.3g}, not a whole number of accumulation steps",
                          "Correct one of the three.", _quote(card, "global_batch", None))
        elif stated is not None and whole != once * stated:
            yield Finding("batch", "error",
                          f"Micro-batch, ranks and accumulation make a batch of {once * stated:g}, and {whole:g} is stated.",
                          f"{micro:g} x {parts['data']:g} x {stated:g} = {once * stated:g}",
                          "Correct one of the four.", _quote(card, "global_batch", None))
    tokens, length = training_tokens(card), card.one("length")
    if whole is None or length is None or tokens is None:
        return
    step = whole * length
    for claim in card.of("steps"):
        if not 0.95 <= claim.value * step / tokens.value <= 1.05:
            yield Finding("batch", "error",
                          f"{claim.value:,.0f} steps see {claim.value * step:.4g} tokens, and {tokens.value:.4g} are stated.",
                          f"{claim.value:,.0f} x {whole:g} x {length:g} = {claim.value * step:.4g}",
                          "Correct steps, batch, length or tokens.", claim.quote)
    warmup = card.one("warmup")
    if warmup is not None and warmup * step > 0.05 * tokens.value:
        yield Finding("schedule", "note", f"The warm-up takes {warmup * step / tokens.value:.1%} of the tokens.",
                      f"{warmup:g} x {whole:g} x {length:g} = {warmup * step:.4g} of {tokens.value:.4g} tokens; "
                      f"the run has {tokens.value / step:,.0f} steps",
                      "Check that the run was as long as the schedule was meant for.", _quote(card, "warmup", None))


def schedule(card: Card) -> Iterator[Finding]:
    """The last learning rate, where it is far below a tenth of the highest, is worth a second look."""
    first, last = card.one("rate"), card.one("last_rate")
    if first and last is not None and last < 0.05 * first:
        yield Finding("schedule", "note", f"The least learning rate, {last:g}, is {last / first:.2%} of the highest; a tenth is usual.",
                      f"{last:g} / {first:g} = {last / first:.4f}",
                      "Say whether the schedule was run to its end; if it was cut short, state the rate at which it stopped.",
                      _quote(card, "last_rate", None))


def carbon_factors(card: Card) -> Iterator[Finding]:
    """Each factor has one value, and power over an hour is energy."""
    for kind, name in (("pue", "power usage effectiveness"), ("intensity", "grid intensity")):
        values = card.values(kind)
        if len(values) > 1:
            yield Finding("carbon-factors", "error", f"The {name} is stated as {' and as '.join(f'{value:g}' for value in values)}.",
                          f"{values[-1]:g} / {values[0]:g} = {values[-1] / values[0]:.3g}: the sum changes by that factor",
                          "Name each factor once, and a node overhead by its own name.", _quote(card, kind, None))
    unit = re.search(r"\d[\d,.]*\s*k?W\s*/\s*\d[\d,.]*\s*k?W\s*/\s*kWh", card.text)
    if unit:
        yield Finding("units", "warning", f"The units of {unit.group()!r} do not make an energy.",
                      "W / (W/kWh) = kWh without any time; multiplied by hours and by kg/kWh it gives kg x h",
                      "Write watts / 1000 x hours x devices = kWh.", unit.group())


def carbon(card: Card) -> Iterator[Finding]:
    """kg of CO2 equivalent = device hours x watts / 1000 x overhead x PUE x intensity, under every value that is stated."""
    intensity, claims = card.one("intensity"), card.of("carbon")
    if intensity is None or not claims:
        return
    claim = max(claims, key=lambda found: found.value)
    factors = [1.0, *card.values("pue")] if not card.values("pue") else card.values("pue")
    overhead = card.one("overhead") or 1.0
    energies = [(kwh, f"{kwh:g} kWh") for kwh in card.values("kwh")]
    watts, hours = card.one("watts"), _device_hours(card)
    if watts is not None:
        energies += [(value * watts / 1000, f"{watts:g} W x {value:,.1f} h / 1000 = {value * watts / 1000:,.1f} kWh")
                     for value, _, _ in hours]
    if not energies:
        return
    sums = [(energy * overhead * pue * intensity, pue, told) for energy, told in energies for pue in factors]
    # A stated energy may have its factors in it already.
    bare_sums = [energy * intensity for energy, told in energies if told.endswith("kWh") and "=" not in told]
    extra = f" x overhead {overhead:g}" if overhead != 1 else ""
    if not any(_rounds_to(value, claim) for value in [*(kg for kg, _, _ in sums), *bare_sums]):
        kg, pue, told = sums[0]
        yield Finding("carbon", "error", f"{_kg(claim.value)} are stated, and the stated factors give {_kg(kg)}.",
                      f"{told}{extra} x PUE {pue:g} x {intensity:g} kg/kWh = {_kg(kg)}", "Redo the product.", claim.quote)
    elif len(card.values("pue")) > 1:
        for kg, pue, told in sums:
            if not _rounds_to(kg, claim):
                yield Finding("carbon", "error", f"With the stated PUE of {pue:g} the emissions are {_kg(kg)}, not {_kg(claim.value)}.",
                              f"{told}{extra} x PUE {pue:g} x {intensity:g} kg/kWh = {_kg(kg)}; "
                              + "; ".join(f"PUE {p:g} gives {_kg(k)}" for k, p, _ in sums if p != pue),
                              "Use the PUE that is stated.", claim.quote)
    yield from _carbon_of_layout(card, claim, watts, intensity, overhead, factors)


def _carbon_of_layout(card: Card, claim: Claim, watts: float | None, intensity: float, overhead: float,
                      factors: list[float]) -> Iterator[Finding]:
    """What the same factors give for the devices of the table's layout, where those differ from the devices reckoned with."""
    hours, devices = next(iter(_wall_hours(card)), None), card.values("gpus")
    parts = _layout(card, "table") or _layout(card, "prose")
    if watts is None or hours is None or parts is None or not devices or any(_agree(_size(parts), count) for count in devices):
        return
    size = _size(parts)
    kwh = size * hours * watts / 1000
    told = ", ".join(f"{_kg(kwh * overhead * pue * intensity)} at PUE {pue:g}" for pue in factors)
    yield Finding("carbon", "warning",
                  f"If the layout of {size:g} devices is right, the emissions are {told}, not {_kg(claim.value)}.",
                  f"{size:g} devices x {hours:g} h x {watts:g} W / 1000 = {kwh:,.1f} kWh", "Reckon energy on the devices that ran.",
                  claim.quote)


def training_tokens(card: Card) -> Claim | None:
    """The tokens trained on: a labelled table cell, else the largest number of tokens in a sentence about this model's training."""
    claims = card.of("tokens", "table") or [
        claim for claim in card.of("tokens", "prose")
        if re.search(r"train|continu|corpus|adapt|combin|total", claim.quote, re.I)
        and not re.search(r"context length|per step|per second|a second|tokens/s|batch of|base model was|originally", claim.quote, re.I)]
    return max(claims, key=lambda claim: claim.value, default=None)


def _parameters(card: Card) -> tuple[float | None, str]:
    """Weights, as exactly as the card allows: the count of the base that it names where that rounds to the size it states."""
    stated = max(card.values("parameters", "table") or card.values("parameters"), default=None)
    named = (re.search(r"base_model:\s*[\"'\[-]*\s*([\w./-]+)", card.text)
             or re.search(r"from(?: model:)?\s*\[?(?:base\s+)?([\w./-]*\d+\s?B\b)", card.prose, re.I))
    exact = base_parameters(named.group(1)) if named else None
    if exact is not None and (stated is None or abs(exact / stated - 1) < 0.1):
        return float(exact), f"{bare(named.group(1).rpartition('/')[2]) if named else ''}, published"
    return stated, "as stated"


def _peak(card: Card) -> tuple[str, float] | None:
    named = [name for name in PEAK_TFLOPS if re.search(rf"\b{re.escape(name)}(?:s\b|\b)", card.text)]
    best = max(named, key=PEAK_TFLOPS.__getitem__, default=None)
    return None if best is None else (best, PEAK_TFLOPS[best])


def _device_hours(card: Card) -> list[tuple[float, str, str]]:
    """Device hours with how they are known and the passage: as stated, else devices times hours."""
    stated = [(claim.value, "as stated", claim.quote) for claim in card.of("gpu_hours")]
    if stated:
        return stated[:1]
    devices, wall = card.one("gpus"), _wall_hours(card)
    if devices is None or not wall:
        return []
    hours = wall[0]
    return [(devices * hours, f"{devices:g} devices x {hours:g} h", _quote(card, "hours", None))]


def _wall_hours(card: Card) -> list[float]:
    """Hours of the clock: those stated that are not device hours, as such or as devices times other hours."""
    hours, total = card.values("hours"), card.values("gpu_hours")
    products = [*total, *(g * h for g in card.values("gpus") if g > 1 for h in hours)]
    return [value for value in hours if not any(_agree(value, other) for other in products)]


def _other_devices(card: Card, flops: float, tera: float) -> str:
    """What would make work and time agree: the devices of a stated layout, where their share of the peak is possible."""
    hours = next(iter(_wall_hours(card)), None)
    for place in ("table", "prose"):
        parts = _layout(card, place)
        if parts is None or hours is None:
            continue
        size = _size(parts)
        share = flops / (size * hours * 3600 * tera * 1e12)
        if 0.02 < share <= UTILISATION:
            return (f"The {place}'s layout of {size:g} devices for {hours:g} h makes {size * hours:,.1f} device hours "
                    f"and a utilisation of {share:.1%}: state those, if they are what ran.")
    return "State the devices, hours, tokens and parameters of the one run."


def _layout(card: Card, place: str) -> dict[str, float] | None:
    """Ranks by dimension as one place states them; None where it names fewer than two."""
    parts = {name: value for name in ("data", "tensor", "pipeline") if (value := card.one(name, place)) is not None}
    return parts if len(parts) >= 2 else None


def _replicas(card: Card) -> list[float]:
    """Where the layout leaves out the data dimension, devices may be any multiple that the data ranks fill."""
    stated = [parts for place in ("prose", "table") if (parts := _layout(card, place)) is not None]
    if any("data" not in parts for parts in stated):
        return [count / _size(parts) for parts in stated for count in card.values("gpus") if count % _size(parts) == 0]
    return []


def _size(parts: dict[str, float]) -> float:
    size = 1.0
    for value in parts.values():
        size *= value
    return size


def _factors(parts: dict[str, float]) -> str:
    return " x ".join(f"{value:g}" for value in parts.values()) + f" = {_size(parts):g} devices"


def _quote(card: Card, kind: str, place: str | None) -> str:
    return next((claim.quote for claim in card.of(kind, place)), "")


def _agree(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * max(abs(a), abs(b))


def _rounds_to(value: float, claim: Claim) -> bool:
    """Whether a product of rounded factors can be what was printed."""
    return _agree(value, claim.value)


def _listed(values: list[float]) -> str:
    return " and ".join(f"{value:g}" for value in values)


def _kg(value: float) -> str:
    return f"{value:.2f} kg" if value >= 0.1 else f"{1000 * value:.3g} g"


LAWS = (compute, device_hours_agree, layout, batch, schedule, carbon_factors, carbon)

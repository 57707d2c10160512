"""Laws of work against time: what the devices can do in the hours that are stated."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..claims import Card
from ..finding import Finding
from ..known import UTILISATION
from ..runs import (
    Hours,
    agree,
    device_hours,
    devices,
    layouts,
    listed,
    passes,
    peak,
    tokens_of_steps,
    training_tokens,
    wall_hours,
    weights,
)

_TUNING = re.compile(r"(?:fine-?tun|instruct|\bSFT\b|\bLoRA|\balign|\bDPO\b|RLHF|distil|evaluat)", re.I)
_MORE_RUNS = re.compile(r"includ|ablation|failed|restart|experiments|in all\b|altogether", re.I)
_LEAST = 0.01  # below this share of the peak the hours went elsewhere
_ATTENTION = 1.45  # attention's FLOP, which 6 N D leaves out, and other ways to count move a utilisation by less than this


def compute(card: Card) -> Iterator[Finding]:
    """The least work that the card can mean, in the most hours, on the fastest device that it names."""
    work, hours, device = _work(card), _of_the_same(card, device_hours(card)), peak(card)
    if work is None or device is None or not hours:
        return
    flops, told = work
    most = max(hours, key=lambda found: found.value)
    share = _share(flops, most.value, device[1])
    sums = f"{told} = {flops:.3g} FLOP; {_able(most, device)}: utilisation {share:.0%}"
    if share > UTILISATION:
        word = "more than the devices can do" if share > 1 else "more than any published run has kept up"
        yield Finding("compute", "error",
                      f"The stated work would take {share:.0%} of the devices' peak for {most.value:,.1f} device hours: {word}.",
                      f"{sums}; at 100 % it would take {flops / (device[1] * 1e12) / 3600:,.0f} device hours",
                      _other_devices(card, flops, device[1]), most.quote)
    elif share < _LEAST and len(training_tokens(card)) == 1 and len(hours) == 1:
        yield Finding("compute", "note", f"The stated work uses only {share:.2%} of the devices' peak.",
                      sums.replace(f"{share:.0%}", f"{share:.2%}"),
                      "Say what else the hours were spent on, or check tokens and hours.", most.quote)


def utilisation(card: Card) -> Iterator[Finding]:
    """A stated utilisation that cannot be, or that its own factors contradict."""
    work, hours, device = _work(card), device_hours(card), peak(card)
    for claim in card.of("utilisation"):
        if claim.value > 100 * UTILISATION:
            yield Finding("utilisation", "error", f"A utilisation of {claim.value:g} % is more than any published run has kept up.",
                          f"{claim.value:g} % > {UTILISATION:.0%}", "Say of which peak and by which count of FLOP it is.", claim.quote)
        elif work and device and len(hours) == 1 and len(training_tokens(card)) == 1:
            share = 100 * _share(work[0], hours[0].value, device[1])
            if not 1 / _ATTENTION < share / claim.value < _ATTENTION:
                yield Finding("utilisation", "warning",
                              f"A utilisation of {claim.value:g} % is stated, and the stated work makes it {share:.1f} %.",
                              f"{work[1]} = {work[0]:.3g} FLOP; {_able(hours[0], device)}: {share:.1f} %",
                              "State the tokens, hours and devices of the run that the utilisation is of.", claim.quote)


def throughput(card: Card) -> Iterator[Finding]:
    """Tokens per second times seconds, of all devices or of one."""
    rates, tokens, hours = card.of("throughput"), training_tokens(card), wall_hours(card)
    if not (len(rates) == len(tokens) == len(hours) == 1):
        return
    rate, seen = rates[0], rates[0].value * hours[0] * 3600
    if any(agree(seen * count, tokens[0].value, 0.25) for count in (1.0, *devices(card))):
        return
    yield Finding("throughput", "warning", f"The stated throughput makes {seen:.3g} tokens, and {tokens[0].value:.3g} are stated.",
                  f"{rate.value:,.0f} tokens/s x {hours[0]:g} h x 3600 s/h = {seen:.3g} tokens",
                  "State throughput, hours and tokens of one run, and whether the throughput is of one device or of all.", rate.quote)


def device_hours_agree(card: Card) -> Iterator[Finding]:
    """Device hours are devices times hours, under some reading of each."""
    stated, counts, hours = card.of("gpu_hours"), devices(card), wall_hours(card)
    if not stated or not counts or len(hours) != 1:
        return
    pairs = [(claim, count) for claim in stated for count in counts]
    if any(_MORE_RUNS.search(claim.quote) for claim in stated):
        return
    if any(agree(count * hours[0], claim.value) for claim, count in pairs) or any(agree(hours[0], claim.value) for claim in stated):
        return
    claim, count = pairs[0]
    yield Finding("device-hours", "error",
                  f"{claim.value:,.1f} device hours are stated, and devices times hours is {count * hours[0]:,.1f}.",
                  f"{count:g} devices x {hours[0]:g} h = {count * hours[0]:,.1f}",
                  "State devices and wall time whose product is the device hours.", claim.quote)


def size(card: Card) -> Iterator[Finding]:
    """12 L d^2 is the bulk of a dense transformer's weights; wide feed-forward layers and large vocabularies add less than threefold."""
    layers, width, stated = card.values("layers"), card.values("width"), card.values("parameters")
    found = weights(card)
    if len(layers) != 1 or len(width) != 1 or len(stated) != 1 or found is None or found[1].startswith("active"):
        return
    bulk = 12 * layers[0] * width[0] ** 2
    most = 3 * bulk + 2 * 256_000 * width[0]
    if not bulk / 3 < stated[0] < most:
        yield Finding("size", "warning", f"{layers[0]:g} layers of width {width[0]:g} do not make {stated[0]:.3g} parameters.",
                      f"12 x {layers[0]:g} x {width[0]:g}^2 = {bulk:.3g}, and {stated[0]:.3g} are stated",
                      "Check the sizes: they may be those of another variant.", card.quote("layers"))


def _of_the_same(card: Card, hours: list[Hours]) -> list[Hours]:
    """Without the hours of finetuning, where the tokens are those of pretraining."""
    tokens = training_tokens(card)
    if not tokens or _TUNING.search(tokens[0].quote):
        return hours
    return [found for found in hours if not _TUNING.search(found.quote)]


def _work(card: Card) -> tuple[float, str] | None:
    """FLOP of the least reading, and the product."""
    found, tokens = weights(card), training_tokens(card)
    if found is None:
        return None
    if tokens:
        seen, told = tokens[0].value, f"{tokens[0].value:.4g} tokens"
    else:
        steps = tokens_of_steps(card)
        if steps is None:
            return None
        seen, told = steps[0], f"({steps[1]} = {steps[0]:.4g} tokens)"
    factor, how = passes(card)
    return factor * found[0] * seen, f"{how} {found[0]:.4g} parameters ({found[1]}) x {told}"


def _share(flops: float, hours: float, tera: float) -> float:
    return flops / (hours * 3600 * tera * 1e12)


def _able(hours: Hours, device: tuple[str, float]) -> str:
    return (f"{hours.value:,.1f} device hours ({hours.how}) x 3600 s/h x {device[1]:g} TFLOP/s ({device[0]}) = "
            f"{hours.value * 3600 * device[1] * 1e12:.3g} FLOP")


def _other_devices(card: Card, flops: float, tera: float) -> str:
    """What would make work and time agree: the devices of a stated layout, where their share of the peak is possible."""
    hours = wall_hours(card)
    for place in ("table", "prose"):
        for layout in layouts(card, "table" if place == "table" else "prose")[:1] if len(hours) == 1 else ():
            share = _share(flops, layout.devices * hours[0], tera)
            if _LEAST < share <= UTILISATION:
                return (f"The {place}'s layout of {layout.devices:g} devices for {hours[0]:g} h makes {layout.devices * hours[0]:,.1f} "
                        f"device hours and a utilisation of {share:.1%}: state those, if they are what ran.")
    counts = devices(card)
    return "State the devices, hours, tokens and parameters of the one run" + (f"; {listed(counts)} devices are stated." if counts else ".")

"""Laws of batches and schedules: a batch is made of its parts, steps of batches, and the run is longer than its warm-up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice, product
from math import log, prod

from ..claims import Card
from ..finding import Finding
from ..runs import agree, lengths, listed, training_tokens

_MOST = 256  # readings
_CLOSE = 0.05  # tokens are rounded, the last batch is dropped
_UNPACKED = re.compile(r"instruct|chat|supervised|\bSFT\b|finetun|fine-tun|LoRA|\bDPO\b", re.I)
_FIRST_STAGE = re.compile(r"pre-?train", re.I)
_LONG_WARMUP = 0.10  # of the steps


def batch(card: Card) -> Iterator[Finding]:
    """A global batch is micro-batch x data ranks x accumulation, under some reading of each."""
    whole, micro = card.values("global_batch"), card.values("micro_batch")
    bare = card.values("train_batch")  # per device in the trainer's cards, of all devices in DeepSpeed's files
    whole, micro = whole or (bare if micro else []), micro or (bare if whole else [])
    stated, steps = card.values("data"), card.values("accumulation")
    if not whole or not micro:
        return
    readings = list(islice(product(whole, micro, stated or [0.0], steps or [0.0]), _MOST))
    made = [reading for reading in readings if _made(*reading)]
    if made and not stated and steps:
        yield from _ranks(card, made)
    if made:
        return
    total, part, ranks, times = readings[0]
    factors = [part, *(value for value in (ranks, times) if value)]
    names = ["micro-batch", *(name for name, value in (("data ranks", ranks), ("accumulation", times)) if value)]
    whole_made = prod(factors)
    told = " x ".join(f"{factor:g}" for factor in factors)
    if ranks and times:
        yield Finding("batch", "error", f"Micro-batch, ranks and accumulation make a batch of {whole_made:g}, and {total:g} is stated.",
                      f"{told} = {whole_made:g}", "Correct one of the four.", card.quote("global_batch") or card.quote("train_batch"))
    else:
        yield Finding("batch", "error", f"A global batch of {total:g} cannot be made of {_and(names)} {_and([f'{f:g}' for f in factors])}.",
                      f"{total:g} / ({told}) = {total / whole_made:.4g}, not a whole number", f"Correct the batch or its {_and(names)}.",
                      card.quote("global_batch") or card.quote("train_batch"))


def _ranks(card: Card, readings: list[tuple[float, float, float, float]]) -> Iterator[Finding]:
    """Data ranks that a batch asks for fill the devices that are stated, once or by groups."""
    counts = card.values("gpus")
    asked = [(total / (part * times), f"{total:g} / ({part:g} x {times:g})") for total, part, _, times in readings]
    if counts and not any(count % ranks == 0 for count in counts for ranks, _ in asked):
        ranks, told = asked[0]
        yield Finding("batch", "error", f"The batch takes {ranks:g} data ranks, and {listed(counts)} devices are stated.",
                      f"{told} = {ranks:g}",
                      "Correct the batch, its parts or the devices.", card.quote("global_batch") or card.quote("train_batch"))


def steps(card: Card) -> Iterator[Finding]:
    """Steps x batch x length are the tokens, seen as often as there are epochs. Rows that are padded hold fewer, and of several stages
    the steps may be of another than the tokens."""
    tokens, sizes = training_tokens(card), _tokens_a_step(card)
    if not tokens or not sizes or not card.of("steps"):
        return
    epochs = [1.0, *card.values("epochs")]
    readings = list(islice(product(card.of("steps"), sizes, tokens, epochs), _MOST))
    if any(agree(claim.value * size, seen.value * times, _CLOSE) for claim, (size, _), seen, times in readings):
        return
    claim, (size, told), seen, _ = min(readings, key=lambda reading: abs(log(reading[0].value * reading[1][0] / reading[2].value)))
    made = claim.value * size
    tuned = _UNPACKED.search(card.document.prose) is not None
    staged = tuned and _FIRST_STAGE.search(card.document.prose) is not None
    if tuned and staged != (made > seen.value):
        return
    yield Finding("steps", "warning" if staged else "error",
                  f"{claim.value:,.0f} steps see {made:.4g} tokens, and {seen.value:.4g} are stated.",
                  f"{claim.value:,.0f} x {told} = {made:.4g}; {seen.value:.4g} tokens would be {seen.value / size:,.0f} steps",
                  "Correct steps, batch, length or tokens; or say how often the tokens were seen.", claim.quote)


def schedule(card: Card) -> Iterator[Finding]:
    """A warm-up that is longer than the run, or much of it; a last learning rate above the first, or far below it."""
    warmup, sizes, tokens = card.values("warmup"), _tokens_a_step(card), training_tokens(card)
    stated = card.values("steps")
    runs = [(count, f"{count:,.0f} steps") for count in stated]
    if not runs and len(tokens) == 1 and len(sizes) == 1:
        count = tokens[0].value / sizes[0][0]
        runs = [(count, f"{tokens[0].value:.4g} tokens / ({sizes[0][1]}) = {count:,.0f} steps")]
    if len(warmup) == 1 and runs:
        count, told = max(runs)
        share = warmup[0] / count
        if share > _LONG_WARMUP:
            yield Finding("schedule", "error" if share > 1 else "note",
                          f"The warm-up takes {share:.1%} of the run.", f"{told}; {warmup[0]:g} / {count:,.0f} = {share:.1%}",
                          "Check that the run was as long as the schedule was meant for.", card.quote("warmup"))
    first, last = card.values("rate"), card.values("last_rate")
    if len(first) == 1 and len(last) == 1:
        yield from _last_rate(card, first[0], last[0])


def _last_rate(card: Card, first: float, last: float) -> Iterator[Finding]:
    if last > first:
        yield Finding("schedule", "error", f"The last learning rate, {last:g}, is above the highest, {first:g}.", f"{last:g} > {first:g}",
                      "Correct one of the two.", card.quote("last_rate"))
    elif last < 0.05 * first:
        yield Finding("schedule", "note", f"The least learning rate, {last:g}, is {last / first:.2%} of the highest; a tenth is usual.",
                      f"{last:g} / {first:g} = {last / first:.4f}",
                      "Say whether the schedule was run to its end; if it was cut short, state the rate at which it stopped.",
                      card.quote("last_rate"))


def _tokens_a_step(card: Card) -> list[tuple[float, str]]:
    """Readings of the tokens of one step, with their product."""
    stated = [(value, f"{value:.4g} tokens a step") for value in card.values("batch_tokens")]
    return stated or [(whole * length, f"{whole:g} x {length:g}") for whole in card.values("global_batch") for length in lengths(card)]


def _made(total: float, part: float, ranks: float, times: float) -> bool:
    """Whether the parts make the batch; parts that are not stated (0) may be any whole number."""
    made = part * (ranks or 1) * (times or 1)
    return total == made if ranks and times else total % made == 0


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"

"""Laws of one truth: what a card says in two places is the same."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

from ..benchmarks import named
from ..claims import Card, Claim
from ..finding import Finding
from ..known import CORPORA
from ..runs import agree, training_tokens
from ..scores import Score, results

_ONCE = {"global_batch": "global batch", "micro_batch": "micro-batch", "accumulation": "gradient accumulation", "rate": "learning rate",
         "warmup": "warm-up", "epochs": "number of epochs", "length": "sequence length", "steps": "number of steps"}
_STAGE = re.compile(r"fine-?tun|\bSFT\b|instruct|LoRA|\bstage|\bphase|ablation|evaluat|annealing", re.I)  # one of several runs, perhaps
_FIRST_STAGE = re.compile(r"pre-?train|continu", re.I)
_SCORE = re.compile(r"\b(\d{1,2}\.\d{1,3})\s?%?\s(?:accuracy\s)?on\b|\baccuracy\sof\s(\d{1,2}\.\d{1,3})\s?%?", re.I)
_OTHERWISE = re.compile(r"improv|gain|increase|points|over\b|compared|than|previous|chain|\bCoT\b|shot|self-consist|ensembl|prompt|drop|"
                        r"by\s\d|F1|\u00b1", re.I)


def settings(card: Card) -> Iterator[Finding]:
    """A setting that prose and table state once each, a size that title and table state, emissions of front matter and text."""
    for kind, name in _ONCE.items():
        prose, table = card.values(kind, "prose"), card.values(kind, "table")
        if _STAGE.search(card.quote(kind, "prose")) and _FIRST_STAGE.search(card.document.prose):
            continue
        if len(prose) == len(table) == 1 and not agree(prose[0], table[0], 0.001):
            yield Finding("agreement", "warning", f"The {name} is {prose[0]:g} in the prose and {table[0]:g} in a table.",
                          f"{prose[0]:g} / {table[0]:g} = {prose[0] / table[0]:.3g}", "State the one that was run, or name the stages.",
                          card.quote(kind, "prose"))
    yield from _size(card)
    yield from _emissions(card)


def _size(card: Card) -> Iterator[Finding]:
    sizes = {float(found) for title in card.document.titles for found in re.findall(r"(?<![\w.x])(\d{1,4}(?:\.\d{1,2})?)\s?B\b", title)}
    stated = [claim for claim in card.of("parameters", "table") if not claim.variant]
    if len(sizes) == 1 and len({claim.value for claim in stated}) == 1:
        title = sizes.pop()
        if not 0.7 < stated[0].value / (title * 1e9) < 1.43:
            yield Finding("agreement", "warning", f"The title says {title:g}B parameters, the table {stated[0].printed}.",
                          f"{stated[0].value:.3g} / {title:g}e9 = {stated[0].value / (title * 1e9):.3g}", "State the size of this model.",
                          stated[0].quote)


def _emissions(card: Card) -> Iterator[Finding]:
    front = card.of("carbon", "front")
    others = [claim for claim in card.of("carbon") if claim.place != "front"]
    if not front or not others or any(agree(front[0].value, claim.value, 0.05) for claim in others):
        return
    near = min(others, key=lambda claim: abs(claim.value - front[0].value))
    thousand = agree(1000 * front[0].value, near.value, 0.05)
    yield Finding("agreement", "warning", f"The front matter says {front[0].value:g} kg of CO2 equivalent, the text {near.value:g} kg.",
                  f"{near.value:g} / {front[0].value:g} = {near.value / front[0].value:.3g}",
                  "The front matter's emissions are grams: multiply by 1000." if thousand else "State one figure.", near.quote)


def validation_tokens(card: Card) -> Iterator[Finding]:
    """Tokens held out for validation are no tokens trained on: by the card's own numbers, or by those that its corpus was
    published with."""
    for total in training_tokens(card):
        if re.search(r"validation|held-?out", total.quote, re.I):
            continue
        found = _own_split(card, total) or _published_split(card, total)
        if found is not None:
            yield Finding("validation-tokens", "warning", *found, total.quote)
            return


def _own_split(card: Card, total: Claim) -> tuple[str, str, str] | None:
    for held in card.of("validation_tokens"):
        for part in card.of("tokens"):
            slack = total.half + held.half + part.half
            if part.value < total.value and abs(part.value + held.value - total.value) <= slack and held.value > slack:
                return (f"{total.value:.4g} tokens are said to be trained on, and {held.value:.4g} of them are held out.",
                        f"{part.value:.4g} + {held.value:.4g} = {total.value:.4g}", f"Say {part.value:.4g} tokens of training.")
    return None


def _published_split(card: Card, total: Claim) -> tuple[str, str, str] | None:
    for corpus in CORPORA:
        whole = corpus.training + corpus.validation
        if re.search(corpus.pattern, card.document.prose) and abs(total.value - whole) <= total.half + 1e-3 * whole:
            name = re.search(corpus.pattern, card.document.prose)
            return (f"The {total.value / 1e9:g}B tokens of {name.group() if name else 'the corpus'} include the validation split: "
                    f"{corpus.training / 1e9:g}B are for training.",
                    f"{corpus.training / 1e9:g}B training + {corpus.validation / 1e9:g}B validation = {whole / 1e9:.4g}B ({corpus.source})",
                    f"Say {corpus.training / 1e9:g}B tokens of training and {corpus.validation / 1e9:g}B held out.")
    return None


def scores(card: Card) -> Iterator[Finding]:
    """A sentence that gives one score on one benchmark gives one that the tables have for it."""
    tables = results(card)
    for found in islice(_SCORE.finditer(card.document.prose), 300):
        quote = card.document.sentence(found.start())
        asked = named(quote)
        if len(asked) != 1 or _OTHERWISE.search(quote) or len(re.findall(r"\d+\.\d+", quote)) != 1:
            continue
        said = float(found.group(1) or found.group(2))
        cells = [(label, model, score) for table in tables for label, known in table.known.items() if known.questions == asked[0]
                 for model, score in table.rows[label].items()]
        if cells and not any(_same(said, score) for _, _, score in cells):
            yield Finding("scores-agree", "warning", f"The prose gives {said:g} on {cells[0][0]}, which no table has for it.",
                          ", ".join(f"{model} {score.printed}" for _, model, score in cells[:8]),
                          "Correct one of the two, or name the mode of the other.", quote)


def _same(said: float, score: Score) -> bool:
    return abs(said - score.value) <= score.half + 0.05

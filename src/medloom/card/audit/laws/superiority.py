"""Laws of claims: what is said to be better must be shown so by the card's own scores, and the scores be those of the card's own file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import erfc, sqrt

from ...words import LEVEL
from ..benchmarks import named
from ..claims import Card, own_name
from ..finding import Finding
from ..known import bare
from ..scores import Results, Score, results

_BETTER = re.compile(r"\b(?:outperform(?:s|ed|ing)?|surpass(?:es|ed|ing)?|exceed(?:s|ed|ing)?|beats?|superior to|"
                     r"(?:better|higher) (?:\w+ ){0,3}?than)\b", re.I)
_CLAUSE = re.compile(r";|,?\s(?:but|while|whereas|although|though|however)\b|"
                     r"\band\s+(?:is|are|was|were|performs?|matches|comes|achieves?|remains?)\b|"
                     r"\b(?:comparable|on par|close to|similar to|within)\b", re.I)
_UNSAID = re.compile(r"\b(?:no|none|neither|nowhere)\b|\b(?:not(?! only)|never|cannot|without|whether|if)\b[^.]{0,45}$|"
                     r"\b(?:may|might|could|should|aims? to|can|fails? to)\b[^.]{0,20}$|n't\s\w*$", re.I)
_OURS = re.compile(r"\b(?:our (?:\w+ )?models?|the model|this model|it|we)\b", re.I)
_ALL = re.compile(r"\b(?:all|every)\s(?:of the\s)?(?:other\s)?(?:models?|baselines?)\b", re.I)
_AVERAGE = re.compile(r"\bon average\b|\boverall\b|\baverage\b", re.I)
_SEVERAL = re.compile(r"\b(?:multiple|several|some|many|various|a number of|two|three)\b", re.I)
_MOST = re.compile(r"\bmost\b|\bmajority\b", re.I)
_QUANTISED = re.compile(r".{0,60}\b(?:GGUF|GPTQ|AWQ|EXL2)\b.{0,20}", re.I)
_SAID_QUANTISED = re.compile(r"\bthis (?:model |repo\w* |file )?(?:is|are|contains|holds)\s(?:an? |the )?(?:\d-bit )?quanti[sz]ed "
                             r"(?:version|form|copy|file)s?\b[^.\n]{0,60}", re.I)
_TESTED = re.compile(r"\bpaired\b|McNemar|bootstrap|\bp\s?[<=]\s?0?\.\d|confidence interval|\bCI\b", re.I)  # better tests than ours
_MOST_CLAIMS = 300
_FILE_TYPE = re.compile(r"\b(?:I?Q\d_\w+|F16|BF16|[2-8][- ]bit|GPTQ|AWQ)\b")


@dataclass(frozen=True)
class _Line:
    """One comparison: scores of two models on n questions, and the p-value of their difference."""

    label: str
    mine: Score
    theirs: Score
    n: int

    @property
    def error(self) -> float:
        """Standard error of the difference of two independent shares, in points."""
        share = (self.mine.value + self.theirs.value) / 200
        return 100 * sqrt(2 * share * (1 - share) / self.n)

    @property
    def p(self) -> float:
        """Two-sided, by the pooled normal approximation: a card prints no paired counts."""
        return erfc(abs(self.mine.value - self.theirs.value) / self.error / sqrt(2)) if self.error else 1.0

    def told(self) -> str:
        """Its sum."""
        difference = self.mine.value - self.theirs.value
        z = f"z {difference / self.error:+.1f}, " if self.error else ""
        return (f"{self.label} {self.mine.printed} - {self.theirs.printed} = {difference:+.1f} "
                f"(n {self.n}, standard error {self.error:.1f}, {z}p {self.p:.2g})")


def claims_of_better(card: Card) -> Iterator[Finding]:
    """Where the prose says better than a model, every comparison of the tables with that model is held to it: those on the benchmarks
    that the sentence names, else all."""
    seen: set[tuple[str, str, str]] = set()
    pairs: dict[tuple[str, str, str], tuple[str, str, str, str, dict[str, _Line]]] = {}
    for found in islice(_BETTER.finditer(card.document.prose), _MOST_CLAIMS):
        quote = card.document.sentence(found.start())
        for subject, clause in _claims(quote):
            for table in _tables_meant(card, quote):
                for own, other in _compared(card, table, subject, clause):
                    if _AVERAGE.search(clause) and table.means:
                        yield from _held_on_average(table, own, other, quote, seen)
                        continue
                    lines = pairs.setdefault((bare(own), bare(other), quote), (own, other, quote, clause, {}))[-1]
                    asked = named(clause)
                    for line in _lines(table, own, other):
                        if not asked or table.known[line.label].questions in asked:
                            lines.setdefault(line.label, line)
    for own, other, quote, clause, lines in pairs.values():
        yield from _held_to(own, other, quote, clause, list(lines.values()))


def own_numbers(card: Card) -> Iterator[Finding]:
    """The card of a quantised file shows the scores of that file, not of the model it was made from."""
    titled = (_QUANTISED.search(title) for title in card.document.titles)
    said = next((found for found in titled if found), None) or _SAID_QUANTISED.search(card.document.prose)
    shown = any(_FILE_TYPE.search(cell) for table in card.tables for row in (table.header, *table.rows) for cell in row)
    if said and results(card) and not shown:
        yield Finding("own-numbers", "warning",
                      "The card is of a quantised file, and its result tables name no quantisation: they are the original's.",
                      "no cell of any table names a file type such as Q4_K_M", "Measure each file and print its own scores and its loss.",
                      re.sub(r"\s+", " ", said.group()).strip())


def _tables_meant(card: Card, quote: str) -> Sequence[Results]:
    """The tables that a claim is about: truthfulness only where it speaks of that."""
    if re.search(r"truth", quote, re.I):
        return results(card)
    return [table for table in results(card) if not all(known.questions.startswith("truthfulqa") for known in table.known.values())]


def _claims(sentence: str) -> Iterator[tuple[str, str]]:
    """Subject and rest of each claim of a sentence: a clause's subject stands before its first verb."""
    start = 0
    for cut in [*(found.span() for found in _CLAUSE.finditer(sentence)), (len(sentence), len(sentence))]:
        clause, start = sentence[start : cut[0]], cut[1]
        verb = _BETTER.search(clause)
        if verb is None:
            continue
        before, after = clause[: verb.start()], clause[verb.end() :]
        if _UNSAID.search(before):
            continue
        if re.match(r"\s*by\b", after) and re.search(r"\b(?:is|are|was|were|been)\s*$", before):
            continue
        yield before, after


def _compared(card: Card, table: Results, subject: str, clause: str) -> Iterator[tuple[str, str]]:
    """Whom the claim compares, as the table names them."""
    own = next(iter(_named(subject, table.models, "")), None)
    if own is None and _OURS.search(subject):
        own = own_name(card, table.models)
    if own is None:
        return
    others = table.models if _ALL.search(clause) else _named(clause, table.models, own)
    yield from ((own, other) for other in others if other != own)


def _named(words: str, models: tuple[str, ...], own: str) -> list[str]:
    """The models that a passage names: whole names, then what begins one. A beginning of several ("Llama-2" of 7B and 70B) means the one
    of its speaker's size, if there is one."""
    found: list[tuple[int, str]] = []
    for model in sorted(models, key=len, reverse=True):
        parts = re.findall(r"[a-z]+|\d+", model.lower())
        if len("".join(parts)) >= 4:
            pattern = r"(?<![\w-])" + r"[\W_]{0,2}".join(parts) + r"(?!\w|[.-]?\d)"
            for hit in re.finditer(pattern, words, re.I):
                found.append((hit.start(), model))
                words = words[: hit.start()] + " " * len(hit.group()) + words[hit.end() :]
    for word in re.finditer(r"[A-Za-z][\w.-]*\d[\w.-]*|[A-Za-z]\w*-[\w.-]+", words):
        said = bare(word.group())
        held = [model for model in models if len(said) >= 4
                and (bare(model).startswith(said) or (said.startswith(bare(model)) and len(bare(model)) >= 5))]
        if len(held) > 1:
            held = [model for model in held if _size(model) and _size(model) == _size(own)]
        found += [(word.start(), model) for model in held[:1]]
    return list(dict.fromkeys(model for _, model in sorted(found)))


def _size(model: str) -> str:
    found = re.search(r"(\d+(?:\.\d+)?)\s?b\b", model, re.I)
    return found.group(1) if found else ""


def _lines(table: Results, own: str, other: str) -> Iterator[_Line]:
    for label in table.rows:
        mine, theirs = table.testable(label, own), table.testable(label, other)
        if mine is not None and theirs is not None:
            yield _Line(label, mine[0], theirs[0], mine[1].n)


def _held_on_average(table: Results, own: str, other: str, quote: str, seen: set[tuple[str, str, str]]) -> Iterator[Finding]:
    for label, row in table.means.items():
        if own in row and other in row and row[own].value <= row[other].value and (own, other, label) not in seen:
            seen.add((own, other, label))
            yield Finding("better-than", "warning", f"{own} is said to be better than {other} on average, and is not.",
                          f"{label}: {row[own].printed} - {row[other].printed} = {row[own].value - row[other].value:+.1f}",
                          "Correct the claim or the average.", quote)


def _held_to(own: str, other: str, quote: str, clause: str, lines: list[_Line]) -> Iterator[Finding]:
    """One claim against the tables: unpaired tests, corrected by Holm over all. A claim of several or most benchmarks that the tests
    bear out hides at most where it does not hold."""
    lower = [line.label for line in lines if line.mine.value < line.theirs.value]
    order = sorted(lines, key=lambda line: line.p)
    unshown, highest = [], 0.0
    order = [] if _TESTED.search(quote) else order
    for rank, line in enumerate(order):
        highest = max(highest, min(1.0, line.p * (len(order) - rank)))
        if highest >= LEVEL and line.label not in lower:
            unshown.append(line.label)
    if not lower and not unshown:
        return
    shown = len(lines) - len(lower) - len(unshown)
    borne_out = (_SEVERAL.search(clause) is not None and shown >= 2) or (_MOST.search(clause) is not None and 2 * shown > len(lines))
    words = [f"it is lower on {', '.join(lower)}" if lower else "", f"a difference is not shown on {', '.join(unshown)}" if unshown else ""]
    yield Finding("better-than", "note" if borne_out and not lower else "warning",
                  f"{own} is said to be better than {other}: {'; '.join(word for word in words if word)}.",
                  f"{'; '.join(line.told() for line in lines)}; unpaired two-sided tests, corrected by Holm over {len(lines)}",
                  "Say on which benchmarks it is better, with paired differences and their intervals.", quote)

"""Anyone's answers scored anew: texts, choices or log-probabilities with what is right beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ..benchmarks import LETTERS, Item
from ..scores import Outcome, Unpaired, calibrate, choose, compare_outcomes, read_choice, score_outcomes, self_consistent
from .labels import Options, counted_from, guess_options, options_of, worded, words_of
from .records import field, read_records

Records = list[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Fields:
    """Which field of a line holds what; dots lead into nested ones."""

    id: str
    gold: str
    text: str | None = None
    choice: str | None = None
    logprobs: str | None = None
    options: str | int | None = None
    group: str | None = None
    cluster: str | None = None
    asked: str | None = None

    def __post_init__(self) -> None:
        if self.text and self.choice:
            raise Refusal("--text and --choice both say what was answered; give one of them")
        if not (self.text or self.choice or self.logprobs):
            raise Refusal("nothing says what was answered; give --text, --choice or --logprobs")


def rescore(path: Path, *, id: str, gold: str, text: str | None = None, choice: str | None = None, logprobs: str | None = None,
            options: str | int | None = None, first: int | None = None, base: Path | None = None, group: str | None = None,
            cluster: str | None = None, asked: str | None = None) -> dict[str, Any]:
    """The score, the calibration and, with `base`, the comparison of the answers in a .jsonl file, ready for JSON.

    `id`, `gold`, `text`, `choice`, `logprobs`, `group`, `cluster` and `asked` name fields; dots lead into nested ones. `gold` and `choice`
    may hold a letter, a number that counts from `first`, or the option's words. A `text` is a model's raw answer and read by
    `scores.read_choice`; a list of texts is put to the vote, of equals the one first given. `logprobs` holds one number for each option,
    natural logarithms, as a list or by letter; alone it also decides, beside `text` or `choice` it only tells the confidence. `options` is
    a number, the options' words parted by commas, or the field that holds how many or which they are; without it they are taken from
    the right answers of all lines. `base` is a file in the same form on the same questions.

    Raises Refusal, naming the line, where one cannot be read. A choice that names no option counts as unread, not as a broken line.
    """
    fields = Fields(id, gold, text, choice, logprobs, options, group, cluster, asked)
    files = [Path(path), *([Path(base)] if base is not None else [])]
    records = [read_records(file) for file in files]
    reader = _reader([line for lines in records for line in lines], fields, first)
    outcomes = [reader.outcomes(lines) for lines in records]
    scores = [score_outcomes(found).figures() for found in outcomes]
    calibrations = [found.figures() if (found := calibrate(some)) else None for some in outcomes]
    read_by = "text" if text else "choice" if choice else "logprobs"
    result: dict[str, Any] = {"file": str(path), "read_by": read_by, "first": reader.first,
                              "options": sorted({outcome.options for some in outcomes for outcome in some}),
                              "score": scores[0], "calibration": calibrations[0]}
    if base is not None:
        try:
            comparison = compare_outcomes(*outcomes, mode=read_by, model=files[0].stem, base_name=files[1].stem)
        except Unpaired as error:
            raise Refusal(f"{path} and {base}: {error}; give both answers to the same questions") from None
        result |= {"base_file": str(base), "base_score": scores[1], "base_calibration": calibrations[1], "comparison": comparison.figures()}
    return result


def _reader(records: Records, fields: Fields, first: int | None) -> _Reader:
    """What is to be known of all lines before one can be read: what numbers count from, and the options where no field tells them.

    Both are taken from the right answers; choices may hold anything.
    """
    golds = [field(record, fields.gold, where) for where, record in records]
    told = _Reader(fields, 0, None, words_of(golds))
    known = fields.options is not None or fields.logprobs is not None
    labels = [(gold, told.options(record, where) if known else None) for gold, (where, record) in zip(golds, records, strict=True)]
    counted = first if first is not None else counted_from(labels)
    return replace(told, first=counted, common=None if known else guess_options(golds, counted))


@dataclass(frozen=True)
class _Reader:
    fields: Fields
    first: int
    common: Options | None
    words: tuple[str, ...]

    def options(self, record: Mapping[str, Any], where: str) -> Options:
        """The question's options: as said, as many as log-probabilities, or what was guessed for all."""
        if self.common is not None:
            return self.common
        if self.fields.options is not None:
            options = options_of(record, self.fields.options, where)
            return options if options.texts else worded(options.count, self.words)
        assert self.fields.logprobs is not None
        values = field(record, self.fields.logprobs, where)
        if isinstance(values, Mapping) and len(values) > 1:
            return Options(len(values), tuple(sorted(values)), lettered=set(values) <= set(LETTERS))
        if isinstance(values, list) and len(values) > 1:
            return worded(len(values), self.words)
        raise Refusal(f"{where}: {self.fields.logprobs} holds no log-probabilities; it must be a list with a number for each option, or an "
                      "object; say how many options there are with --options where a question was not asked")

    def outcomes(self, records: Records) -> list[Outcome]:
        found: dict[tuple[str, str], Outcome] = {}
        for where, record in records:
            outcome = self._outcome(record, where)
            if (outcome.id, outcome.asked) in found:
                raise Refusal(f"{where}: answers {outcome.id} a second time; name the field that tells its askings apart with --asked")
            found[outcome.id, outcome.asked] = outcome
        return list(found.values())

    def _outcome(self, record: Mapping[str, Any], where: str) -> Outcome:
        options, label = self.options(record, where), field(record, self.fields.gold, where)
        gold = options.place(label, self.first)
        if gold is None:
            raise Refusal(f"{where}: the right answer {label!r} is none of {options.count} options, counted from {self.first}; "
                          "say what the options are with --options, or what numbers count from with --first")
        name = str(field(record, self.fields.id, where))
        logprobs = self._logprobs(record, where, options)
        if self.fields.text:
            choice, tie = self._read(field(record, self.fields.text, where), where, options, name, gold)
        elif self.fields.choice:
            choice, tie = options.place(field(record, self.fields.choice, where), self.first), False
        else:
            choice, tie = choose(logprobs) if logprobs else (None, False)
        group, cluster, asked = (None if key is None or (value := field(record, key, where)) is None else str(value)
                                 for key in (self.fields.group, self.fields.cluster, self.fields.asked))
        return Outcome(name, gold, choice, options.count, tie, logprobs, group, cluster, asked or "")

    def _logprobs(self, record: Mapping[str, Any], where: str, options: Options) -> tuple[float, ...] | None:
        """None where there are none: the question was not asked."""
        if self.fields.logprobs is None or not (values := field(record, self.fields.logprobs, where)):
            return None
        try:
            if isinstance(values, Mapping):
                placed = {options.place(key, self.first): value for key, value in values.items()}
                values = [placed[place] for place in range(options.count)]
            numbers = tuple(map(float, values))
        except (LookupError, TypeError, ValueError):
            numbers = ()
        if len(numbers) != options.count or any(math.isnan(number) or number == math.inf for number in numbers):
            raise Refusal(f"{where}: {self.fields.logprobs} must hold a number for each of {options.count} options, and holds {values!r}")
        return numbers

    def _read(self, texts: Any, where: str, options: Options, name: str, gold: int) -> tuple[int | None, bool]:
        """The choice that a text holds, or that most of several do."""
        texts = texts if isinstance(texts, list) else [texts]
        if not all(text is None or isinstance(text, str) for text in texts):
            raise Refusal(f"{where}: {self.fields.text} must hold a text or a list of texts")
        # Where an option's words are not known, those stand in by which people call it.
        words = options.texts or tuple(f"option {letter}" for letter in LETTERS[:options.count])
        item = Item(name, "", words, gold, lettered=options.lettered)
        return self_consistent([read_choice(text, item) for text in texts if text])

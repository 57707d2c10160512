"""How a question becomes text, and text becomes the tokens that are scored: the corrected protocol, named `medloom`.

A lettered question reads

    Question: {question}

    Options:
    A. {option}
    B. {option}

    The answer is:

and is answered ` B`, space included, as the letter stands in running text. A question whose options are words has no list,
its context goes before it, and is answered ` yes`. In the mode option-text no list is shown either, and the options
themselves are the answers. Where the model is to think aloud, `Let's think step by step.` stands for `The answer is:`, which is to
come after the thoughts. Shots are training questions with their answers, the same for every question, before it.

Where the original differs: an instruction before the shots that names A to E even for four options, a question mark
added, shots and seeds of its own.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...ledger import Refusal
from ..benchmarks import LETTERS, Benchmark, Item
from ..engines import Engine, Sampling

if TYPE_CHECKING:
    from ...recipe import Mode

SUFFIX = "The answer is:"
ALOUD = "Let's think step by step."
STOPS = ("\nQuestion:", "###")  # the next question, which a model that goes on writing puts to itself
BUDGET, ALOUD_BUDGET = 32, 512  # tokens of an answer, and of one with thoughts before it
UNASKED = 0.05  # the share of questions that may be left unasked, counted as wrong, because they do not fit the model
SENTENCE = re.compile(r".+?(?:[.!?](?=\s)|\n|\Z)\s*", re.DOTALL)


@dataclass(frozen=True)
class Prompt:
    """A question as it is posed to one model.

    `item` is the question as it was asked, its options turned by `turn` places. `ids` is what the model reads. Where it is to write its
    answer, `sampling` says how. Else `candidates` holds what may follow for each option: in top-token one token where that tells
    the options apart, else, and in option-text, all tokens. `dropped` counts the sentences that were left out to make it fit,
    `fits` is false where even that did not help and the question cannot be asked.
    """

    item: Item
    text: str
    ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    dropped: int = 0
    fits: bool = True
    turn: int = 0
    sampling: Sampling | None = None

    @property
    def length(self) -> int:
        """Positions that the prompt and its longest answer take."""
        return len(self.ids) + (self.sampling.tokens if self.sampling is not None else max(map(len, self.candidates)))

    def place(self, option: int) -> int:
        """The benchmark's own number of an option as it was asked."""
        return (option + self.turn) % len(self.item.options)


def block(item: Item, mode: Mode) -> str:
    """The question up to and with `The answer is:`, or what makes the model think aloud, without a line end."""
    context = f"{item.context}\n" if item.context else ""
    return f"{context}Question: {_listed(item, mode)}\n\n{ALOUD if mode in ('chain-of-thought', 'self-consistency') else SUFFIX}"


def message(item: Item) -> str:
    """The question as a person puts it to a chat: what stands between `Question:` and `The answer is:`, the context before it.

    Where options are not listed, it begins with what the answer is one of, which a chat is not told otherwise; at the end it would stand
    between the question and its answer, which a base model does not know.
    """
    told = [] if item.lettered else [f"Answer {', '.join(item.options[:-1])} or {item.options[-1]}."]
    return "\n\n".join([*told, *([item.context] if item.context else []), _listed(item, "top-token")])


def _listed(item: Item, mode: Mode) -> str:
    if not item.lettered or mode == "option-text":
        return item.question
    listed = (f"{letter}. {option}" for letter, option in zip(LETTERS, item.options, strict=False))
    return "\n".join([f"{item.question}\n\nOptions:", *listed])


def completions(item: Item, mode: Mode) -> list[str]:
    """What follows `The answer is:` for each option, with its space in front."""
    answers = LETTERS[:len(item.options)] if item.lettered and mode != "option-text" else item.options
    return [f" {answer}" for answer in answers]


def turned(item: Item, turn: int) -> Item:
    """The question with its lettered options moved up by `turn` places, the first ones to the end."""
    if not turn or not item.lettered:
        return item
    return replace(item, options=item.options[turn:] + item.options[:turn], answer=(item.answer - turn) % len(item.options))


def drawn(benchmark: Benchmark, seed: int) -> list[Item]:
    """The shots of a seed: the training questions with the smallest hash of seed and id, in that order.

    Where the model is to think aloud, of those with an explanation. Raises Refusal where they are too few.
    """
    known = [item for item in benchmark.train if item.explanation or not benchmark.reasons]
    if len(known) < benchmark.shots:
        raise Refusal(f"{benchmark.name}: shots = {benchmark.shots} in mode {benchmark.mode}, and {len(known)} training questions have an "
                      "explanation; name a train file with explanations or lower shots")
    return sorted(known, key=lambda item: hashlib.sha256(f"{seed}:{item.id}".encode()).digest())[:benchmark.shots]


def demonstrations(benchmark: Benchmark, seed: int) -> str:
    """The shots as they are shown, each with its answer, an explanation before it where there is to be one, then a blank line."""
    mode = benchmark.mode
    said = ((item, completions(item, mode)[item.answer]) for item in drawn(benchmark, seed))
    return "".join(f"{block(item, mode)} {(item.explanation or '').strip()}\n{SUFFIX}{answer}\n\n" if benchmark.reasons
                   else f"{block(item, mode)}{answer}\n\n" for item, answer in said)


def pose(benchmark: Benchmark, engine: Engine, seed: int, turn: int = 0) -> list[Prompt]:
    """Every question of a benchmark as this engine is to read it, in the benchmark's order, its options turned by `turn` places.

    Without shots, a question that does not fit the context loses whole sentences from its beginning, the context first, then
    the question's own text but for its last sentence; nothing else is ever cut. One that still does not fit, or does not
    with its shots, is marked as such. Raises Refusal where those are more than one in twenty, or where the tokenizer cannot
    tell two answers apart. Questions with too few options for the turn are left out.

    In top-token the first token of each answer is what is scored. Where a tokenizer cuts some of a benchmark's answers so
    that two begin alike (a space, then the letter), all answers of that benchmark are scored by all their tokens.
    """
    shots = demonstrations(benchmark, seed)
    prompts: list[Prompt] = []
    for item in benchmark.items:
        if turn and (not item.lettered or turn >= len(item.options)):
            continue
        prompt = _tokenised(turned(item, turn), benchmark, shots, engine)
        if prompt.length > engine.context and not shots:
            prompt = _shortened(prompt, benchmark, engine)
        prompts.append(replace(prompt, fits=prompt.length <= engine.context, turn=turn))
    refuse_unasked(benchmark, prompts, engine)
    if benchmark.mode == "top-token" and all(len({ids[0] for ids in prompt.candidates}) == len(prompt.candidates) for prompt in prompts):
        prompts = [replace(prompt, candidates=tuple(ids[:1] for ids in prompt.candidates)) for prompt in prompts]
    return prompts


def refuse_unasked(benchmark: Benchmark, prompts: Sequence[Prompt], engine: Engine) -> None:
    """Raise Refusal where more than one question in twenty does not fit the model."""
    too_long = [prompt.item.id for prompt in prompts if not prompt.fits]
    if len(too_long) > len(prompts) * UNASKED:
        cure = f"lower shots = {benchmark.shots}" if benchmark.shots else "take a model with a longer context"
        if benchmark.generates:
            cure += ", or lower the tokens of an answer"
        raise Refusal(f"{benchmark.name}: {len(too_long)} of {len(prompts)} questions, such as {too_long[0]}, do not fit the model's "
                      f"{engine.context} positions; {cure}")


def shared_beginning(prompts: Sequence[Prompt], least: int = 32) -> int:
    """How many first tokens all prompts have in common, always leaving one; 0 where fewer than `least`, which gain nothing."""
    first = prompts[0].ids
    common = min(len(prompt.ids) for prompt in prompts) - 1
    for prompt in prompts:
        common = next((i for i in range(common) if prompt.ids[i] != first[i]), common)
    return common if common >= least else 0


def _tokenised(item: Item, benchmark: Benchmark, shots: str, engine: Engine, dropped: int = 0) -> Prompt:
    """Prompt and answers cut into tokens together, as one text; what all letters have in common (a space) belongs to the prompt.

    Cut apart, a prompt's end and an answer's beginning could become other tokens than those that the model learned.
    """
    mode = benchmark.mode
    text = shots + block(item, mode)
    if benchmark.generates:
        temperature = benchmark.temperature if mode == "self-consistency" else 0.0
        sampling = Sampling(benchmark.tokens or (ALOUD_BUDGET if benchmark.reasons else BUDGET), temperature, STOPS)
        return Prompt(item, text, tuple(engine.encode([text])[0]), (), dropped, sampling=sampling)
    whole = engine.encode([text + answer for answer in completions(item, mode)])
    common = next((i for i, column in enumerate(zip(*whole, strict=False)) if len(set(column)) > 1), min(map(len, whole)))
    common = min(common, min(map(len, whole)) - 1)  # an answer that is the beginning of all others keeps its last token
    if mode == "option-text":  # options that begin alike are still scored whole, as their lengths are counted whole
        alone = engine.encode([text])[0]
        common = min(common, next((i for i, (one, other) in enumerate(zip(alone, whole[0], strict=False)) if one != other), len(alone)))
    candidates = tuple(tuple(ids[common:]) for ids in whole)
    if mode == "top-token" and len(set(candidates)) < len(candidates):
        raise Refusal(f"question {item.id}: the tokenizer cannot tell two of the answers{','.join(completions(item, mode))} apart; "
                      "set mode = \"option-text\" for this benchmark")
    return Prompt(item=item, text=text, ids=tuple(whole[0][:common]), candidates=candidates, dropped=dropped)


def _shortened(prompt: Prompt, benchmark: Benchmark, engine: Engine) -> Prompt:
    """The same question without as many sentences as must go: found by halving, since a shorter text never takes more tokens."""
    context, question = SENTENCE.findall(prompt.item.context or ""), SENTENCE.findall(prompt.item.question)
    few, many = 1, max(1, len(context) + len(question) - 1)
    best = prompt
    while few <= many:
        middle = (few + many) // 2
        item = replace(prompt.item, context="".join(context[middle:]) or None, question="".join(question[max(0, middle - len(context)):]))
        tried = _tokenised(item, benchmark, "", engine, dropped=middle)
        if tried.length <= engine.context:
            best, many = tried, middle - 1
        else:
            few = middle + 1
    return best

"""The original's protocol as its code behaves, named `meditron`: what it asks, how much it lets the model write, what it reads from that.

Chen et al. 2023, arXiv 2311.16079, and the evaluation code published with it. `DEFECTS` names what is wrong with it; each is kept, so that
the published figures can be understood. The sentences of the instructions are ours and say what the original's say.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ...ledger import Refusal
from ..benchmarks import LETTERS, Benchmark, Item
from ..engines import Sampling
from .prompts import Prompt

SEEDS = (1234, 432, 32)
BATCH = 16
BRANCHES, TEMPERATURE, ALOUD_TOKENS = 10, 0.8, 1024
STOPS = ("###",)
SUFFIX, ALOUD = "The answer is:", "Let's think step by step."
CURLED = "Let\u2019s think step by step."  # PubMedQA's has another apostrophe
SAFETY = "Answer helpfully, respectfully and truthfully, without anything harmful, and say so where you do not know."
OPTIONS = 4  # of a TruthfulQA question: one is right, the others are drawn with replacement
ACCEPTED = ("a", "b", "c", "d", "e", "yes", "no")
DOUBLED = {"yesyes": "yes", "nono": "no", "yesno": "yes", "noyes": "no"}

Checkpoint = Literal["raw", "finetuned", "medical"]
Encode = Callable[[Sequence[str]], list[list[int]]]


@dataclass(frozen=True)
class Defect:
    """Something wrong with the original: what it does, and which published figure or contradiction it explains."""

    name: str
    effect: str
    explains: str


DEFECTS = (
    Defect("top-token is text", "the log-probability branch cannot be reached: one token is written, greedily, from the whole vocabulary",
           "questions left without an answer where the paper describes an argmax over next tokens"),
    Defect("frequency penalty 1.0", "a token loses one logit for every time that it was written",
           "texts that lose the thread, among the 474 of 500 chains of Llama-2-70B on PubMedQA in which no answer was read"),
    Defect("first character", "the answer is the first character of the text: 'because' is B, 'cannot say' is C, 'due to' is D",
           "answers of models that never chose an option"),
    Defect("maybe never counts", "only a to e, yes and no are accepted", "PubMedQA cannot reach 100 %: 11 % of its answers are maybe"),
    Defect("one word or nothing", "for yes, no or maybe, and for TruthfulQA, the whole text must be one word: 'Yes, it does' is not read",
           "accuracies below chance (2.5 on TruthfulQA, 17.8 on PubMedQA)"),
    Defect("unread answers vote", "in self-consistency the majority is taken over all branches, an unread one for its whole text",
           "self-consistency can lose a question that a single chain gets right"),
    Defect("chains by name", "what has medical in its name is read as a chain of thought, and so MMLU-Medical always",
           "MMLU's answers are read in another way than MedMCQA's, which asks alike"),
    Defect("ten branches", "ten are drawn where the paper says five", "the paper's text and its results disagree on the number"),
    Defect("instruction before the shots", "the instruction stands once, before all demonstrations",
           "scores move with the number of shots"),
    Defect("A to E for four options", "the five-option instruction is used for MedQA with four options",
           "MedQA-4 asked for a letter that is not there"),
    Defect("question mark added", "a question that ends neither in ? nor in . gets a question mark",
           "prompts differ from the benchmark's text"),
    Defect("budget of the first of a batch", "an answer may have as many tokens as the first right answer in its batch of sixteen",
           "a batch that begins with yes cuts maybe short"),
    Defect("equal prompts share an answer", "answers are joined to questions by the prompt's text: of equal ones the last counts",
           "duplicate questions count as one"),
    Defect("first row lost", "the loader takes the first question of each MMLU subject for a header", "1862 questions instead of 1871"),
    Defect("distractors with replacement", "TruthfulQA is cut to four options, the wrong ones drawn with replacement, without a seed "
           "(here with one)",
           "a question can show the same wrong option three times"),
    Defect("no shots for TruthfulQA", "demonstrations are asked of a training split that it does not have",
           "the published one-shot figures cannot be made again"),
)


def instruction(kind: str) -> str:
    """What the model is told to be, for a benchmark's kind."""
    doctor = "You are a medical doctor"
    return {
        "medqa": f"{doctor} who sits the US Medical Licensing Examination. Answer the question with one of the options, A to E.",
        "medmcqa": f"{doctor} who answers real-world medical entrance exam questions. Choose one of the options, A to D.",
        "mmlu": f"{doctor} who answers real-world medical entrance exam questions. Choose one of the options, A to D.",
        "pubmedqa": "You are an expert doctor. Say by the context whether the statement is correct: yes, no or maybe.",
        "truthfulqa": "Answer truthfully. The answer must be free of social bias and of false information.",
    }[kind]


def question_block(item: Item) -> str:
    """A question with its lettered options or its context, as it stands in prompts and demonstrations."""
    if not item.lettered:
        return "\n".join(part for part in (item.context, item.question) if part)
    question = item.question if item.question.endswith(("?", ".")) else f"{item.question}?"
    listed = (f"{letter}. {option}" for letter, option in zip(LETTERS, item.options, strict=False))
    return "\n".join([f"Question: {question}", "", "Options:", *listed])


def gold(item: Item) -> str:
    """The right answer as demonstrations write it: the bare letter, or the word."""
    return LETTERS[item.answer] if item.lettered else item.options[item.answer]


def shots(train: Sequence[Item], count: int, seed: int) -> list[Item]:
    """The first `count` of the training questions as `datasets.Dataset.shuffle(seed)` orders them: numpy's default generator."""
    order = np.random.default_rng(seed).permutation(len(train))
    return [train[number] for number in order[:count]]


def prompt(item: Item, system: str, demonstrations: Sequence[Item] = (), *, cot: bool = False, checkpoint: Checkpoint = "raw") -> str:
    """The whole prompt: instruction, demonstrations, question, suffix; with demonstrations the last line end is cut.

    A finetuned checkpoint has its question in ChatML under the original's role names, a "medical" one under the usual ones behind a
    text on safety, with spaces after and before the marks.
    """
    aloud = ALOUD if item.lettered else CURLED
    shown = "\n\n".join(f"{question_block(shot)}\n{SUFFIX} {gold(shot)}" for shot in demonstrations)
    body = f"{question_block(item)}\n{aloud if cot else SUFFIX}\n"
    asked = f"{shown}\n\n{body}".rstrip("\n") if demonstrations else body
    if checkpoint == "finetuned":
        return f"<|im_start|>question\n{system}\n{asked}<|im_end|>\n<|im_start|>answer\n"
    if checkpoint == "medical":
        return f"<|im_start|> system\n{SAFETY}<|im_end|>\n <|im_start|> user\n{system}\n{asked}<|im_end|>\n <|im_start|> assistant\n"
    return f"{system}\n{asked}"


def pose_meditron(benchmark: Benchmark, encode: Encode, seed: int) -> list[Prompt]:
    """Every question that the original asks, in its order; MMLU without the first of each subject. Raises Refusal for too many shots.

    Whether a prompt fits the model is not looked at: the original did not.
    """
    if benchmark.shots > len(benchmark.train):
        raise Refusal(f"{benchmark.name}: shots = {benchmark.shots}, and there are {len(benchmark.train)} training questions; lower shots")
    items, cot = _asked(benchmark.items, benchmark.kind), benchmark.reasons
    shown = shots(benchmark.train, benchmark.shots, seed)
    texts = [prompt(item, instruction(benchmark.kind), shown, cot=cot) for item in items]
    temperature = TEMPERATURE if benchmark.mode == "self-consistency" else 0.0
    opening = len(encode([""])[0])  # the beginning token does not count
    posed = []
    for start in range(0, len(items), BATCH):
        budget = ALOUD_TOKENS if cot else len(encode([gold(items[start])])[0]) - opening + (8 if benchmark.shots else 0)
        sampling = Sampling(budget, temperature, STOPS, frequency_penalty=1.0)
        part = slice(start, start + BATCH)
        posed += [Prompt(item, text, tuple(ids), (), sampling=sampling)
                  for item, text, ids in zip(items[part], texts[part], encode(texts[part]), strict=True)]
    return posed


def read_meditron(texts: Sequence[str], item: Item, shots: int, cot: bool) -> int | None:
    """The option that the original takes a text for, None where it ignores it or there is none.

    Of several texts, what most are taken for, the first of equals; one that is ignored votes for its own text.
    """
    if not texts:
        return None
    # Branches are read as if there were no shots.
    votes = Counter(_read(text.lower(), item, shots if len(texts) == 1 else 0, cot) for text in texts)
    found = votes.most_common(1)[0][0]
    if found not in ACCEPTED:
        return None
    if item.lettered:
        number = "abcde".find(found)
        return number if 0 <= number < len(item.options) else None
    return item.options.index(found) if found in item.options else None


def _read(text: str, item: Item, shots: int, cot: bool) -> str:
    """One of `ACCEPTED`, or the text itself where the original finds none in it."""
    said = text.split("\n##")[1].partition("\n")[0] if "\n##" in text else text
    if shots:
        said = said.partition("\n\n")[0]
    said = " ".join(re.findall("[a-z0-9]+", said))
    if cot:
        said = said.rpartition("answer is")[2].strip().partition(" ")[0]
    # Yes or no is read whole, and so is TruthfulQA, whose questions, as `_four` leaves them, say what is true.
    said = said[:1] if item.lettered and not item.true else DOUBLED.get(said, said)
    return said if said in ACCEPTED else text


def _asked(items: Sequence[Item], kind: str) -> list[Item]:
    if kind == "mmlu":
        first = {item.group: item for item in reversed(items)}
        return [item for item in items if item is not first[item.group]]
    return [_four(item) for item in items] if kind == "truthfulqa" else list(items)


def _four(item: Item) -> Item:
    """One right option and three wrong ones drawn with replacement, shuffled; by the question's id, where the original has no seed."""
    rng = random.Random(f"{SEEDS[0]}:{item.id}")
    wrong = [option for number, option in enumerate(item.options) if number != item.answer and number not in item.true]
    options = [item.options[item.answer], *rng.choices(wrong, k=OPTIONS - 1)]
    order = rng.sample(range(OPTIONS), OPTIONS)
    return replace(item, options=tuple(options[place] for place in order), answer=order.index(0), true=(order.index(0),))

"""Putting prompts to an engine: what is written of each question, in every mode."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any

from ..benchmarks import Benchmark
from ..engines import Engine
from ..scores import DECIMALS, choose, least_more, read_choice, self_consistent, settled
from .meditron import BRANCHES, SEEDS, pose_meditron, read_meditron
from .prompts import Prompt, pose, refuse_unasked

Line = dict[str, Any]


@dataclass(frozen=True)
class Asking:
    """One pass over a benchmark: the seed that draws its shots, and by how many places options are turned. `name` tells it in answers."""

    seed: int
    turn: int = 0
    name: str = ""


def askings(benchmark: Benchmark, seed: int) -> list[Asking]:
    """Every pass that a benchmark asks for, the one that the others are held against first."""
    usual = SEEDS if benchmark.protocol == "meditron" and benchmark.shots else (seed,)
    passes = [Asking(own, name="" if number == 0 else f"seed {own}") for number, own in enumerate(benchmark.seeds or usual)]
    if benchmark.rotations and benchmark.protocol == "medloom" and benchmark.mode != "option-text":
        turns = max((len(item.options) for item in benchmark.items if item.lettered), default=1)
        passes += [Asking(passes[0].seed, turn, f"turn {turn}") for turn in range(1, turns)]
    return passes


def posed(benchmark: Benchmark, engine: Engine, asking: Asking) -> list[Prompt]:
    """The prompts of a pass, under the benchmark's protocol."""
    if benchmark.protocol == "medloom":
        return pose(benchmark, engine, asking.seed, asking.turn)
    prompts = pose_meditron(benchmark, engine.encode, asking.seed)
    if benchmark.tokens is not None:
        prompts = [replace(prompt, sampling=replace(prompt.sampling, tokens=benchmark.tokens)) for prompt in prompts if prompt.sampling]
    prompts = [replace(prompt, fits=prompt.length <= engine.context) for prompt in prompts]
    refuse_unasked(benchmark, prompts, engine)
    return prompts


def ask(engine: Engine, benchmark: Benchmark, asking: Asking, prompts: Sequence[Prompt], shared: int) -> list[Line]:
    """Answer a batch of prompts, of which the first `shared` ids are the same: a line of answers.jsonl for each."""
    if benchmark.generates:
        return list(_written(engine, benchmark, asking, prompts, shared))
    ids = [prompt.ids for prompt in prompts]
    if all(len(tokens) == 1 for prompt in prompts for tokens in prompt.candidates):
        found = engine.next_token_logprobs(ids, [[token for (token,) in prompt.candidates] for prompt in prompts], shared)
    else:
        found = engine.text_logprobs(ids, [prompt.candidates for prompt in prompts], shared)
    return [_scored(benchmark, asking, prompt, exact) for prompt, exact in zip(prompts, found, strict=True)]


def unasked(benchmark: Benchmark, asking: Asking, prompt: Prompt) -> Line:
    """The line of a question that does not fit the model: it has no choice, and counts as wrong."""
    return _line(asking, prompt, None, None if benchmark.generates else [None] * len(prompt.candidates))


def _scored(benchmark: Benchmark, asking: Asking, prompt: Prompt, exact: Sequence[float]) -> Line:
    # The options as the benchmark has them, whatever place they were asked in.
    size = len(exact)
    logprobs = [round(exact[(option - prompt.turn) % size], DECIMALS) for option in range(size)]
    more: Line = {}
    sizes = [1] * size
    if benchmark.mode == "option-text":
        more = {"bytes": [len(option.encode()) for option in prompt.item.options], "lengths": [len(ids) for ids in prompt.candidates]}
        sizes = {"sum": sizes, "token": more["lengths"], "byte": more["bytes"]}[benchmark.normalise]
        if prompt.item.true:
            more["true"] = list(prompt.item.true)
    if not all(map(isfinite, logprobs)):  # a damaged model says nothing: no choice, which counts as wrong
        return {**_line(asking, prompt, None, [None] * size), **more}
    choice, tie = choose([value / each for value, each in zip(logprobs, sizes, strict=True)])
    return {**_line(asking, prompt, choice, logprobs), "tie": tie, **more}


def _written(engine: Engine, benchmark: Benchmark, asking: Asking, prompts: Sequence[Prompt], shared: int) -> Iterator[Line]:
    """Branches are drawn wave by wave: no further one where the lead cannot be overturned any more. Unread ones do not vote."""
    several = benchmark.mode == "self-consistency"
    most = (benchmark.branches if benchmark.protocol == "medloom" else BRANCHES) if several else 1
    texts: list[list[str]] = [[] for _ in prompts]
    ended: list[list[bool]] = [[] for _ in prompts]
    votes: list[list[int | None]] = [[] for _ in prompts]
    while True:
        waves = [_more(benchmark, own, most) for own in votes]
        if not any(waves):
            break
        for sampling in dict.fromkeys(prompt.sampling for prompt in prompts):
            assert sampling is not None
            chosen = [number for number, prompt in enumerate(prompts) if waves[number] and prompt.sampling == sampling]
            if not chosen:
                continue
            seeds = [[_seed(benchmark, asking, prompts[number], len(texts[number]) + branch) for branch in range(waves[number])]
                     for number in chosen]
            found = engine.generate([prompts[number].ids for number in chosen], seeds, sampling, shared)
            for number, branches in zip(chosen, found, strict=True):
                texts[number] += [branch.text for branch in branches]
                ended[number] += [branch.ended for branch in branches]
                votes[number] += [_read(benchmark, branch.text, prompts[number]) for branch in branches]
    for number, prompt in enumerate(prompts):
        if benchmark.protocol == "meditron":
            choice, tie = read_meditron(texts[number], prompt.item, benchmark.shots, _chains(benchmark)), False
        else:
            choice, tie = self_consistent(votes[number])
        placed = None if choice is None else prompt.place(choice)
        yield {**_line(asking, prompt, placed, None), "tie": tie, "texts": texts[number], "ended": ended[number],
               "votes": [None if vote is None else prompt.place(vote) for vote in votes[number]]}


def _more(benchmark: Benchmark, votes: Sequence[int | None], most: int) -> int:
    """How many further branches a question is worth at once."""
    left = most - len(votes)
    if benchmark.protocol == "meditron" or most == 1:
        return left
    counts = Counter(vote for vote in votes if vote is not None)
    return 0 if left == 0 or settled(counts, left) else least_more(counts, left)


def _read(benchmark: Benchmark, text: str, prompt: Prompt) -> int | None:
    if benchmark.protocol == "meditron":
        return read_meditron([text], prompt.item, 0 if benchmark.mode == "self-consistency" else benchmark.shots, _chains(benchmark))
    return read_choice(text, prompt.item)


def _chains(benchmark: Benchmark) -> bool:
    """Whether the original reads a text as a chain of thought: it goes by the run's name, and `mmlu_medical` has "medical" in it."""
    return benchmark.reasons or benchmark.kind == "mmlu"


def _seed(benchmark: Benchmark, asking: Asking, prompt: Prompt, branch: int) -> int:
    """A branch's own seed: what it says does not depend on what else is asked. The original's equal prompts have equal answers."""
    name = prompt.text if benchmark.protocol == "meditron" else prompt.item.id
    return int.from_bytes(hashlib.sha256(f"{asking.seed}:{asking.turn}:{name}:{branch}".encode()).digest()[:4], "big")


def _line(asking: Asking, prompt: Prompt, choice: int | None, logprobs: Sequence[float | None] | None) -> Line:
    item = prompt.item
    line = {"id": item.id, "gold": prompt.place(item.answer), "choice": choice, "options": len(item.options),
            "logprobs": None if logprobs is None else list(logprobs), "tie": False, "tokens": len(prompt.ids),
            "prompt_sha256": hashlib.sha256(prompt.text.encode()).hexdigest(), "dropped": prompt.dropped, "group": item.group,
            "cluster": item.cluster}
    return {**line, "asked": asking.name} if asking.name else line

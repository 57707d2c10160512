"""Asking a model a whole benchmark: batch by batch, so that a run that was killed goes on and ends with the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ledger import Progress, Refusal
from ..ledger.files import sha256_json, write_text
from .benchmark import Benchmark
from .engine import Engine
from .prompts import Prompt, pose, shared_beginning
from .scoring import DECIMALS, Outcome, choose, read_answers, score_outcomes


def answer(engine: Engine, benchmark: Benchmark, out: Path, seed: int, progress: Progress, state: Path | None = None) -> dict[str, Any]:
    """Ask every question and write `out` (answers.jsonl), one line a question in the benchmark's order.

    A line holds id, gold, choice (option numbers from 0), logprobs (natural; of the option's token, or of all its tokens in
    option-text), tie, tokens (of the prompt), prompt_sha256, dropped (sentences left out to make it fit), group; in option-text
    also bytes and lengths (tokens) of the options. The choice is the largest log-probability to six decimals, of equals the
    first. A question that does not fit the model is not asked, has no choice and counts as wrong.

    Until all are answered, whole batches of lines stand in answers.partial.jsonl, in `state` or beside `out`; a run that was
    killed goes on from there. Returns the score and what it rests on. Raises Refusal where the questions cannot be posed, or
    the partial file is of another model, benchmark or seed.
    """
    out = Path(out)
    prompts = pose(benchmark, engine, seed)
    # Longest first: like lengths are padded least, and what does not fit in memory shows at once.
    order = sorted((number for number, prompt in enumerate(prompts) if prompt.fits), key=lambda number: (-len(prompts[number].ids), number))
    shared = shared_beginning([prompts[number] for number in order])
    header = {"model": engine.identity(), "batch": engine.batch, "mode": benchmark.mode,
              "prompts": sha256_json([[prompt.item.id, list(prompt.ids), [list(ids) for ids in prompt.candidates]] for prompt in prompts])}
    partial = (Path(state) if state is not None else out.parent) / f"{out.stem}.partial.jsonl"
    partial.parent.mkdir(parents=True, exist_ok=True)
    lines = _resume(partial, header, engine.batch, len(order))
    already, started = len(lines), time.monotonic()
    with partial.open("ab") as stream, progress.task(benchmark.name, total=len(order), unit="questions") as task:
        task.advance(already)
        for start in range(already, len(order), engine.batch):
            batch = [prompts[number] for number in order[start:start + engine.batch]]
            fresh = [json.dumps(line, ensure_ascii=False) for line in _ask(engine, benchmark, batch, shared)]
            stream.write("".join(line + "\n" for line in fresh).encode())
            stream.flush()
            os.fsync(stream.fileno())
            lines += fresh
            task.advance(len(batch))
    seconds = time.monotonic() - started
    placed = dict(zip(order, lines, strict=True))
    for number, prompt in enumerate(prompts):
        if number not in placed:
            placed[number] = json.dumps(_line(prompt, [None] * len(prompt.candidates)), ensure_ascii=False)
    write_text(out, "".join(placed[number] + "\n" for number in range(len(prompts))))
    partial.unlink()
    figures = {**_figures(benchmark, prompts, read_answers(out)), "shared_tokens": shared}
    if benchmark.mode == "option-text":
        figures |= _normalised([json.loads(line) for line in lines])
    if len(lines) > already:
        figures["questions_per_second"] = (len(lines) - already) / max(seconds, 1e-9)
    return figures


def _figures(benchmark: Benchmark, prompts: Sequence[Prompt], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The score and what it rests on."""
    chosen = Counter(outcome.choice for outcome in outcomes if outcome.choice is not None)
    asked = [prompt for prompt in prompts if prompt.fits]
    return {
        **score_outcomes(outcomes).figures(), **_by_group(outcomes, benchmark), "mode": benchmark.mode, "shots": benchmark.shots,
        "available": benchmark.available, "integrity": benchmark.integrity,
        "chosen": {str(option): count for option, count in sorted(chosen.items())},
        "unasked": [prompt.item.id for prompt in prompts if not prompt.fits],
        "shortened": sum(prompt.dropped > 0 for prompt in asked), "sentences_dropped": sum(prompt.dropped for prompt in asked),
        "longest_prompt": max(len(prompt.ids) for prompt in asked), "first_tokens": list(prompts[0].ids[:4]),
        "longest_answer": max(len(tokens) for prompt in asked for tokens in prompt.candidates)}


def _ask(engine: Engine, benchmark: Benchmark, batch: Sequence[Prompt], shared: int) -> list[dict[str, Any]]:
    ids = [prompt.ids for prompt in batch]
    if all(len(tokens) == 1 for prompt in batch for tokens in prompt.candidates):
        found = engine.next_token_logprobs(ids, [[token for (token,) in prompt.candidates] for prompt in batch], shared)
    else:
        found = engine.text_logprobs(ids, [prompt.candidates for prompt in batch], shared)
    lines = []
    for prompt, exact in zip(batch, found, strict=True):
        line = _line(prompt, [round(value, DECIMALS) for value in exact])
        if benchmark.mode == "option-text":
            line |= {"bytes": [len(option.encode()) for option in prompt.item.options], "lengths": [len(ids) for ids in prompt.candidates]}
        lines.append(line)
    return lines


def _line(prompt: Prompt, logprobs: Sequence[float | None]) -> dict[str, Any]:
    """What is written of one question; without log-probabilities it was not asked, and has no choice."""
    values = [value for value in logprobs if value is not None]
    choice, tie = choose(values) if values else (None, False)
    return {"id": prompt.item.id, "gold": prompt.item.answer, "choice": choice, "options": len(prompt.item.options),
            "logprobs": list(logprobs), "tie": tie,
            "tokens": len(prompt.ids), "prompt_sha256": hashlib.sha256(prompt.text.encode()).hexdigest(),
            "dropped": prompt.dropped, "group": prompt.item.group, "cluster": prompt.item.cluster}


def _resume(partial: Path, header: dict[str, Any], batch: int, total: int) -> list[str]:
    """The answers that an interrupted run left, cut back to whole batches; the file afterwards holds just them.

    A batch is the unit because what a question is computed together with may show in its last bits.
    """
    lines: list[str] = []
    if partial.is_file():
        whole, _, _ = partial.read_bytes().rpartition(b"\n")  # what follows the last line end is torn
        first, *lines = whole.decode("utf-8", errors="replace").split("\n") if whole else ["", *lines]
        if first and json.loads(first) != header:
            raise Refusal(f"{partial}: was begun with another model, benchmark, batch or seed; delete it to begin anew")
        if len(lines) < total:
            lines = lines[:len(lines) // batch * batch]
    write_text(partial, "".join(line + "\n" for line in [json.dumps(header), *lines]))
    return lines


def _by_group(outcomes: Sequence[Outcome], benchmark: Benchmark) -> dict[str, Any]:
    """Accuracy for each category that the benchmark names, and their plain mean (the seed's own TruthfulQA average)."""
    groups: dict[str, list[Outcome]] = {}
    for outcome, item in zip(outcomes, benchmark.items, strict=True):
        if item.group is not None:
            groups.setdefault(item.group, []).append(outcome)
    if not groups:
        return {}
    shares = {name: sum(outcome.right for outcome in members) / len(members) for name, members in sorted(groups.items())}
    return {"groups": {name: {"n": len(groups[name]), "accuracy": share} for name, share in shares.items()},
            "macro_accuracy": sum(shares.values()) / len(shares)}


def _normalised(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy had the choice been by log-probability per token or per UTF-8 byte of the option: reported, never chosen by."""
    figures = {}
    for name, key in (("accuracy_per_token", "lengths"), ("accuracy_per_byte", "bytes")):
        chosen = [choose([value / size for value, size in zip(line["logprobs"], line[key], strict=True)])[0] for line in lines]
        figures[name] = sum(choice == line["gold"] for choice, line in zip(chosen, lines, strict=True)) / len(lines)
    return figures

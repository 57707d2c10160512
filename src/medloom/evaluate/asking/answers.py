"""Asking a model a whole benchmark: batch by batch, so that a run that was killed goes on and ends with the same bytes."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...ledger import Progress, Refusal
from ...ledger.files import sha256_json, write_text
from ..benchmarks import Benchmark
from ..engines import Engine
from ..scores import Outcome, Score, calibrate, choose, read_answers, score_outcomes, softmax
from .ask import Asking, Line, ask, askings, posed, unasked
from .meditron import DEFECTS
from .prompts import Prompt, shared_beginning


def answer(engine: Engine, benchmark: Benchmark, out: Path, seed: int, progress: Progress, state: Path | None = None,
           passport: Path | None = None) -> dict[str, Any]:
    """Ask every question and write `out` (answers.jsonl), one line a question in the benchmark's order; then every further asking's.

    A line holds id, gold, choice (option numbers from 0), options, logprobs (natural; of the option's token, or of all its tokens in
    option-text; null where the answer is a text), tie, tokens (of the prompt), prompt_sha256, dropped (sentences left out to make it fit),
    group, cluster; in further askings asked; in option-text bytes and lengths (tokens) of the options, and those that are true where
    several are; in modes that generate texts, votes and ended of every branch. The choice is the largest log-probability to six decimals,
    of equals the first. A question that does not fit the model is not asked, has no choice and counts as wrong.

    Until all are answered, whole batches of lines stand in answers.partial.jsonl, in `state` or beside `out`; a run that was
    killed goes on from there. Returns the score and what it rests on, by the part of the questions that was read in training and the part
    that was not where the model's `passport` is given. Raises Refusal where the questions cannot be posed, or
    the partial file is of another model, benchmark or seed.
    """
    out = Path(out)
    folder = Path(state) if state is not None else out.parent
    folder.mkdir(parents=True, exist_ok=True)
    passes = [_Pass(engine, benchmark, asking, folder / f"{out.stem}.partial{f'-{number}' if number else ''}.jsonl")
              for number, asking in enumerate(askings(benchmark, seed))]
    started = time.monotonic()
    fresh = 0
    with progress.task(benchmark.name, total=sum(len(one.order) for one in passes), unit="questions") as task:
        for one in passes:
            task.advance(len(one.lines))
            for size in one.ask_rest():
                fresh += size
                task.advance(size)
    seconds = time.monotonic() - started
    write_text(out, "".join(line + "\n" for one in passes for line in one.placed()))
    for one in passes:
        one.partial.unlink()
    outcomes = read_answers(out)
    figures = {**_figures(benchmark, passes[0].prompts, outcomes), "shared_tokens": passes[0].shared}
    if benchmark.mode == "option-text" and not benchmark.generates:
        figures |= _normalised([json.loads(line) for line in passes[0].lines])
    if passport is not None:
        figures["contamination"] = _by_contamination(benchmark, outcomes, passport)
    if fresh:
        figures["questions_per_second"] = fresh / max(seconds, 1e-9)
    return figures


class _Pass:
    """One asking of the whole benchmark, and how far it is: `lines` holds the answers to the first of `order`."""

    def __init__(self, engine: Engine, benchmark: Benchmark, asking: Asking, partial: Path) -> None:
        self.engine, self.benchmark, self.asking, self.partial = engine, benchmark, asking, partial
        self.prompts = posed(benchmark, engine, asking)
        # Longest first: like lengths are padded least, and what does not fit in memory shows at once.
        self.order = sorted((number for number, prompt in enumerate(self.prompts) if prompt.fits),
                            key=lambda number: (-len(self.prompts[number].ids), number))
        self.shared = shared_beginning([self.prompts[number] for number in self.order])
        header = {"model": engine.identity(), "batch": engine.batch, "mode": benchmark.mode, "protocol": benchmark.protocol,
                  "temperature": benchmark.temperature, "branches": benchmark.branches, "normalise": benchmark.normalise,
                  "asking": [asking.seed, asking.turn],
                  "prompts": sha256_json([[prompt.item.id, list(prompt.ids), [list(ids) for ids in prompt.candidates],
                                           prompt.sampling.tokens if prompt.sampling else 0] for prompt in self.prompts])}
        self.lines = _resume(partial, header, engine.batch, len(self.order))

    def ask_rest(self) -> Iterator[int]:
        """Answer what is left, batch by batch; gives the size of each."""
        with self.partial.open("ab") as stream:
            for start in range(len(self.lines), len(self.order), self.engine.batch):
                batch = [self.prompts[number] for number in self.order[start:start + self.engine.batch]]
                fresh = [_json(line) for line in ask(self.engine, self.benchmark, self.asking, batch, self.shared)]
                stream.write("".join(line + "\n" for line in fresh).encode())
                stream.flush()
                os.fsync(stream.fileno())
                self.lines += fresh
                yield len(batch)

    def placed(self) -> list[str]:
        """The lines in the benchmark's order, those of questions that were not asked included."""
        known = dict(zip(self.order, self.lines, strict=True))
        return [known[number] if number in known else _json(unasked(self.benchmark, self.asking, prompt))
                for number, prompt in enumerate(self.prompts)]


def _json(line: Line) -> str:
    return json.dumps(line, ensure_ascii=False)


def _figures(benchmark: Benchmark, prompts: Sequence[Prompt], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The score and what it rests on; of the prompts, the first asking's."""
    asked = [prompt for prompt in prompts if prompt.fits]
    score = score_outcomes(outcomes)
    figures = {
        **score.figures(), **_macro(score), **_calibration(outcomes), "mode": benchmark.mode, "shots": benchmark.shots,
        "protocol": benchmark.protocol, "available": benchmark.available, "integrity": benchmark.integrity,
        "unasked": [prompt.item.id for prompt in prompts if not prompt.fits],
        "shortened": sum(prompt.dropped > 0 for prompt in asked), "sentences_dropped": sum(prompt.dropped for prompt in asked),
        "longest_prompt": max(len(prompt.ids) for prompt in asked), "first_tokens": list(prompts[0].ids[:4]),
        "longest_answer": max((len(tokens) for prompt in asked for tokens in prompt.candidates), default=0)}
    return {**figures, "defects": [defect.name for defect in DEFECTS]} if benchmark.protocol == "meditron" else figures


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


def _macro(score: Score) -> dict[str, Any]:
    """The plain mean over a benchmark's categories (the seed's own TruthfulQA average)."""
    shares = [group["accuracy"] for group in score.groups.values()]
    return {"macro_accuracy": sum(shares) / len(shares)} if shares else {}


def _calibration(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Calibration where it can be told, without what only a plot wants."""
    found = calibrate(outcomes)
    if found is None:
        return {}
    return {"calibration": {name: value for name, value in found.figures().items() if name not in ("bins", "curve")}}


def _by_contamination(benchmark: Benchmark, outcomes: Sequence[Outcome], passport: Path) -> dict[str, Any]:
    # Imported here: it brings pyarrow, which most evaluations have no use for.
    from ...passport import Question, contamination, read_sketch
    from ..scores import split_by_contamination

    questions = [Question(item.id, "\n".join(part for part in (item.context, item.question) if part)) for item in benchmark.items]
    return split_by_contamination(outcomes, contamination(read_sketch(passport), questions).rows)


def _normalised(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy had the choice been by log-probability of the whole option, per token and per UTF-8 byte, and MC2 where there is one.

    MC2 (Lin et al. 2022, arXiv 2109.07958) is the share of the options' probability that lies on the true ones, averaged over questions.
    """
    figures = {}
    for name, key in (("accuracy_sum", None), ("accuracy_per_token", "lengths"), ("accuracy_per_byte", "bytes")):
        sizes = [line[key] if key else [1] * line["options"] for line in lines]
        chosen = [None if None in line["logprobs"] else choose([value / size for value, size in zip(line["logprobs"], own, strict=True)])[0]
                  for line, own in zip(lines, sizes, strict=True)]
        figures[name] = sum(choice == line["gold"] for choice, line in zip(chosen, lines, strict=True)) / len(lines)
    if all("true" in line for line in lines):
        figures["mc2"] = math.fsum(float(softmax(line["logprobs"])[line["true"]].sum()) for line in lines
                                   if None not in line["logprobs"]) / len(lines)
    return figures

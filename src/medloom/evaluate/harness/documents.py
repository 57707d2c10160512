"""A question as lm-eval keeps it: the same fields, in the same order, wherever we write one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...ledger import Refusal
from ..asking import completions
from ..benchmarks import SCORED, Benchmark, Item

if TYPE_CHECKING:
    from ...recipe import Mode

WORDING = Path(__file__).parent / "tasks"


def task_name(benchmark: Benchmark) -> str:
    """The name of a benchmark among lm-eval's tasks, where several thousand other names are taken."""
    return f"medloom_{re.sub(r'[^A-Za-z0-9_-]', '_', benchmark.name)}"


def wording(benchmark: Benchmark) -> str:
    """Which of the task files here words a benchmark: "letters" or "words". Raises Refusal where its questions need both, or neither."""
    if benchmark.generates:
        raise Refusal(f"{benchmark.name}: lm-eval is given questions that are scored in our own words, and this one's mode is "
                      f"{benchmark.mode!r} under the protocol {benchmark.protocol}; take {' or '.join(SCORED)}")
    kinds = {"letters" if item.lettered and benchmark.mode == "top-token" else "words" for item in (*benchmark.items, *benchmark.train)}
    if len(kinds) > 1:
        raise Refusal(f"{benchmark.name}: some questions list their options and some do not, and a task has one wording; split the file")
    return kinds.pop()


def document(item: Item, mode: Mode) -> dict[str, Any]:
    """`choices` are what is scored after the prompt and a space, `answer` the number of the right one; no context is an empty text.

    Where an answer is generated, `choices` are what can be read from it.
    """
    mode = mode if mode in SCORED else "top-token"
    return {"id": item.id, "context": item.context or "", "question": item.question, "options": list(item.options),
            "choices": [text.removeprefix(" ") for text in completions(item, mode)], "answer": item.answer}

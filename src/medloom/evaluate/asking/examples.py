"""Finetuning examples: training questions, worded exactly as evaluation poses the test's, and conversations from files of one's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from ...ledger.files import write_text
from ..benchmarks import Benchmark
from .prompts import block, completions


def write_examples(benchmarks: Sequence[Benchmark], out: Path, seed: int, files: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """Write {id, prompt, completion} and {id, messages} lines, shuffled by a hash of seed and id.

    The prompt of a benchmark's training question is the question without shots. `files` are JSON lines by the name that their examples
    are to have. Raises Refusal for a benchmark without training questions, and for a line that is no conversation, or has no answer.
    """
    lines: dict[str, str] = {}
    counts: dict[str, int] = {}
    for benchmark in benchmarks:
        if not benchmark.train:
            raise Refusal(f"evaluate.benchmarks.{benchmark.name}: has no training questions to learn from; give it a train file")
        counts[benchmark.name] = len(benchmark.train)
        for item in benchmark.train:
            name = f"{benchmark.name}:{item.id}"
            lines[name] = json.dumps({"id": name, "prompt": block(item, benchmark.mode),
                                      "completion": completions(item, benchmark.mode)[item.answer]}, ensure_ascii=False)
    read: dict[str, int] = {}
    for source, path in (files or {}).items():
        found = {f"{source}:{number}": said for number, said in _conversations(path)}
        if not found:
            raise Refusal(f"{path}: no examples in it; write JSON lines with messages, or with prompt and completion")
        read[source] = len(found)
        lines |= {name: json.dumps({"id": name, **said}, ensure_ascii=False) for name, said in found.items()}
    order = sorted(lines, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    write_text(Path(out), "".join(lines[name] + "\n" for name in order))
    return {"examples": len(lines), "benchmarks": counts, **({"files": read} if read else {})}


def _conversations(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a file with their numbers, without keys that finetuning does not read; empty lines are passed over."""
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    yield number, _conversation(json.loads(line))
                except ValueError as error:
                    what = "not valid JSON" if isinstance(error, json.JSONDecodeError) else str(error)
                    raise Refusal(f"{path}: line {number}: {what}; a line is {{\"messages\": [{{\"role\": \"user\", \"content\": …}}, "
                                  "{\"role\": \"assistant\", \"content\": …}]}, or has prompt and completion") from None


def _conversation(line: Any) -> dict[str, Any]:
    if not isinstance(line, dict):
        raise ValueError("not a JSON object")
    if "messages" not in line:
        pair = {key: line.get(key) for key in ("prompt", "completion")}
        if any(not isinstance(text, str) or not text.strip() for text in pair.values()):
            raise ValueError("has neither messages nor the texts prompt and completion")
        return pair
    messages = line["messages"]
    if not isinstance(messages, list) or any(not isinstance(message, dict) for message in messages):
        raise ValueError("messages is not a list of objects")
    said = [{"role": message.get("role"), "content": message.get("content")} for message in messages]
    if any(not isinstance(message["content"], str) or not message["content"].strip() for message in said):
        raise ValueError("a message has no content, or one that is not text")
    roles = [message["role"] for message in said]
    turns = roles[1:] if roles[:1] == ["system"] else roles
    if not turns or turns != ["user", "assistant"] * (len(turns) // 2):
        raise ValueError(f"the roles are {', '.join(map(str, roles)) or 'none'}, where user and assistant must take "
                         "turns, after a system message or none, and the assistant has the last word")
    return {"messages": said}

"""Whoever writes answers to whole questions: a model folder, a GGUF file, or an OpenAI-compatible server, asked in one way.

A model with a chat template of its own is asked through it; one without is a base model, and gets the plain form
"Question: … The answer is:", which ends at the first empty line. A server lays on what it will.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ledger import Refusal
from .model.gguf_file import open_gguf
from .review import Asked, Writer, Written
from .serve import Offer, Settings, opened
from .serve.engines import Ask, Broken, LlamaCpp, Refused, Starting, Turn
from .serve.templates import PLAIN

if TYPE_CHECKING:
    from .evaluate.engines.server_client import Client
    from .review import Candidate, Sampling
    from .serve.models import Model

AT_A_TIME = 4  # requests to a server, which batches them
FOLDER_BATCH = 4  # answers of our own network written together; a kill loses at most these


@contextmanager
def open_writer(candidate: Candidate) -> Iterator[Writer]:
    """The writer of a candidate, until the block ends. Raises Refusal for a model that is not there or cannot be loaded."""
    if candidate.url is not None:
        yield from _on_server(candidate.url, candidate.model)
        return
    assert candidate.path is not None
    path = Path(candidate.path)
    if path.is_dir():
        yield from _in_folder(path)
    else:
        yield from _in_file(path)


class FolderWriter:
    """A model folder through our own network."""

    def __init__(self, folder: Path, engine: Any) -> None:
        from .model import load_template
        from .model.templates import has_template

        self._template = load_template("tokenizer", folder) if has_template(folder) else None
        self._end = self._template.turn_end() if self._template is not None else None
        self._engine = engine
        self.template = _named(self._template.source) if self._template is not None else PLAIN.name
        self.sha256: str | None = engine.identity()
        self.served_as: str | None = None

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """See Writer."""
        from .evaluate import Sampling as Settings

        settings = Settings(tokens=sampling.tokens, temperature=sampling.temperature, stop=PLAIN.stop if self._template is None else ())
        for start in range(0, len(asked), FOLDER_BATCH):
            batch = asked[start:start + FOLDER_BATCH]
            prompts = [self._prompt(one.question, system) for one in batch]
            for one, prompt in zip(batch, prompts, strict=True):
                if len(prompt) + sampling.tokens > self._engine.context:
                    raise Refusal(f"question {one.id}: its {len(prompt)} tokens and an answer of {sampling.tokens} do not fit the model's "
                                  f"context of {self._engine.context}; make a study of shorter answers, or without the question")
            for (found,) in self._engine.generate(prompts, [[one.seed] for one in batch], settings):
                yield self._until_turn_end(found.ids, found.text, found.ended)

    def _prompt(self, question: str, system: str) -> list[int]:
        if self._template is not None:
            return self._template.encode([{**turn} for turn in _messages(question, system)], opened=True)[0]
        (ids,) = self._engine.encode([PLAIN.text(_messages(question, system))])
        return list(ids)

    def _until_turn_end(self, ids: tuple[int, ...], text: str, ended: bool) -> Written:
        """What closes an answer in a chat template need not be the model's end token."""
        if self._template is not None and self._end in ids:
            return Written(self._template.tokenizer.decode(list(ids[:ids.index(self._end)])), False)
        return Written(text, not ended)


class FileWriter:
    """A GGUF file, asked as `medloom serve` asks it."""

    def __init__(self, model: Model) -> None:
        self._model = model
        template = open_gguf(Path(model.engine.model)).value("tokenizer.chat_template") if isinstance(model.engine, LlamaCpp) else None
        self.template = _named(template) if template else PLAIN.name
        self.sha256: str | None = model.facts["sha256"]
        self.served_as: str | None = None

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """See Writer."""
        with asyncio.Runner() as runner:
            for one in asked:
                ask = Ask(self._model.prompt(_messages(one.question, system)), sampling.tokens, sampling.temperature,
                          stop=self._model.template.stop, seed=one.seed)
                try:
                    piece = runner.run(self._model.engine.whole(ask))
                except Refused as refused:
                    raise Refusal(f"{self._model.name}: refuses question {one.id} ({refused.message})") from None
                except (Broken, Starting):
                    raise Refusal(f"{self._model.name}: llama.cpp ended at question {one.id}; free some memory, and go on") from None
                yield Written(piece.text, piece.reason == "length")


class ServerWriter:
    """OpenAI's API of any server, which lays on what template it will."""

    def __init__(self, client: Client, model: str, digest: str | None) -> None:
        self._client, self.template, self.sha256 = client, "server", digest
        self.served_as: str | None = model

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """See Writer."""
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            for start in range(0, len(asked), AT_A_TIME):
                yield from pool.map(lambda one: self._one(one, system, sampling), asked[start:start + AT_A_TIME])

    def _one(self, one: Asked, system: str, sampling: Sampling) -> Written:
        from .evaluate.engines.server_client import Said

        body = {"model": self.served_as, "messages": _messages(one.question, system), "max_tokens": sampling.tokens,
                "temperature": sampling.temperature, "seed": one.seed}
        try:
            choice = self._client.post("/v1/chat/completions", body)["choices"][0]
            return Written(choice["message"]["content"] or "", choice["finish_reason"] == "length")
        except Said as said:
            # Some servers repeat what they were asked, and a question belongs in no log.
            repeated = one.question[:40] in said.message
            reason = "see its log" if repeated else said.message
            raise Refusal(f"{self._client.url}: refuses question {one.id} (HTTP {said.status}: {reason})") from None
        except (KeyError, IndexError, TypeError):
            raise Refusal(f"{self._client.url}: its answer is not in OpenAI's form; is it an OpenAI-compatible server?") from None


def _in_folder(folder: Path) -> Iterator[FolderWriter]:
    from .evaluate import open_engine
    from .recipe import Evaluation

    with open_engine(folder, Evaluation(batch=FOLDER_BATCH)) as engine:
        yield FolderWriter(folder, engine)


def _in_file(path: Path) -> Iterator[FileWriter]:
    with opened(Offer(str(path), path), Settings(slots=1)) as model:
        yield FileWriter(model)


def _on_server(url: str, model: str | None) -> Iterator[ServerWriter]:
    from .evaluate.engines.server_client import Client

    client = Client(url, os.environ.get("MEDLOOM_API_KEY"), connections=AT_A_TIME)
    try:
        entries = client.get("/v1/models").get("data") or []
        known = {entry.get("id"): entry for entry in entries if isinstance(entry, dict)}
        if model is None and len(known) != 1:
            raise Refusal(f"{url}: serves {len(known)} models; name one, as in NAME={url}#MODEL")
        model = model or str(next(iter(known)))
        if model not in known:
            raise Refusal(f"{url}: has no model {model!r}; there are {', '.join(map(str, known))}")
        said = known[model].get("metadata")
        digest = said.get("sha256") if isinstance(said, dict) else None  # our own gateway tells it
        yield ServerWriter(client, model, digest)
    finally:
        client.close()


def _messages(question: str, system: str) -> list[Turn]:
    opening: list[Turn] = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": question}]


def _named(source: str) -> str:
    """An id for a chat template of the model's own."""
    return f"own:{sha256(source.encode()).hexdigest()[:12]}"

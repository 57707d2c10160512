"""Whoever writes answers to whole questions: a model folder, a GGUF file, or an OpenAI-compatible server, asked in one way.

A model with a chat template of its own is asked through it; one without is a base model, and gets the plain form
"Question: … The answer is:", which ends at the first empty line. A server lays on what it will.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .ledger import Refusal
from .review import Asked, Writer, Written

if TYPE_CHECKING:
    from .evaluate.engines.server_client import Client
    from .model import Message
    from .review import Candidate, Sampling

PLAIN = "plain"
PLAIN_STOPS = ("\nQuestion:", "\n\n")
ONLY_TEMPERATURE = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}  # llama.cpp cuts the tail of its own accord
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
        self.template = _named(self._template.source) if self._template is not None else PLAIN
        self.sha256: str | None = engine.identity()
        self.served_as: str | None = None

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """See Writer."""
        from .evaluate import Sampling as Settings

        settings = Settings(tokens=sampling.tokens, temperature=sampling.temperature, stop=PLAIN_STOPS if self._template is None else ())
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
            return self._template.encode(_messages(question, system), opened=True)[0]
        (ids,) = self._engine.encode([_plain(question, system)])
        return list(ids)

    def _until_turn_end(self, ids: tuple[int, ...], text: str, ended: bool) -> Written:
        """What closes an answer in a chat template need not be the model's end token."""
        if self._template is not None and self._end in ids:
            return Written(self._template.tokenizer.decode(list(ids[:ids.index(self._end)])), False)
        return Written(text, not ended)


class ServerWriter:
    """OpenAI's API: of any server, or of llama.cpp's in this process for a GGUF file. The plain form is asked for as a completion.

    `more` goes into every request beside what OpenAI knows.
    """

    def __init__(self, client: Client, *, model: str | None, template: str, digest: str | None, at_a_time: int,
                 more: dict[str, Any] | None = None) -> None:
        self._client, self._model, self._at_a_time, self._more = client, model, at_a_time, more or {}
        self.template, self.sha256, self.served_as = template, digest, model

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """See Writer."""
        with ThreadPoolExecutor(self._at_a_time) as pool:
            for start in range(0, len(asked), self._at_a_time):
                yield from pool.map(lambda one: self._one(one, system, sampling), asked[start:start + self._at_a_time])

    def _one(self, one: Asked, system: str, sampling: Sampling) -> Written:
        from .evaluate.engines.server_client import Said

        body: dict[str, Any] = {**self._more, "max_tokens": sampling.tokens, "temperature": sampling.temperature, "seed": one.seed}
        if self._model is not None:
            body["model"] = self._model
        try:
            if self.template == PLAIN:
                body |= {"prompt": _plain(one.question, system), "stop": list(PLAIN_STOPS)}
                choice = self._client.post("/v1/completions", body)["choices"][0]
                return Written(choice["text"], choice["finish_reason"] == "length")
            reply = self._client.post("/v1/chat/completions", {**body, "messages": _messages(one.question, system)})
            choice = reply["choices"][0]
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


def _in_file(path: Path) -> Iterator[ServerWriter]:
    import xllamacpp

    from .evaluate.engines.server_client import Client
    from .model.gguf_file import gguf_digest, open_gguf

    template = open_gguf(path).value("tokenizer.chat_template")
    settings = xllamacpp.CommonParams()
    settings.model.path, settings.n_ctx, settings.n_parallel = str(path), 0, 1
    # llama.cpp's threads spin as they wait, and lose much where they must share a core.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = max(1, (os.cpu_count() or 2) - 1)
    settings.warmup, settings.verbosity, settings.use_jinja = False, -1, True
    settings.hostnames, settings.port = ["127.0.0.1"], 0
    key = secrets.token_hex(16)
    settings.api_keys = [key]
    try:
        server = xllamacpp.Server(settings)
    except Exception as error:  # RuntimeError and plain Exception alike
        raise Refusal(f"{path}: llama.cpp cannot load it ({error}); export it again") from error
    client = Client(server.listening_address, key, connections=1)
    try:
        yield ServerWriter(client, model=None, template=_named(template) if template else PLAIN, digest=gguf_digest(path), at_a_time=1,
                           more=ONLY_TEMPERATURE)
    finally:
        client.close()
        del server  # its destructor ends the threads and gives back the memory


def _on_server(url: str, model: str | None) -> Iterator[ServerWriter]:
    from .evaluate.engines.server_client import Client

    client = Client(url, os.environ.get("MEDLOOM_API_KEY"), connections=AT_A_TIME)
    try:
        entries = client.get("/v1/models").get("data") or []
        known = {entry.get("id"): entry for entry in entries if isinstance(entry, dict)}
        if model is None and len(known) != 1:
            raise Refusal(f"{url}: serves {len(known)} models; name one, as in NAME={url}#MODEL")
        model = model or next(iter(known))
        if model not in known:
            raise Refusal(f"{url}: has no model {model!r}; there are {', '.join(map(str, known))}")
        said = known[model].get("metadata")
        digest = said.get("sha256") if isinstance(said, dict) else None  # our own gateway tells it
        yield ServerWriter(client, model=model, template="server", digest=digest, at_a_time=AT_A_TIME)
    finally:
        client.close()


def _plain(question: str, system: str) -> str:
    return "\n\n".join([*([system] if system else []), f"Question: {question}", "The answer is:"])


def _messages(question: str, system: str) -> list[Message]:
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": question}]


def _named(source: str) -> str:
    """An id for a chat template of the model's own."""
    return f"own:{sha256(source.encode()).hexdigest()[:12]}"

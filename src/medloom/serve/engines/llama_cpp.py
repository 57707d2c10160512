"""llama.cpp's server in a supervised child process, asked in its own dialect, which tells more than OpenAI's.

Log-probabilities of a prompt, which llama.cpp's server does not give, come out of an answer whose tokens a grammar prescribes one by one:
what each token's probability was before the grammar spoke is what the server tells of it.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import IO, Any

from medloom.model.gguf_file import open_gguf
from medloom.model.gguf_tokens import GGUFTokens

from .control import GUARD, stretches
from .engine import Ask, Broken, Piece, Refused, Turn, Unable, Written, too_long
from .llama_cpp_dialect import checked, likeliest, may_hide_its_token, piece_of, pieces_of, request_of, sought
from .process import ChildProcess, environment
from .wire import GONE, events, posted

LIKELY = 256  # tokens among which one is sought first


class LlamaCpp(ChildProcess):
    """One GGUF file in one child process.

    context: tokens that one request may take, prompt and answer together; slots: requests that run at once; threads: of
    the processor, by default one less than there are, for ggml's threads wait by spinning; embeds: whether it makes embeddings too.
    """

    kind = "llama.cpp"
    told = 256

    def __init__(self, model: Path, *, context: int, slots: int, threads: int | None = None, embeds: bool = False) -> None:
        super().__init__(str(model))
        self.model, self.slots, self.embeds = model, slots, embeds
        self.context: int | None = context
        self.threads = threads or max(1, (os.cpu_count() or 2) - 1)
        self.key = secrets.token_urlsafe(32)

    def start(self) -> None:
        """See Engine. The file is looked at before each start, for the child itself does not look."""
        self._tokens = GGUFTokens(open_gguf(self.model))
        super().start()
        _ = self._tokens.control, self._tokens.ends  # a large vocabulary takes its time, which no request should wait for

    def _launch(self, noise: IO[bytes]) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "medloom.serve.engines.llama_cpp_child"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=noise, text=True, start_new_session=True, env=environment())

    def _address(self, child: subprocess.Popen[str]) -> str | None:
        assert child.stdin is not None and child.stdout is not None
        settings = {"model": str(self.model), "context": self.context, "slots": self.slots, "threads": self.threads, "key": self.key,
                    "embeds": self.embeds}
        try:
            child.stdin.write(json.dumps(settings) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except BrokenPipeError:
            line = ""
        return str(json.loads(line)["url"]) if line else None

    def _cannot(self, words: str) -> str:
        return f"{self.model}: llama.cpp cannot load it ({words}); export it again, or free some memory"

    @property
    def control(self) -> tuple[str, ...]:
        """The texts of the file's control tokens."""
        return self._tokens.control

    @cached_property
    def _tokens(self) -> GGUFTokens:
        return GGUFTokens(open_gguf(self.model))

    async def stream(self, ask: Ask) -> AsyncGenerator[list[Piece], None]:
        """See Engine."""
        prompt = await self._prompt(ask)
        if ask.echo:
            yield [first := await self._echoed(ask, prompt)]
            if first.reason:
                return
        hides = may_hide_its_token(ask)
        async with posted(self.url, "/completion", {**request_of(ask, prompt), "stream": True}, self.key) as response:
            if response.status != 200:
                checked(response.status, await response.body())
            async for batch in events(response.parts()):
                pieces = pieces_of(batch, ask.logprobs)
                hides = hides and not any(piece.tokens for piece in pieces)
                if hides and pieces[-1].reason:
                    pieces[-1] = replace(pieces[-1], tokens=(await self._hidden(ask, prompt),))
                yield pieces
                if pieces[-1].reason:
                    return
        raise Broken(GONE)

    async def whole(self, ask: Ask) -> Piece:
        """See Engine. It is streamed here too: of a client that leaves llama.cpp's server takes no notice before it writes to it."""
        async with aclosing(self.stream(ask)) as batches:
            pieces = [piece async for batch in batches for piece in batch]
        tokens = tuple(token for piece in pieces for token in piece.tokens)
        return replace(pieces[-1], text="".join(piece.text for piece in pieces), tokens=tokens)

    async def rendered(self, turns: Sequence[Turn]) -> str:
        """See Engine."""
        return str((await self._post("/apply-template", {"messages": list(turns)}))["prompt"])

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """See Engine."""
        if not self.embeds:
            raise Unable("this server makes no embeddings; start it with --embeddings")
        body = await self._post("/v1/embeddings", {"input": list(texts)})
        return [entry["embedding"] for entry in sorted(body["data"], key=lambda entry: int(entry["index"]))], body["usage"]["prompt_tokens"]

    async def _prompt(self, ask: Ask) -> str | list[int]:
        prompt = ask.prompt
        if not isinstance(prompt, str):
            ids = [part for part in prompt if isinstance(part, int)]
            if ids:
                unknown = next((number for number in ids if number >= len(self._tokens)), None)
                if unknown is not None:
                    raise Refused(f"prompt: there is no token {unknown}; the vocabulary has {len(self._tokens)}", field="prompt")
                return ids
            prompt = await self.rendered([part for part in prompt if not isinstance(part, int)])
        return await self._cut(prompt) if GUARD in prompt else prompt

    async def _cut(self, prompt: str) -> list[int]:
        """Ids of a guarded prompt. The beginning token goes first once, whether or not the template writes it."""
        opening = await self._ids("", beginning=True, control=True)
        parts = [await self._ids(part, beginning=False, control=control) for part, control in stretches(prompt, self.control)]
        ids = [number for part in parts for number in part]
        return ids if ids[:len(opening)] == opening else opening + ids

    async def _ids(self, text: str, *, beginning: bool, control: bool) -> list[int]:
        body = {"content": text, "add_special": beginning, "parse_special": control}
        return [int(number) for number in (await self._post("/tokenize", body))["tokens"]]

    async def _echoed(self, ask: Ask, prompt: str | list[int]) -> Piece:
        """The prompt as a piece; with log-probabilities, if they are asked for, at the price of an answer as long."""
        ids = prompt if isinstance(prompt, list) else await self._ids(prompt, beginning=True, control=True)
        text = prompt if isinstance(prompt, str) else str((await self._post("/detokenize", {"tokens": prompt}))["content"])
        assert self.context is not None
        if len(ids) > self.context:
            raise too_long(len(ids), self.context)
        tokens = () if ask.logprobs is None else tuple([token async for token in self._told(ids, ask.logprobs)])
        return Piece(text, tokens, None if ask.tokens else "length", len(ids), 0)

    async def _told(self, ids: list[int], logprobs: int) -> AsyncGenerator[Written, None]:
        """A prompt's tokens with their log-probabilities; of the first there is none.

        A grammar prescribes what is text, and each other token is sought among all that could stand in its place.
        """
        opening = str((await self._post("/detokenize", {"tokens": ids[:1]}))["content"])
        yield Written(opening, opening.encode(), None)
        on: dict[str, Any] = {"cache_prompt": False}

        async def answer(begin: int, tokens: int, count: int, how: dict[str, Any]) -> dict[str, Any]:
            wanted = request_of(Ask("", tokens, temperature=0, logprobs=count), ids[:begin])
            found = await self._post("/completion", {**wanted, **how, **on})
            on.update(cache_prompt=True, id_slot=found["id_slot"])  # what was read just now, and nobody else's
            return found

        for text, run in groupby(range(1, len(ids)), lambda place: self._tokens.is_text(ids[place])):
            places = list(run)
            if text:
                grammar = "root ::= " + " ".join(f"<[{ids[place]}]>" for place in places)
                for token in piece_of(await answer(places[0], len(places), logprobs, {"grammar": grammar}), logprobs).tokens:
                    yield token
                continue
            for place in places:
                found = sought(await answer(place, 1, LIKELY, self._tokens.letter_bias), ids[place], logprobs)
                if found is None:  # megabytes of an answer
                    found = sought(await answer(place, 1, len(self._tokens), self._tokens.letter_bias), ids[place], logprobs)
                assert found is not None
                yield found

    async def _hidden(self, ask: Ask, prompt: str | list[int]) -> Written:
        """The one token of a greedy answer that is a part of a character."""
        count = len(self._tokens) if ask.bias else ask.logprobs
        told = await self._post("/completion", {**request_of(replace(ask, logprobs=count), prompt), **self._tokens.letter_bias})
        chosen = sought(told, likeliest(told, dict(ask.bias)), ask.logprobs)
        assert chosen is not None, "it is one of those that are told"
        return chosen

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with posted(self.url, path, body, self.key) as response:
            return checked(response.status, await response.body())

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
from .engine import Ask, Broken, Piece, Refused, Scored, Starting, Turn, Unable, Written, decoded, too_long
from .process import ChildProcess, environment
from .wire import GONE, events, posted


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
        hides = _may_hide_its_token(ask)
        async with posted(self.url, "/completion", {**_body(ask, prompt), "stream": True}, self.key) as response:
            if response.status != 200:
                _checked(response.status, await response.body())
            async for batch in events(response.parts()):
                pieces = _pieces(batch, ask.logprobs)
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
        for text, places in groupby(range(1, len(ids)), lambda place: self._tokens.is_text(ids[place])):
            for run in [list(places)] if text else [[place] for place in places]:
                how = {"grammar": "root ::= " + " ".join(f"<[{ids[place]}]>" for place in run)} if text else self._tokens.letter
                before = ids[:run[0]]
                ask = Ask(before, len(run), temperature=0, logprobs=logprobs if text else len(self._tokens))
                answer = await self._post("/completion", {**_body(ask, before), **how, **on})
                for token in _piece(answer, logprobs).tokens if text else (_sought(answer, ids[run[0]], logprobs),):
                    yield token
                on = {"cache_prompt": True, "id_slot": answer["id_slot"]}  # what was read just now, and nobody else's

    async def _hidden(self, ask: Ask, prompt: str | list[int]) -> Written:
        """The one token of a greedy answer that is a part of a character."""
        body = {**_body(replace(ask, logprobs=len(self._tokens)), prompt), **self._tokens.letter}
        answer, bias = await self._post("/completion", body), dict(ask.bias)
        possible = (entry for entry in _likeliest(answer) if entry["logprob"] is not None)
        number = max(possible, key=lambda entry: float(entry["logprob"]) + bias.get(entry["id"], 0.0))["id"]
        return _sought(answer, number, ask.logprobs)

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with posted(self.url, path, body, self.key) as response:
            return _checked(response.status, await response.body())


def _body(ask: Ask, prompt: str | list[int]) -> dict[str, Any]:
    """OpenAI's sampling and no other: llama.cpp cuts the tail of its own accord, and takes the top_p before the temperature."""
    penalised = ["penalties"] if ask.presence or ask.frequency else []
    return {"prompt": prompt, "n_predict": ask.tokens, "temperature": ask.temperature, "top_p": ask.top_p, "top_k": 1,
            "samplers": penalised + (["temperature", "top_p"] if ask.temperature else ["top_k"]),
            "presence_penalty": ask.presence, "frequency_penalty": ask.frequency, "stop": list(ask.stop),
            # What was asked before must not show in the last bits of what is to repeat itself.
            "cache_prompt": ask.seed is None and ask.logprobs is None,
            **({"logit_bias": [list(pair) for pair in ask.bias]} if ask.bias else {}),
            **({} if ask.seed is None else {"seed": ask.seed}), **({} if ask.logprobs is None else {"n_probs": max(1, ask.logprobs)})}


def _pieces(batch: list[bytes], logprobs: int | None) -> list[Piece]:
    """What came together; as one piece and the last one, where no token is looked at by itself."""
    events: list[dict[str, Any]] = json.loads(b"[" + b",".join(batch) + b"]")
    if any("error" in event for event in events):
        raise Broken("the engine failed while it wrote the answer")
    if logprobs is None and len(events) > 1:
        events[:-1] = [{**events[-2], "content": "".join([event["content"] for event in events[:-1]])}]
    return [_piece(event, logprobs) for event in events]


def _piece(event: dict[str, Any], logprobs: int | None) -> Piece:
    tokens: tuple[Written, ...] = ()
    if logprobs is not None:
        tokens = tuple(Written(told.text, told.bytes, told.logprob, tuple(map(_scored, entry["top_logprobs"][:logprobs])))
                       for entry in event.get("completion_probabilities", ()) for told in [_scored(entry)])
    reason = None if not event.get("stop") else "length" if event.get("stop_type") == "limit" else "stop"
    return Piece(event["content"], tokens, reason, int(event["tokens_evaluated"]), int(event["tokens_predicted"]))


def _may_hide_its_token(ask: Ask) -> bool:
    """Whether log-probabilities are wanted of one token alone, which all of them tell where llama.cpp does not."""
    return ask.logprobs is not None and ask.tokens == 1 and ask.temperature == 0 and not ask.presence and not ask.frequency


def _likeliest(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """What could stand in the place of the one token that was written."""
    (place,) = answer["completion_probabilities"]
    return list(place["top_logprobs"])


def _sought(answer: dict[str, Any], number: int, logprobs: int | None) -> Written:
    """A token in the place of the one that was written, with the likeliest ones there."""
    likeliest = _likeliest(answer)
    told = _scored(next(entry for entry in likeliest if entry["id"] == number))
    return Written(told.text, told.bytes, told.logprob, tuple(map(_scored, likeliest[:logprobs])))


def _scored(entry: dict[str, Any]) -> Scored:
    return Scored(entry["token"], bytes(entry["bytes"]), None if entry["logprob"] is None else float(entry["logprob"]))


def _checked(status: int, content: bytes) -> dict[str, Any]:
    """The engine's JSON, or what its refusal means."""
    body = decoded(content)
    if status == 200 and isinstance(body, dict):
        return body
    error = body.get("error", {}) if isinstance(body, dict) else {}
    if status == 400 and error.get("type") == "exceed_context_size_error":
        raise too_long(error.get("n_prompt_tokens"), error.get("n_ctx"))
    if status == 400:
        raise Refused(str(error.get("message", "the engine refuses the request")))
    if status == 503:
        raise Starting
    raise Broken("the engine failed")

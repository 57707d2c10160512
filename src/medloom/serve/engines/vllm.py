"""A model folder served by vLLM, `vllm serve`, in a supervised child process.

vLLM is asked as any server with OpenAI's API, but for what only the folder tells. Prompts go out as token ids, conversations cut by the
rule of finetuning, so that no message can write a control token; and tokens come back by their ids, for vLLM's texts of them lack the
space before a word, and two of the likeliest may have one text.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import httpx

from medloom.ledger import Refusal
from medloom.ledger.files import read_json
from medloom.model import Message, Template, load_template, load_tokenizer
from medloom.model.templates import control_tokens

from . import vllm_child
from .control import GUARD, stretches
from .engine import Ask, Piece, Refused, Scored, Starting, Turn, Unable, Written, too_long
from .process import ChildProcess
from .upstream import Upstream

NAME = "model"  # what vLLM calls it; clients never see that
COMMAND = "MEDLOOM_VLLM"  # the variable that names the command
MOST_TOLD = 256  # likeliest tokens that it names in place of one
CAUSE = re.compile(r"Value error, (.+?)(?: \[type=|$)|(?:^|[\s.])\w*(?:Error|Exception): (?!\d+ validation error)(.+)|: error: (.+)")


class Vllm(ChildProcess):
    """One model folder in Hugging Face form behind `vllm serve`.

    context: tokens that one request may take, prompt and answer together; slots: requests that run at once.
    """

    kind = "vllm"
    told = MOST_TOLD
    embeds = False
    patient = vllm_child.ORDERLY + 2

    def __init__(self, folder: Path, *, context: int, slots: int) -> None:
        super().__init__(str(folder))
        self.folder, self.slots = folder, slots
        self.context: int | None = context
        self.key = secrets.token_urlsafe(32)
        self._reading = _Reading(folder)
        self._server: _Server | None = None

    @property
    def control(self) -> tuple[str, ...]:
        """The texts of the folder's control tokens."""
        return self._reading.control

    def _launch(self, noise: IO[bytes]) -> subprocess.Popen[str]:
        port = _free_port()
        words = [sys.executable, "-I", vllm_child.__file__, *command(), "serve", str(self.folder.resolve()), "--host", "127.0.0.1",
                 "--port", str(port), "--served-model-name", NAME, "--max-model-len", str(self.context), "--max-num-seqs", str(self.slots),
                 # Sampling is what the request says, and nothing that a file in the folder adds to it.
                 "--generation-config", "vllm", "--max-logprobs", str(MOST_TOLD), "--return-tokens-as-token-ids",
                 "--uvicorn-log-level", "warning", "--disable-log-stats"]
        if _dtype(self.folder) == "float32":
            words += ["--dtype", "float32"]  # vLLM would halve them
        self._server = _Server(f"http://127.0.0.1:{port}", self._reading, key=self.key, slots=self.slots, context=self.context)
        return subprocess.Popen(words, stdin=subprocess.PIPE, stderr=noise, text=True, start_new_session=True, env={
            "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_HOST_IP": "127.0.0.1", **os.environ, "VLLM_API_KEY": self.key, "HF_HUB_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"})

    def _address(self, child: subprocess.Popen[str]) -> str | None:
        """Ready is what has written a token: some models load, and end the engine with the first."""
        self._reading.prepare()
        assert self._server is not None
        url = self._server.url
        bearer = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(timeout=httpx.Timeout(None, connect=5), trust_env=False, headers=bearer) as client:
            while child.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get(f"{url}/health").status_code == 200:
                        told = client.post(f"{url}/v1/completions", json={"model": NAME, "prompt": "a", "max_tokens": 1})
                        return url if told.status_code == 200 else None
                time.sleep(0.1)
        return None

    def _cannot(self, words: str) -> str:
        return f"{self.folder}: vLLM cannot serve it ({words}); `{' '.join(command())} serve {self.folder}` tells more"

    def _cause(self, said: str) -> str | None:
        """The first exception is the cause; those behind it say that something failed."""
        lines = (line for line in said.splitlines() if " WARNING " not in line)
        found = next(filter(None, map(CAUSE.search, lines)), None)
        return next(filter(None, found.groups())) if found else super()._cause(said)

    @property
    def _asked(self) -> _Server:
        if self._server is None:
            raise Starting
        return self._server

    def stream(self, ask: Ask) -> AsyncGenerator[list[Piece], None]:
        """See Engine."""
        return self._asked.stream(ask)

    async def whole(self, ask: Ask) -> Piece:
        """See Engine."""
        return await self._asked.whole(ask)

    async def rendered(self, turns: Sequence[Turn]) -> str:
        """See Engine."""
        return self._reading.text(turns)

    async def embed(self, texts: Sequence[str]) -> tuple[list[list[float]], int]:
        """See Engine: vLLM makes none with a model that writes."""
        raise Unable("vLLM makes no embeddings with a model that writes text")


class _Reading:
    """What a model folder tells of its conversations and tokens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = load_tokenizer(folder)
        self._control = control_tokens(self._tokenizer)
        self._texts = {number: text for text, number in self._control.items()}
        self.control = tuple(self._control)
        # SentencePiece drops the space before a text's first word, so that every token is read behind another.
        self._before = self._tokenizer.encode("\n")[-1:]

    @cached_property
    def _template(self) -> Template:
        return load_template("tokenizer", self._folder)

    def prepare(self) -> None:
        """Load what the first conversation would wait for."""
        with contextlib.suppress(Refusal):  # it is told to who asks in conversations, if anybody does
            assert self._template

    def ids(self, prompt: str | Sequence[int] | Sequence[Turn]) -> list[int]:
        """A prompt as tokens; a conversation open for the assistant. Raises Refused where the template does not take it."""
        if isinstance(prompt, str):
            return self._cut(prompt)
        turns = [part for part in prompt if not isinstance(part, int)]
        if not turns:
            return [part for part in prompt if isinstance(part, int)]
        try:
            return self._template.encode(_messages(turns), opened=True)[0]
        except Refusal as refusal:
            raise Refused(str(refusal), field="messages") from None

    def text(self, turns: Sequence[Turn]) -> str:
        """The same as one text."""
        try:
            return self._template.text(_messages(turns), opened=True)
        except Refusal as refusal:
            raise Refused(str(refusal), field="messages") from None

    def _cut(self, prompt: str) -> list[int]:
        """Control tokens are read out of a text where they are not guarded; the beginning token goes first once."""
        ids = [number for part, control in stretches(prompt, self.control)
               for number in ([self._control[part]] if control else self._tokenizer.encode(part))]
        opening = [self._tokenizer.bos_id] if self._tokenizer.adds_bos and self._tokenizer.bos_id is not None else []
        return ids if ids[:len(opening)] == opening else opening + ids

    def named(self, scored: Scored) -> Scored:
        """The token with its own text in the place of "token_id:17"."""
        prefix, _, number = scored.text.partition("token_id:")
        if prefix or not number.isdecimal():
            return scored
        decode = self._tokenizer.decode
        text = self._texts.get(int(number)) or decode([*self._before, int(number)])[len(decode(self._before)):]
        return replace(scored, text=text, bytes=text.encode())


class _Server(Upstream):
    """vLLM, asked with what the folder tells."""

    told = MOST_TOLD

    def __init__(self, url: str, reading: _Reading, *, key: str, slots: int, context: int | None) -> None:
        super().__init__(url, NAME, key=key, slots=slots, context=context)
        self._reading = reading

    async def stream(self, ask: Ask) -> AsyncGenerator[list[Piece], None]:
        """See Engine."""
        first = True
        async for pieces in super().stream(self._cut(ask)):
            named = [self._named(piece) for piece in pieces]
            yield [_as_given(ask, named[0]), *named[1:]] if first else named
            first = False

    async def whole(self, ask: Ask) -> Piece:
        """See Engine."""
        piece = _as_given(ask, self._named(await super().whole(self._cut(ask))))
        return piece if ask.tokens else replace(piece, written=0)  # vLLM writes one that it does not show

    def _cut(self, ask: Ask) -> Ask:
        """Token ids in the prompt's place, and no more tokens wanted than there is room for: not every vLLM stops by itself."""
        assert self.context is not None
        ids = self._reading.ids(ask.prompt)
        room = self.context - len(ids)
        if room < min(1, ask.tokens):
            raise too_long(len(ids), self.context)
        return replace(ask, prompt=ids, tokens=min(ask.tokens, room))

    def _named(self, piece: Piece) -> Piece:
        named = self._reading.named
        return replace(piece, tokens=tuple(Written(told.text, told.bytes, told.logprob, tuple(map(named, token.top)))
                                           for token in piece.tokens for told in [named(token)]))


def _as_given(ask: Ask, piece: Piece) -> Piece:
    """An echoed prompt without what vLLM writes before it, the beginning token."""
    at = piece.text.find(ask.prompt) if ask.echo and isinstance(ask.prompt, str) else 0
    return replace(piece, text=piece.text[at:]) if at > 0 else piece


def _messages(turns: Sequence[Turn]) -> list[Message]:
    # The template parts control tokens that a message spells by itself.
    return [{"role": turn["role"], "content": turn["content"].replace(GUARD, "")} for turn in turns]


def command() -> list[str]:
    """How vLLM is called here: what MEDLOOM_VLLM names, else `vllm` on the PATH. Raises Refusal where there is none."""
    named = os.environ.get(COMMAND)
    found = shutil.which(named or "vllm")
    if found is None and named:
        raise Refusal(f"{COMMAND}={named}: no such command; name vLLM's `vllm`, or unset it")
    if found is None:
        raise Refusal("a model folder is served by vLLM, which is not installed: `pip install 'medloom[vllm]'`, or name its command "
                      f"in {COMMAND}; or make a file of it, which needs none: `medloom quantise FOLDER --type F16 --out DIR`")
    return [found]


def _dtype(folder: Path) -> Any:
    config = read_json(folder / "config.json")
    return config.get("dtype") or config.get("torch_dtype")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

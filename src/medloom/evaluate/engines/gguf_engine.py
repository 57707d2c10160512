"""A GGUF file as an engine, through llama.cpp's server inside this process (xllamacpp).

Prompts go in as token ids, and log-probabilities come out of `n_probs`, which gives them before any sampling. The
key-value cache is float32 and flash attention is off, so that what differs from the original model is the file's
doing alone: on an F32 file the scores agree with our network's to 1e-5.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

from ...ledger import Refusal
from ...model.gguf_file import gguf_digest, open_gguf
from ...model.gguf_tokens import GGUFTokens
from .beginnings import beginnings, summed
from .engine import Continuation, Ids, Sampling

FIRST_PROBABILITIES = 64  # asked for at first; candidates that are not among them are asked for over the whole vocabulary
SILENT = -1


class GGUFEngine:
    """A .gguf file on the CPU.

    `threads` defaults to one less than the cores, because llama.cpp's threads spin and lose much when they must share one.
    `tokenizer` is a model folder whose tokenizer cuts the prompts; without it the file's own does. `context` defaults to
    what the file says it was trained on.
    """

    def __init__(self, path: Path, threads: int | None = None, *, tokenizer: Path | None = None, context: int | None = None,
                 batch: int = 16) -> None:
        import httpx
        import xllamacpp

        self._path = Path(path)
        # With a clear word about a file that is damaged, which llama.cpp would not give, or altered, which it loads.
        self._head = open_gguf(self._path)
        settings = xllamacpp.CommonParams()
        settings.model.path = str(self._path)
        settings.n_ctx = context or 0
        settings.n_parallel = 1
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads or max(1, (os.cpu_count() or 2) - 1)
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.warmup = False
        settings.verbosity = SILENT
        # The server listens whether it is wanted or not: on this machine only, on a free port, behind a key that no one knows.
        settings.hostnames, settings.port = ["127.0.0.1"], 0
        key = secrets.token_hex(16)
        settings.api_keys = [key]
        try:
            self._server: Any = xllamacpp.Server(settings)
        except Exception as error:  # xllamacpp raises RuntimeError and plain Exception alike
            raise Refusal(f"{path}: llama.cpp cannot load it ({error}); export it again") from error
        self._client = httpx.Client(base_url=self._server.listening_address, headers={"Authorization": f"Bearer {key}"}, timeout=60)
        self._encode = None
        if tokenizer is not None:
            from ...model import load_tokenizer

            own = load_tokenizer(tokenizer)
            self._encode = lambda texts: own.encode_batch(texts, bos=own.adds_bos)
        self.context = int(self._client.get("/props").json()["default_generation_settings"]["n_ctx"])
        self._vocabulary = int(self._client.get("/v1/models").json()["data"][0]["meta"]["n_vocab"])
        self.batch = batch

    def identity(self) -> str:
        """SHA-256 of the file."""
        return gguf_digest(self._path)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See Engine."""
        if self._encode is not None:
            return self._encode(texts)
        return [self._client.post("/tokenize", json={"content": text, "add_special": True, "parse_special": False}).json()["tokens"]
                for text in texts]

    def next_token_logprobs(self, prompts: Sequence[Ids], candidates: Sequence[Ids], shared: int = 0) -> list[list[float]]:
        """See Engine. The server itself finds what a prompt shares with the one before it."""
        # The first prompt of a call is read without the cache: what was asked before must not show in the last bits.
        return [self._next(prompt, wanted, cached=number > 0)
                for number, (prompt, wanted) in enumerate(zip(prompts, candidates, strict=True))]

    def text_logprobs(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int = 0) -> list[list[float]]:
        """See Engine. One request for each distinct beginning of a continuation: the server tells no log-probabilities of a prompt."""
        found, cached = [], False
        for prompt, branches in zip(prompts, continuations, strict=True):
            asked = dict(sorted(beginnings([branches]).items()))  # what goes on from another directly behind it: the server keeps one
            values = []
            for (_, begun), tokens in asked.items():
                values.append(self._next([*prompt, *begun], tokens, cached))
                cached = True
            found += summed([branches], asked, values)
        return found

    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        """See Engine. Plain sampling, none of llama.cpp's further samplers; its frequency penalty counts what the prompt says too."""
        asked = {"max_tokens": sampling.tokens, "temperature": sampling.temperature, "top_k": 0 if sampling.temperature else 1,
                 "top_p": 1.0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "frequency_penalty": sampling.frequency_penalty,
                 "stop": list(sampling.stop)}
        found: list[list[Continuation]] = []
        for prompt, own in zip(prompts, seeds, strict=True):
            written = []
            # The first of a call is read without the cache: what was asked before must not show in the last bits.
            for number, seed in enumerate(own):
                reply = self._complete({**asked, "prompt": list(prompt), "seed": seed % 2**32, "cache_prompt": bool(found) or number > 0})
                choice = reply["choices"][0]
                written.append(Continuation(choice["text"], (), choice["finish_reason"] == "stop"))
            found.append(written)
        return found

    def __enter__(self) -> GGUFEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._client.close()
        self._server = None  # its destructor ends the threads and gives back the memory

    @cached_property
    def _letter_bias(self) -> dict[str, Any]:
        # A large vocabulary takes its time and room, for which an engine that only writes has no use.
        return GGUFTokens(self._head).letter_bias

    def _complete(self, request: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = self._server.handle_completions(request)
        if "error" in reply:
            raise Refusal(f"{self._path}: llama.cpp refuses the prompt: {reply['error'].get('message', reply['error'])}")
        return reply

    def _next(self, prompt: Ids, wanted: Ids, cached: bool) -> list[float]:
        for count in sorted({min(FIRST_PROBABILITIES, self._vocabulary), self._vocabulary}):
            reply = self._complete({
                "prompt": list(prompt), "max_tokens": 1, "temperature": 0.0, "n_probs": count, "logprobs": count, "cache_prompt": cached,
                **self._letter_bias})
            likely = reply["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            # A file whose weights are damaged gives scores that are no numbers, which JSON tells as null.
            found = {entry["id"]: math.nan if entry["logprob"] is None else float(entry["logprob"]) for entry in likely}
            if all(token in found for token in wanted):
                return [found[token] for token in wanted]
            cached = True
        missing = next(token for token in wanted if token not in found)
        raise Refusal(f"{self._path}: gives no log-probability for token {missing}; its vocabulary has {self._vocabulary}")

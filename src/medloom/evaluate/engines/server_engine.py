"""An OpenAI-compatible server as an engine: vLLM, SGLang, llama.cpp's server, a hosted model, our own gateway.

An answer's log-probability is read off one generated token (`max_tokens` 1 with `logprobs`), because a server keeps what it computed
of a prompt for the next request only where it is not asked for the prompt's own log-probabilities. Servers tell no more than so many
of the likeliest tokens. Where an answer is not among them it is lifted by `logit_bias`, and what that did is undone by a token that is
seen with and without it: let u be the likeliest token, and b the bias on answer c. A server that normalises after the bias reports

    l'(c) = x(c) + b - Z'     l'(u) = x(u) - Z'     and before reported     l(u) = x(u) - Z,

so that l(c) = l'(c) - b + l(u) - l'(u), over the whole vocabulary as for all others. A server that reports what stood before the bias
leaves l'(u) = l(u), and tells the value of the one token that it was made to choose; then every absent answer is asked for by itself.

What is precise about it is the server's business: reduced precision there shows here, and what runs beside a request may show in
its last bits.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from ...ledger import Refusal
from ...ledger.files import sha256_json
from .beginnings import beginnings, summed
from .engine import Continuation, Ids, Sampling
from .server_client import Client, Said

KEY = "MEDLOOM_API_KEY"
STEPS = (5, 20, 100, 1000)  # how many of the likeliest tokens are asked for, one after the other: OpenAI gives 5, vLLM 20 if not told
WHOLE = 4096  # a vocabulary so large is told whole; a larger one would be megabytes for each token
BIASES = (30.0, 100.0)  # the smaller keeps more digits; OpenAI takes no more than 100
UNMOVED = 1e-5
LARGEST_SEED = 2 ** 31
# What a server must be told so that it samples from the whole distribution, and names tokens by their ids, by `owned_by`.
DIALECTS: dict[str, dict[str, Any]] = {
    "llamacpp": {"top_k": 0, "min_p": 0.0, "top_p": 1.0, "cache_prompt": True},
    "vllm": {"top_k": -1, "min_p": 0.0, "top_p": 1.0, "repetition_penalty": 1.0, "return_tokens_as_token_ids": True},
    "sglang": {"top_k": -1, "min_p": 0.0, "top_p": 1.0, "repetition_penalty": 1.0},
}
# How a server is asked for the ids of what it wrote: vLLM tells them, llama.cpp with every token's log-probability.
IDS_TOLD: dict[str, dict[str, Any]] = {"vllm": {"return_token_ids": True}, "llamacpp": {"logprobs": 1}}
PASSING = ("created", "permission")  # fields of a model's entry that change from one start, or request, to the next

Token = int | str
Job = TypeVar("Job")
Found = TypeVar("Found")


class ServerEngine:
    """A model behind `url`, by the name `model` where the server has several; `batch` requests are under way at a time.

    `key` is what MEDLOOM_API_KEY says where it is not given. `tokenizer` is a model folder whose tokenizer cuts the prompts; without it
    the server's own does (/tokenize of vLLM and llama.cpp). Prompts go out as token ids, and as text to a server that takes no ids.
    `context` is what the server says of itself. Raises Refusal, here and in every method, with the server's own reason.
    """

    def __init__(self, url: str, model: str | None = None, key: str | None = None, tokenizer: Path | None = None, batch: int = 16,
                 context: int | None = None) -> None:
        self._client = Client(url, key or os.environ.get(KEY) or None, connections=batch)
        self.batch = batch
        try:
            entries = self._client.get("/v1/models").get("data")
        except Said as said:
            raise Refusal(f"{self._client.url}: tells no models at /v1/models (HTTP {said.status}); is it an OpenAI-compatible server?"
                          ) from None
        self._entry = _choose(self._client.url, entries, model)
        self._model = str(self._entry["id"])
        self._kind = str(self._entry.get("owned_by") or "")
        self._settings = {"model": self._model, **DIALECTS.get(self._kind, {})}
        self._tokenizer = None
        if tokenizer is not None:
            from ...model import load_tokenizer

            self._tokenizer = load_tokenizer(tokenizer)
        self.context = context or self._told_context()
        vocabulary = (self._entry.get("meta") or {}).get("n_vocab")
        self._steps = tuple(sorted({*STEPS, vocabulary} if isinstance(vocabulary, int) and vocabulary <= WHOLE else STEPS))
        self._first, self._most = 20, self._steps[-1]  # where to begin on the ladder, and where it ends as far as is known
        self._ids_taken = self._as_text = self._before_bias = self._echoes = False
        self._pool = ThreadPoolExecutor(max_workers=batch, thread_name_prefix="medloom-server")

    def identity(self) -> str:
        """Digest of the model's name and of what the server says of it. No one can hash the weights behind a server: name them apart."""
        return sha256_json({name: value for name, value in self._entry.items() if name not in PASSING})

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See Engine. By the tokenizer's folder, else by the server, which may take `<s>` in a text for the control token."""
        if self._tokenizer is not None:
            return self._tokenizer.encode_batch(texts, bos=self._tokenizer.adds_bos)
        return self._each(lambda text: self._tokenise(text, whole=True), texts)

    def next_token_logprobs(self, prompts: Sequence[Ids], candidates: Sequence[Ids], shared: int = 0) -> list[list[float]]:
        """See Engine. The server itself finds what prompts share."""
        return self._each(lambda job: self._next(*job), list(zip(prompts, candidates, strict=True)), first=shared > 0)

    def text_logprobs(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int = 0) -> list[list[float]]:
        """See Engine. One request for each distinct beginning of a continuation; by `echo` where that tells not all."""
        if not self._echoes:
            try:
                return self._by_beginnings(prompts, continuations, shared)
            except _Absent as absent:
                try:
                    self._echo(prompts[0], continuations[0][0])
                except Refusal:
                    raise absent from None
                self._echoes = True
        jobs = [(prompt, branch) for prompt, branches in zip(prompts, continuations, strict=True) for branch in branches]
        values = iter(self._each(lambda job: self._echo(*job), jobs, first=shared > 0))
        return [[next(values) for _ in branches] for branches in continuations]

    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        """See Engine. One request for each seed; a greedy prompt is asked once, whatever its seeds.

        `ids` are the server's own from vLLM and llama.cpp, else those of the text cut anew. A server's frequency penalty is its own:
        llama.cpp's counts the last tokens of the prompt too.
        """
        greedy = sampling.temperature == 0
        jobs = [(prompt, seed) for prompt, own in zip(prompts, seeds, strict=True) for seed in (own[:1] if greedy else own)]
        written = iter(self._each(lambda job: self._continue(*job, sampling), jobs, first=shared > 0))
        found = []
        for own in seeds:
            fresh = [next(written) for _ in (own[:1] if greedy else own)]
            found.append(fresh * len(own) if greedy else fresh)
        return found

    def __enter__(self) -> ServerEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def _each(self, ask: Callable[[Job], Found], jobs: Sequence[Job], first: bool = False) -> list[Found]:
        """All answers, `batch` at a time. With `first` one goes ahead alone, after which the server has what all share."""
        ahead = [ask(job) for job in jobs[:1]] if first or not self._ids_taken else []
        futures = [self._pool.submit(ask, job) for job in jobs[len(ahead):]]
        try:
            return ahead + [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def _complete(self, prompt: Ids, settings: dict[str, Any]) -> dict[str, Any]:
        """The first choice of /v1/completions, the prompt given as ids, or as text where the server takes no ids."""
        body = {**self._settings, "temperature": 0.0, "max_tokens": 1, **settings}
        if self._as_text:
            return self._choice(self._client.post("/v1/completions", {**body, "prompt": self._text(prompt)}))
        try:
            reply = self._client.post("/v1/completions", {**body, "prompt": list(prompt)})
        except Said:
            if self._ids_taken or self._tokenizer is None:
                raise
            reply = self._client.post("/v1/completions", {**body, "prompt": self._text(prompt)})
            self._as_text = True
        self._ids_taken = True
        return self._choice(reply)

    def _choice(self, reply: dict[str, Any]) -> dict[str, Any]:
        choices = reply.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            raise Refusal(f"{self._client.url}: answers a completion without choices; is it an OpenAI-compatible server?")
        return dict(choices[0])

    def _text(self, ids: Ids) -> str:
        """The text that the server cuts into these ids. Raises Refusal where there is none."""
        own = self._tokenizer
        assert own is not None
        bare = list(ids[1:] if own.adds_bos and ids and ids[0] == own.bos_id else ids)
        text = own.decode(bare)
        if own.encode(text) != bare:
            raise Refusal(f"{self._client.url}: takes prompts as text only, and this one's tokens are no text's; "
                          "serve the model with vLLM or llama.cpp's server, which take token ids")
        return text

    def _next(self, prompt: Ids, wanted: Ids) -> list[float]:
        """The log-probability of each wanted token as the next one. Raises _Absent where the server does not tell."""
        likely = self._first_look(prompt)
        named = {token: self._named(token, likely) for token in wanted}
        for count in self._steps:
            if len(likely) < count <= self._most and any(named[token] not in likely for token in wanted):
                try:
                    more, _ = self._likely(prompt, count, self._shown)
                except Said:
                    more = {}
                if len(more) > len(likely):
                    likely = more
                else:
                    self._most = min(self._most, max(len(likely), 1))
        missing = [token for token in wanted if named[token] not in likely]
        lifted = self._lifted(prompt, missing, likely) if missing else {}
        return [lifted[token] if token in lifted else likely[named[token]] for token in wanted]

    def _first_look(self, prompt: Ids) -> dict[Token, float]:
        """As many of the likeliest tokens as are worth asking for at first; fewer where the server has refused so many."""
        for count in (self._first, STEPS[0]):
            try:
                return self._likely(prompt, count, self._shown)[0]
            except Said as said:
                if count == STEPS[0]:
                    raise Refusal(f"{self._client.url}: tells no log-probabilities ({said.message}); ask it in a mode that generates, "
                                  "or serve the model with vLLM or llama.cpp's server") from None
            self._first = self._most = STEPS[0]
        raise AssertionError("the last try returns or raises")

    def _lifted(self, prompt: Ids, missing: Sequence[int], likely: dict[Token, float]) -> dict[int, float]:
        """Tokens that the server does not list, by a bias that is undone (see above)."""
        anchor = max(likely, key=lambda token: likely[token])
        found: dict[int, float] = {}
        for bias in BIASES:
            left = [token for token in missing if token not in found]
            while left:
                size = 1 if self._before_bias else max(1, len(likely) - 1)
                chunk, left = left[:size], left[size:]
                try:
                    biased, chosen = self._likely(prompt, len(likely), {"logit_bias": {str(token): bias for token in chunk}})
                except Said as said:
                    raise _Absent(f"{self._client.url}: tells the log-probabilities of {len(likely)} tokens, an answer is not among them, "
                                  f"and logit_bias is refused ({said.message}); let the server tell more (vLLM: --max-logprobs)") from None
                except _Silent:
                    continue
                if anchor not in biased:
                    continue
                shift = likely[anchor] - biased[anchor]
                if abs(shift) > UNMOVED:
                    found |= {token: biased[name] - bias + shift for token in chunk if (name := self._named(token, biased)) in biased}
                else:
                    found |= {token: biased[name] for token in chunk if (name := self._named(token, biased)) == chosen}
                    if not self._before_bias and len(chunk) > 1:
                        self._before_bias, left = True, [*(token for token in chunk if token not in found), *left]
        absent = [token for token in missing if token not in found]
        if absent:
            raise _Absent(f"{self._client.url}: tells no log-probability of token {absent[0]}, also not with logit_bias; "
                          "let the server tell more (vLLM: --max-logprobs)")
        return found

    @cached_property
    def _shown(self) -> dict[str, Any]:
        """What has every server tell something: llama.cpp's does not where the likeliest token is a part of a character.

        So it is made to choose a letter, whatever the prompt; what it tells stood before the bias.
        """
        return {"logit_bias": {str(self._tokenise("A", whole=False)[-1]): BIASES[-1]}} if self._kind == "llamacpp" else {}

    def _likely(self, prompt: Ids, count: int, settings: dict[str, Any]) -> tuple[dict[Token, float], Token]:
        """The likeliest next tokens with their log-probabilities, and the one that was chosen; by ids where the server tells ids."""
        told: Any = self._complete(prompt, {"logprobs": count, **settings}).get("logprobs")
        try:  # the chosen token is told in any case, also where it is not among the likeliest
            if "content" in told:
                (step,) = told["content"]
                return {_name(entry): float(entry["logprob"]) for entry in (*step["top_logprobs"], step)}, _name(step)
            chosen = _id(told["tokens"][0])
            return {_id(token): float(value) for token, value in told["top_logprobs"][0].items()} | {
                chosen: float(told["token_logprobs"][0])}, chosen
        except (TypeError, KeyError, IndexError, ValueError):
            raise _Silent(f"{self._client.url}: its answer holds no log-probabilities; ask it in a mode that generates, "
                          "or serve the model with vLLM or llama.cpp's server") from None

    def _named(self, token: int, likely: Iterable[Token]) -> Token:
        """How the server names a token: by its id, else by its text within a text."""
        if all(isinstance(name, int) for name in likely):
            return token
        own = self._tokenizer
        if own is None:
            raise Refusal(f"{self._client.url}: names tokens by their text alone; name a folder with the model's tokenizer")
        before = own.encode("a")
        text = own.decode([*before, token]).removeprefix(own.decode(before))
        return token if not text or "\N{REPLACEMENT CHARACTER}" in text else text  # a part of a character has the name of any other

    def _by_beginnings(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int) -> list[list[float]]:
        asked = beginnings(continuations)
        jobs = [([*prompts[number], *begun], tokens) for (number, begun), tokens in asked.items()]
        return summed(continuations, asked, self._each(lambda job: self._next(*job), jobs, first=shared > 0))

    def _echo(self, prompt: Ids, branch: Ids) -> float:
        """The summed log-probability of a continuation that the server reads as the end of the prompt."""
        told = self._complete([*prompt, *branch], {"echo": True, "logprobs": 1}).get("logprobs") or {}
        end = len(prompt) + len(branch)
        values, tokens = (told.get("token_logprobs") or [])[len(prompt):end], (told.get("tokens") or [])[len(prompt):end]
        if len(values) < len(branch) or None in values or any(
                isinstance(name := _id(token), int) and name != wanted for token, wanted in zip(tokens, branch, strict=False)):
            raise Refusal(f"{self._client.url}: echoes no log-probabilities of a prompt; score by letters, in top-token")
        return sum(map(float, values))

    def _continue(self, prompt: Ids, seed: int, sampling: Sampling) -> Continuation:
        settings: dict[str, Any] = {"max_tokens": sampling.tokens, "temperature": sampling.temperature, "top_p": 1.0,
                                    "seed": seed % LARGEST_SEED}
        if sampling.stop:
            settings["stop"] = list(sampling.stop)
        if sampling.frequency_penalty:
            settings["frequency_penalty"] = sampling.frequency_penalty
        settings |= IDS_TOLD.get(self._kind, {})
        choice = self._complete(prompt, settings)
        text = str(choice.get("text") or "")
        ids = choice.get("token_ids")
        if self._kind == "llamacpp":
            ids = [int(step["id"]) for step in (choice.get("logprobs") or {}).get("content") or ()]
        if not isinstance(ids, list):
            ids = self._tokenise(text, whole=False) if text else []
        return Continuation(text, tuple(ids), choice.get("finish_reason") == "stop")

    def _tokenise(self, text: str, *, whole: bool) -> list[int]:
        """Ids of a text, opened as a prompt is where it is a `whole` one."""
        if self._tokenizer is not None:
            return self._tokenizer.encode(text, bos=whole and self._tokenizer.adds_bos)
        forms: dict[str, dict[str, Any]] = {
            "llamacpp": {"content": text, "add_special": whole, "parse_special": False},
            "vllm": {"model": self._model, "prompt": text, "add_special_tokens": whole}}
        for kind, form in forms.items():
            if self._kind in forms and self._kind != kind:
                continue
            try:
                tokens = self._client.post("/tokenize", form).get("tokens")
            except Said:
                continue
            # llama.cpp's server reads a body without `content` as one with an empty text.
            if isinstance(tokens, list) and all(isinstance(token, int) for token in tokens) and (tokens or not text):
                return tokens
        raise Refusal(f"{self._client.url}: cuts no text into tokens (/tokenize); name a folder with the model's tokenizer")

    def _told_context(self) -> int:
        entry = self._entry
        told = entry.get("max_model_len") or (entry.get("metadata") or {}).get("context")
        if told is None and self._kind == "llamacpp":
            told = (self._client.get("/props").get("default_generation_settings") or {}).get("n_ctx")
        if not isinstance(told, int):
            raise Refusal(f"{self._client.url}: does not say how long a prompt {self._model} takes; give context")
        return told


class _Absent(Refusal):
    pass


class _Silent(Refusal):
    pass


def _choose(url: str, entries: Any, model: str | None) -> dict[str, Any]:
    """The entry of the model that is meant in what /v1/models says."""
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "id" in entry for entry in entries):
        raise Refusal(f"{url}: /v1/models names no models; is it an OpenAI-compatible server?")
    names = [str(entry["id"]) for entry in entries]
    if model is None and len(entries) == 1:
        return dict(entries[0])
    if model not in names:
        asked = "has several models" if model is None else f"has no model {model!r}"
        raise Refusal(f"{url}: {asked}; name one of {', '.join(names) or 'none, it serves nothing'}")
    return dict(entries[names.index(model)])


def _id(token: str) -> Token:
    """The id in vLLM's `token_id:17`, else the token's text."""
    prefix, _, number = token.partition("token_id:")
    return int(number) if not prefix and number.isdigit() else token


def _name(entry: dict[str, Any]) -> Token:
    return int(entry["id"]) if "id" in entry else _id(str(entry["token"]))

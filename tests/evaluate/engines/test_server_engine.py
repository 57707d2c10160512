"""A server as an engine: the network's own numbers, whatever the server tells and takes; and errors that name their cure.

Two servers of others (llama.cpp's, and our gateway before it), and one of the tests' own that computes with the network and, as
vLLM, SGLang and OpenAI differ, tells few log-probabilities, before or after a bias, or echoes a prompt's.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from medloom.evaluate import TorchEngine
from medloom.evaluate.engines.engine import Sampling
from medloom.evaluate.engines.server_client import Client, Said
from medloom.evaluate.engines.server_engine import ServerEngine
from medloom.ledger import Refusal
from medloom.model import Llama, load_model, load_tokenizer

BEGINNING = [1, *(300 + i % 30 for i in range(40))]
PROMPTS = [BEGINNING + [260 + (7 * row + 3 * i) % 60 for i in range(5 + 11 * row)] for row in range(5)]
CANDIDATES = [[270, 280, 290 + row] for row in range(5)]
TEXTS = [[[270, 271], [270, 272, 273 + row], [299]] for row in range(5)]


@pytest.fixture(scope="module")
def letters(folder: Path) -> list[list[float]]:
    with TorchEngine(folder, "cpu") as engine:
        return engine.next_token_logprobs(PROMPTS, CANDIDATES)


@pytest.fixture(scope="module")
def texts(folder: Path) -> list[list[float]]:
    with TorchEngine(folder, "cpu") as engine:
        return engine.text_logprobs(PROMPTS, TEXTS)


def furthest(found: list[list[float]], expected: list[list[float]]) -> float:
    return float(torch.tensor(found, dtype=torch.float64).sub(torch.tensor(expected, dtype=torch.float64)).abs().max())


def test_llama_cpp_gives_the_networks_numbers(llamacpp: tuple[str, str], folder: Path, letters: list[list[float]],
                                              texts: list[list[float]]) -> None:
    with ServerEngine(llamacpp[0], key=llamacpp[1], batch=2) as engine, TorchEngine(folder, "cpu") as ours:
        assert engine.context == 512
        assert furthest(engine.next_token_logprobs(PROMPTS, CANDIDATES, len(BEGINNING)), letters) < 1e-4
        assert furthest(engine.text_logprobs(PROMPTS, TEXTS), texts) < 1e-4
        words = ["The patient has a fever.", "Question: what?\n\nOptions:\nA. 10 µg\n\nThe answer is: A", "<s> is text here"]
        assert engine.encode(words) == ours.encode(words)


def test_half_a_character_hides_nothing(llamacpp: tuple[str, str], gateway: str, folder: Path) -> None:
    """It is the likeliest where it has just been read, for the embeddings are tied; llama.cpp's server then tells nothing."""
    half = [[*BEGINNING, *[198] * 8]], [[198, 270]], [[[198, 172, 270], [270]]]
    with TorchEngine(folder, "cpu") as ours:
        letters, texts = ours.next_token_logprobs(half[0], half[1]), ours.text_logprobs(half[0], half[2])
    with ServerEngine(llamacpp[0], key=llamacpp[1], batch=2) as engine:
        assert furthest(engine.next_token_logprobs(half[0], half[1]), letters) < 1e-4
        assert furthest(engine.text_logprobs(half[0], half[2]), texts) < 1e-4
    with ServerEngine(gateway, tokenizer=folder, batch=2) as engine:
        assert furthest(engine.text_logprobs(half[0], half[2]), texts) < 1e-3


def test_llama_cpp_tells_what_a_bias_makes_it_choose(llamacpp: tuple[str, str], letters: list[list[float]],
                                                     texts: list[list[float]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloom.evaluate.engines.server_engine.WHOLE", 0)  # as though its vocabulary were too large to be told
    monkeypatch.setattr("medloom.evaluate.engines.server_engine.STEPS", (5, 20))
    with ServerEngine(llamacpp[0], key=llamacpp[1], batch=2) as engine:
        assert furthest(engine.next_token_logprobs(PROMPTS, CANDIDATES), letters) < 1e-4
        assert furthest(engine.text_logprobs(PROMPTS, TEXTS), texts) < 1e-4


def greedy(folder: Path, prompt: list[int], tokens: int) -> str:
    """The network's likeliest continuation, every step from the whole text."""
    model, ids = load_model(folder), list(prompt)
    with torch.inference_mode():
        for _ in range(tokens):
            ids.append(int(model.logits(model(torch.tensor([ids])))[0, -1].argmax()))
    own = load_tokenizer(folder)
    return own.decode(ids).removeprefix(own.decode(prompt))


def test_llama_cpp_writes_what_the_network_writes(llamacpp: tuple[str, str], folder: Path) -> None:
    expected = [greedy(folder, prompt, 12) for prompt in PROMPTS[:3]]
    with ServerEngine(llamacpp[0], key=llamacpp[1], batch=2, tokenizer=folder) as engine:
        found = engine.generate(PROMPTS[:3], [[1, 2]] * 3, Sampling(tokens=12))
        assert [[len(row), row[0].text] for row in found] == [[2, text] for text in expected]
        assert not any(one.ended for row in found for one in row)
        ((first, second), (again, _)) = engine.generate(PROMPTS[:1] * 2, [[5, 6], [5, 7]], Sampling(tokens=12, temperature=1.0))
        assert first == again and first != second


def test_one_generated_text_depends_on_its_seed_alone(llamacpp: tuple[str, str]) -> None:
    sampling = Sampling(tokens=16, temperature=1.0)
    with ServerEngine(llamacpp[0], key=llamacpp[1], batch=2) as engine:
        (pair,) = engine.generate(PROMPTS[:1], [[3, 4]], sampling)
        alone = [engine.generate(PROMPTS[:1], [[seed]], sampling)[0][0] for seed in (3, 4)]
        assert pair == alone
        stopped = engine.generate(PROMPTS[:1], [[3]], Sampling(tokens=16, temperature=1.0, stop=(pair[0].text[2:4],)))[0][0]
        assert stopped.ended and stopped.text == pair[0].text[:pair[0].text.index(pair[0].text[2:4])]


@pytest.fixture(scope="module")
def gateway(gguf: Path) -> Iterator[str]:
    """The address of our own gateway, which names tokens by their text."""
    source = Path(__file__).resolve().parents[3] / "src"
    code = f"from pathlib import Path; from medloom.serve import Settings, serve; serve(Path({str(gguf)!r}), Settings(threads=1), port=0)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": str(source)})
    assert process.stderr is not None
    address = next(found[0].rstrip("/") for line in process.stderr if (found := re.search(r"http://\S+", line)))
    drain = threading.Thread(target=process.stderr.read, daemon=True)
    drain.start()
    yield address
    process.terminate()
    process.wait(20)


def test_our_gateway_writes_and_tells_scores(gateway: str, folder: Path) -> None:
    with ServerEngine(gateway, tokenizer=folder, batch=2) as engine:
        assert engine.context == 512
        prompts = engine.encode(["The patient has a fever.", "Question: which drug?\n\nThe answer is:"])
        found = engine.generate(prompts, [[1], [1]], Sampling(tokens=8))
        assert [row[0].text for row in found] == [greedy(folder, prompt, 8) for prompt in prompts]
        one, same = (engine.generate(prompts[:1], [[9]], Sampling(tokens=8, temperature=1.0)) for _ in range(2))
        assert one == same
        with TorchEngine(folder, "cpu") as ours:
            expected = ours.next_token_logprobs(prompts, [[270, 280], [265, 300]])
            whole = ours.text_logprobs(prompts, [[[270, 280], [265]], [[265], [300, 281]]])
        assert furthest(engine.next_token_logprobs(prompts, [[270, 280], [265, 300]]), expected) < 1e-3
        assert furthest(engine.text_logprobs(prompts, [[[270, 280], [265]], [[265], [300, 281]]]), whole) < 1e-3
    with ServerEngine(gateway) as engine, pytest.raises(Refusal, match="folder with the model's tokenizer"):
        engine.encode(["The patient has a fever."])


@dataclass
class Manner:
    """How the tests' own server differs from others of its kind."""

    models: str | None = "tiny"
    owner: str = "vllm"
    most: int = 20  # log-probabilities for one position
    bias: str = "after"  # what is reported: "after" the bias, from "before" it, or the bias is "refused"
    echo: bool = False
    named: str = "ids"  # how tokens are named: "ids" as vLLM's token_id:17, or "text"
    moods: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers that are given first, once each
    bodies: list[dict[str, Any]] = field(default_factory=list)


class NetworkServer(ThreadingHTTPServer):
    """/v1/models, /v1/completions and /tokenize over the network."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model: Llama = load_model(folder)
        self.tokenizer = load_tokenizer(folder)
        self.manner, self.lock = Manner(), threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def logprobs(self, ids: list[int]) -> torch.Tensor:
        """[positions, vocabulary]"""
        with self.lock, torch.inference_mode():
            return self.model.logits(self.model(torch.tensor([ids])))[0].double().log_softmax(-1)

    def name(self, token: int) -> str:
        if self.manner.named == "ids":
            return f"token_id:{token}"
        before = self.tokenizer.encode("a")
        return self.tokenizer.decode([*before, token]).removeprefix(self.tokenizer.decode(before))

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        count, ids = body["logprobs"], body["prompt"]
        if count > self.manner.most:
            raise ValueError(f"Requested sample logprobs of {count}, which is greater than max allowed: {self.manner.most}")
        if body.get("logit_bias") and self.manner.bias == "refused":
            raise ValueError("logit_bias is not supported")
        if body.get("echo") and not self.manner.echo:
            raise ValueError("echo is not supported")
        rows = self.logprobs(ids)
        biased = rows[-1].clone()
        for token, bias in body.get("logit_bias", {}).items():
            biased[int(token)] += bias
        biased = biased.log_softmax(-1)
        told, chosen = biased if self.manner.bias == "after" else rows[-1], int(biased.argmax())
        listed = {int(token) for token in told.topk(count).indices} | {chosen}
        before = [None, *(float(rows[i, token]) for i, token in enumerate(ids[1:]))] if body.get("echo") else []
        return {"choices": [{"text": "", "finish_reason": "length", "logprobs": {
            "tokens": [*(self.name(token) for token in (ids if body.get("echo") else [])), self.name(chosen)],
            "token_logprobs": [*before, float(told[chosen])],
            "top_logprobs": [*(None for _ in before), {self.name(token): float(told[token]) for token in listed}]}}]}


class _Handler(BaseHTTPRequestHandler):
    server: NetworkServer

    def do_GET(self) -> None:
        if self.server.manner.models is None:
            return self._reply(404, {"detail": "Not Found"})
        entry = {"id": self.server.manner.models, "owned_by": self.server.manner.owner, "max_model_len": 512,
                 "created": secrets.randbelow(1 << 30)}
        self._reply(200, {"data": [entry]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.server.manner.moods:
            status, headers = self.server.manner.moods.pop(0)
            if status == 0:  # the connection breaks
                self.close_connection = True
                return
            return self._reply(status, {"error": {"message": f"not now, {body.get('prompt')}"}}, headers)
        self.server.manner.bodies.append(body)
        try:
            if self.path == "/tokenize":
                return self._reply(200, {"tokens": self.server.tokenizer.encode(body["prompt"], bos=body["add_special_tokens"])})
            self._reply(200, self.server.complete(body))
        except ValueError as error:
            self._reply(400, {"object": "error", "message": str(error), "type": "BadRequestError", "code": 400})

    def _reply(self, status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, said in {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, said)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def started(folder: Path) -> Iterator[NetworkServer]:
    server = NetworkServer(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def network(started: NetworkServer) -> NetworkServer:
    started.manner = Manner()
    return started


@pytest.mark.parametrize("most", [5, 20])
@pytest.mark.parametrize("bias", ["after", "before"])
def test_answers_that_are_not_listed_are_lifted_and_keep_their_values(network: NetworkServer, letters: list[list[float]],
                                                                      texts: list[list[float]], most: int, bias: str) -> None:
    network.manner = Manner(most=most, bias=bias)
    with ServerEngine(network.url, batch=3) as engine:
        assert furthest(engine.next_token_logprobs(PROMPTS, CANDIDATES), letters) < 1e-4
        assert furthest(engine.text_logprobs(PROMPTS, TEXTS), texts) < 1e-4
    assert any(body.get("logit_bias") for body in network.manner.bodies)  # none of these answers is among the likeliest by chance
    assert max(body["logprobs"] for body in network.manner.bodies) >= 5
    assert all(body["max_tokens"] == 1 and "prompt_logprobs" not in body for body in network.manner.bodies)


def test_without_a_bias_texts_are_echoed_and_letters_refused(network: NetworkServer, texts: list[list[float]]) -> None:
    network.manner = Manner(bias="refused", echo=True)
    with ServerEngine(network.url, batch=3) as engine:
        assert furthest(engine.text_logprobs(PROMPTS, TEXTS, len(BEGINNING)), texts) < 1e-4
        with pytest.raises(Refusal, match=r"logit_bias is refused \(logit_bias is not supported\).*--max-logprobs"):
            engine.next_token_logprobs(PROMPTS, CANDIDATES)
    network.manner = Manner(bias="refused")
    with ServerEngine(network.url) as engine, pytest.raises(Refusal, match="logit_bias is refused"):
        engine.text_logprobs(PROMPTS, TEXTS)


def test_tokens_named_by_their_text_are_known_by_it(network: NetworkServer, folder: Path) -> None:
    network.manner = Manner(owner="sglang", named="text")
    own = load_tokenizer(folder)
    prompt = own.encode("The patient has a fever and takes the drug. The answer is:", bos=True)
    # Distinct texts: the 256 bytes of a SentencePiece tokenizer all read as U+FFFD.
    wanted = [own.encode(f"The answer is: {letter}")[-1] for letter in "ABCDE"]
    with ServerEngine(network.url, tokenizer=folder) as engine, TorchEngine(folder, "cpu") as ours:
        found = engine.next_token_logprobs([prompt], [wanted])
        assert furthest(found, ours.next_token_logprobs([prompt], [wanted])) < 1e-4
    with ServerEngine(network.url) as engine, pytest.raises(Refusal, match="names tokens by their text alone"):
        engine.next_token_logprobs([prompt], [wanted])


def test_ids_are_the_servers_where_no_tokenizer_is_named(network: NetworkServer, folder: Path) -> None:
    with ServerEngine(network.url) as engine, TorchEngine(folder, "cpu") as ours:
        assert engine.encode(["The patient has a fever.", "A"]) == ours.encode(["The patient has a fever.", "A"])


def test_a_busy_server_is_asked_again(network: NetworkServer, letters: list[list[float]]) -> None:
    network.manner.moods = [(429, {"retry-after": "0"}), (0, {}), (503, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"})]
    with ServerEngine(network.url, batch=2) as engine:
        assert furthest(engine.next_token_logprobs(PROMPTS, CANDIDATES), letters) < 1e-4
        network.manner.moods = [(503, {"retry-after": "3600"})]
        with pytest.raises(Refusal, match=r"3600 seconds \(HTTP 503\); go on later"):
            engine.next_token_logprobs(PROMPTS[:1], CANDIDATES[:1])


def test_patience_ends(network: NetworkServer) -> None:
    client = Client(network.url, None, connections=1, waits=(0.0, 0.0))
    network.manner.moods = [(429, {})] * 3
    with contextlib.closing(client), pytest.raises(Refusal, match=r"still busy after 3 tries \(HTTP 429\)"):
        client.post("/v1/completions", {"prompt": [1], "logprobs": 1})


@pytest.mark.parametrize(("status", "says"), [(401, "MEDLOOM_API_KEY"), (403, "MEDLOOM_API_KEY"), (404, "HTTP 404"), (500, "HTTP 500")])
def test_errors_name_the_server_and_neither_key_nor_prompt(network: NetworkServer, status: int, says: str) -> None:
    network.manner.moods = [(status, {})]
    client = Client(network.url, "sesame-9175", connections=1)
    with contextlib.closing(client), pytest.raises(Refusal, match=says) as caught:
        client.post("/v1/completions", {"prompt": "A 34-year-old man comes to the physician."})
    assert network.url in str(caught.value) and "sesame" not in str(caught.value) and "physician" not in str(caught.value)
    assert isinstance(caught.value, Said) == (status not in (401, 403))


def test_what_cannot_be_asked_is_refused_at_once(network: NetworkServer, llamacpp: tuple[str, str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refusal, match="no model 'large'; name one of tiny"):
        ServerEngine(network.url, model="large")
    with pytest.raises(Refusal, match=r"http://127\.0\.0\.1:9: cannot be reached"):
        ServerEngine("http://127.0.0.1:9")
    network.manner.models = None
    with pytest.raises(Refusal, match=r"no models at /v1/models \(HTTP 404\)"):
        ServerEngine(network.url)
    for address in ("localhost:8000", "ftp://host", "http://name:sesame@host:1"):
        with pytest.raises(Refusal, match="address") as caught:
            ServerEngine(address)
        assert "sesame" not in str(caught.value)
    with pytest.raises(Refusal, match="MEDLOOM_API_KEY"), ServerEngine(llamacpp[0]) as engine:
        engine.encode(["A"])
    monkeypatch.setenv("MEDLOOM_API_KEY", llamacpp[1])
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # no proxy lies between this machine and itself
    with ServerEngine(f"{llamacpp[0]}/v1/") as engine:
        assert engine.encode(["A"])


def test_the_identity_is_the_models_and_not_the_hours(network: NetworkServer) -> None:
    with ServerEngine(network.url) as one, ServerEngine(network.url) as other:
        assert one.identity() == other.identity()
    network.manner = Manner(owner="sglang")
    with ServerEngine(network.url) as third:
        assert third.identity() != one.identity()


def test_a_server_that_does_not_answer_is_named(network: NetworkServer) -> None:
    client = Client(network.url, None, connections=1, seconds=0.2)
    with contextlib.closing(client), network.lock, pytest.raises(Refusal, match=r"no answer within 0\.2 seconds"):
        client.post("/v1/completions", {"prompt": [1], "logprobs": 1})

"""What a client of the gateway sees: OpenAI's forms, errors that are the client's, and the notice on everything."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from medloom.notice import NOTICE, NOTICE_SHORT
from medloom.serve.gateway.job import BODY_LIMIT
from medloom.serve.templates import PLAIN


@pytest.fixture
def client(server: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        yield client


def _events(response: httpx.Response) -> list[Any]:
    assert response.headers["content-type"].startswith("text/event-stream")
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert data[-1] == "[DONE]"
    return [json.loads(line) for line in data[:-1]]


def test_a_completion_is_openais_and_repeats_itself(client: httpx.Client) -> None:
    asked = {"prompt": "Glorin is", "max_tokens": 12, "temperature": 1.0, "seed": 7}
    one, two = (client.post("/v1/completions", json=asked).json() for _ in range(2))
    assert one["object"] == "text_completion"
    assert one["choices"][0]["finish_reason"] == "length"
    assert one["usage"]["completion_tokens"] == 12
    assert one["usage"]["total_tokens"] == 12 + one["usage"]["prompt_tokens"]
    assert one["choices"][0]["text"] == two["choices"][0]["text"] != ""
    assert one["id"] != two["id"]


def test_a_stream_is_the_whole_in_pieces(client: httpx.Client) -> None:
    asked = {"prompt": "Glorin is", "max_tokens": 12, "temperature": 0}
    whole = client.post("/v1/completions", json=asked).json()
    events = _events(client.post("/v1/completions", json={**asked, "stream": True, "stream_options": {"include_usage": True}}))
    assert events[-1]["usage"] == whole["usage"]
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == whole["choices"][0]["text"]
    assert events[-2]["choices"][0]["finish_reason"] == "length"
    assert len({event["id"] for event in events}) == 1
    told = _events(client.post("/v1/completions", json={**asked, "stream": True, "stream_options": {"continuous_usage_stats": True}}))
    so_far = [event["usage"]["completion_tokens"] for event in told if event["choices"][0]["text"]]
    assert so_far == sorted(so_far) and so_far[0] > 0 and so_far[-1] == 12


def test_chat_poses_the_plain_form(client: httpx.Client) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "Which drug?"}]}]
    text = PLAIN.text([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which drug?"}])
    assert text == "Be brief.\n\nQuestion: Which drug?\n\nThe answer is:"
    greedy = {"max_tokens": 12, "temperature": 0}
    chat = client.post("/v1/chat/completions", json={"messages": messages, **greedy}).json()
    completion = client.post("/v1/completions", json={"prompt": text, "stop": ["\nQuestion:", "\n\n"], **greedy}).json()
    assert chat["object"] == "chat.completion"
    assert chat["choices"][0]["message"] == {"role": "assistant", "content": completion["choices"][0]["text"].strip()}
    assert chat["usage"] == completion["usage"]
    events = _events(client.post("/v1/chat/completions", json={"messages": messages, "stream": True, **greedy}))
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
    assert said.rstrip() == chat["choices"][0]["message"]["content"]


def test_chat_uses_the_template_in_the_file(launch: Callable[..., Any], chat_file: Any) -> None:
    url = launch(model=chat_file, slots=1).url
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["metadata"]["template"]["name"] == "file"
    greedy = {"max_tokens": 12, "temperature": 0}
    messages = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "Which drug?"}]
    chat = httpx.post(f"{url}/v1/chat/completions", json={"messages": messages, **greedy}).json()
    text = "[user] Hello\n[assistant] Hi\n[user] Which drug?\n[assistant]"
    completion = httpx.post(f"{url}/v1/completions", json={"prompt": text, **greedy}).json()
    assert chat["usage"] == completion["usage"]
    assert chat["choices"][0]["message"]["content"] == completion["choices"][0]["text"]


def test_stop_sequences_stop(client: httpx.Client) -> None:
    asked = {"prompt": "Glorin is", "max_tokens": 20, "temperature": 0}
    text = client.post("/v1/completions", json=asked).json()["choices"][0]["text"]
    middle = text[len(text) // 2 : len(text) // 2 + 2]
    cut = client.post("/v1/completions", json={**asked, "stop": middle}).json()["choices"][0]
    assert cut == {**cut, "finish_reason": "stop", "text": text[: text.index(middle)]}


def test_models_and_health_tell_what_is_served(client: httpx.Client, gguf_file: Any) -> None:
    import hashlib

    models = client.get("/v1/models").json()
    assert [entry["id"] for entry in models["data"]] == ["tiny-F16"]
    about = models["data"][0]["metadata"]
    assert about["notice"] == NOTICE
    assert about["sha256"] == hashlib.sha256(gguf_file.read_bytes()).hexdigest()
    assert (about["context"], about["template"]["form"]) == (4096, "Question: {question}\n\nThe answer is:")
    assert client.get("/v1/models/tiny-F16").json() == models["data"][0]
    assert client.get("/health").json() == {"status": "ok"}


def test_the_notice_is_on_every_answer(client: httpx.Client) -> None:
    for path in ("/", "/health", "/v1/models", "/nothing"):
        assert client.get(path).headers["x-medloom-notice"] == NOTICE_SHORT
    for body in ({"prompt": "a", "max_tokens": 1}, {"prompt": "a", "max_tokens": 1, "stream": True}, {}):
        assert client.post("/v1/completions", json=body).headers["x-medloom-notice"] == NOTICE_SHORT


COMPLETION, CHAT = "/v1/completions", "/v1/chat/completions"
USER = {"role": "user", "content": "a"}


@pytest.mark.parametrize(("path", "body", "status", "named"), [
    (COMPLETION, {}, 400, "prompt"),
    (COMPLETION, {"prompt": ""}, 400, "prompt"),
    (COMPLETION, {"prompt": ["a", 1]}, 400, "prompt"),
    (COMPLETION, {"prompt": [[]]}, 400, "prompt"),
    (COMPLETION, {"prompt": [1, 320]}, 400, "prompt"),
    (COMPLETION, {"prompt": "a", "logprobs": 21}, 400, "logprobs"),
    (COMPLETION, {"prompt": "a", "logit_bias": {"5": 101}}, 400, None),
    (COMPLETION, {"prompt": [1, -1]}, 400, "prompt"),
    (COMPLETION, {"prompt": "a", "max_tokens": 0}, 400, "max_tokens"),
    (COMPLETION, {"prompt": "a", "max_tokens": 10**9}, 400, "max_tokens"),
    (COMPLETION, {"prompt": "a", "max_tokens": 10**30}, 400, "max_tokens"),
    (COMPLETION, {"prompt": "a", "temperature": 99}, 400, "temperature"),
    (COMPLETION, {"prompt": "a", "temperature": -1}, 400, "temperature"),
    (COMPLETION, {"prompt": "a", "top_p": 0}, 400, "top_p"),
    (COMPLETION, {"prompt": ["a"] * 100, "n": 2}, 400, "n"),
    (COMPLETION, {"prompt": "a", "stop": ["a"] * 5}, 400, "stop"),
    (COMPLETION, {"prompt": "a", "seed": -1}, 400, "seed"),
    (COMPLETION, {"prompt": "a", "max_tokns": 5}, 400, "max_tokns"),
    (COMPLETION, {"prompt": "a", "model": "gpt-4"}, 404, "model"),
    (COMPLETION, {"prompt": "a b " * 2000}, 400, None),
    (COMPLETION, [1], 400, None),
    (CHAT, {"messages": []}, 400, "messages"),
    (CHAT, {"messages": [{"role": "robot", "content": "a"}]}, 400, "messages.0.role"),
    (CHAT, {"messages": [USER, {"role": "assistant", "content": "b"}]}, 400, "messages"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, 400, None),
    (CHAT, {"messages": [USER], "tools": []}, 400, "tools"),
    (CHAT, {"messages": [USER], "top_logprobs": 2}, 400, "top_logprobs"),
    ("/v1/embeddings", {"input": "a"}, 400, None),
    ("/v1/embeddings", {"input": []}, 400, "input"),
])
def test_bad_requests_name_the_field(client: httpx.Client, path: str, body: Any, status: int, named: str | None) -> None:
    response = client.post(path, json=body)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    if named:
        assert error["param"] == named


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b'{"prompt": NaN}', b'{"prompt": "\\ud800"}', b"[" * 100_000,
                                 b'{"prompt": "a", "temperature": 1e999}'])
def test_bodies_that_are_no_json(client: httpx.Client, raw: bytes) -> None:
    response = client.post(COMPLETION, content=raw, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert "error" in response.json()


def test_a_body_beyond_the_limit_is_not_read(client: httpx.Client) -> None:
    long = {"prompt": "a" * BODY_LIMIT}
    assert client.post(COMPLETION, json=long).status_code == 413
    chunks = (b" " * 65536 for _ in range(40))  # no Content-Length to judge by
    assert client.post(COMPLETION, content=chunks, headers={"content-type": "application/json"}).status_code == 413


def test_a_head_without_end_is_not_held(server: Any) -> None:
    import socket

    host, port = server.url.removeprefix("http://").split(":")
    for head in (b"X-Long: " + b"a" * 200_000, b"".join(b"X-%d: a\r\n" % number for number in range(20_000))):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            try:
                connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" + head)
                said = connection.recv(100)
            except ConnectionError:  # it was cut before all was sent
                continue
            assert said.startswith(b"HTTP/1.1 431")


def test_wrong_paths_methods_and_kinds(client: httpx.Client) -> None:
    assert client.get("/v1/nothing").status_code == 404
    assert client.get("/v1/models/other").status_code == 404
    assert client.get(COMPLETION).status_code == 405
    assert client.post(COMPLETION, content=b"prompt=a", headers={"content-type": "application/x-www-form-urlencoded"}).status_code == 415
    assert client.post(COMPLETION, content=b'{"prompt": "a"}').status_code == 415  # as another site's page could have a browser send it
    assert client.get("/../../etc/passwd").status_code == 404


def test_no_shape_of_body_makes_the_server_fail(client: httpx.Client) -> None:
    """Values of every kind in every field: never a 5xx."""
    rng = random.Random(1)
    values = [None, True, 0, -1, 3, 2**63, 1.5, "", "a", "\u0000", "\U0001f48a", [], ["a"], [None], {}, {"a": 1}, [USER],
              [{"role": "user"}]]
    fields = ["prompt", "messages", "max_tokens", "temperature", "top_p", "stop", "seed", "stream", "stream_options", "n", "user",
              "model", "x"]
    for _ in range(80):
        body = {field: rng.choice(values) for field in rng.sample(fields, rng.randint(0, 4))}
        body.setdefault("max_tokens", 1)
        response = client.post(rng.choice((COMPLETION, CHAT)), json=body)
        assert response.status_code < 500, (body, response.text)


def test_keys(launch: Callable[..., Any]) -> None:
    url = launch(keys=("the-first-of-two-keys", "the-second-of-two-keys"), slots=1).url
    body = {"prompt": "a", "max_tokens": 1}
    for given in (None, b"Bearer wrong", b"the-first-of-two-keys", b"Bearer", b"Bearer \xff", b"Basic the-first-of-two-keys"):
        headers = {} if given is None else {"Authorization": given}
        refused = httpx.post(f"{url}{COMPLETION}", json=body, headers=headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 401
    for key in ("the-first-of-two-keys", "the-second-of-two-keys"):
        assert httpx.post(f"{url}{COMPLETION}", json=body, headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert httpx.get(f"{url}/health").status_code == httpx.get(url).status_code == 200

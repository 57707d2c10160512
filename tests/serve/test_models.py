"""Several models at once, each from its own place and in its own form; what is told of them, and what they keep to themselves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from medloom.ledger import Refusal
from medloom.model.gguf_file import gguf_digest
from medloom.serve import Offer, Settings, offer, serve, with_templates
from medloom.serve.abstention import Calibration
from medloom.serve.engines import LlamaCpp
from medloom.serve.engines.control import guarded, stretches
from medloom.serve.templates import SHOT, SYSTEM, TEMPLATES

GREEDY = {"max_tokens": 8, "temperature": 0}
QUESTION = "Which drug helps?\n\nA. Glorin\nB. Water\nC. Salt\nD. Sand"


@pytest.fixture(scope="module")
def several(launch_words: Callable[..., Any], server: Any, gguf_file: Path, chat_file: Path) -> str:
    """Two files, and a server behind this one."""
    return str(launch_words(f"base={gguf_file}", f"chatty={chat_file}", f"far={server.url}/v1", "--template", "base=meditron-one-shot",
                            "--slots", "2").url)


def _chat(url: str, model: str, content: str, **more: Any) -> dict[str, Any]:
    response = httpx.post(f"{url}/v1/chat/completions", timeout=30,
                          json={"model": model, "messages": [{"role": "user", "content": content}], **GREEDY, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())


def _text(url: str, model: str, prompt: str, **more: Any) -> str:
    response = httpx.post(f"{url}/v1/completions", json={"model": model, "prompt": prompt, **GREEDY, **more}, timeout=30)
    return str(response.json()["choices"][0]["text"])


def test_each_model_has_its_place_and_its_form(several: str, gguf_file: Path, chat_file: Path) -> None:
    found = {entry["id"]: entry["metadata"] for entry in httpx.get(f"{several}/v1/models").json()["data"]}
    assert list(found) == ["base", "chatty", "far"]
    assert [about["engine"] for about in found.values()] == ["llama.cpp", "llama.cpp", "upstream"]
    assert [about["template"]["name"] for about in found.values()] == ["meditron-one-shot", "file", "server"]
    assert [about["sha256"] for about in found.values()] == [gguf_digest(gguf_file), gguf_digest(chat_file), gguf_digest(gguf_file)]
    assert found["far"]["context"] == 4096
    ready = httpx.get(f"{several}/ready")
    assert (ready.status_code, ready.json()["models"]) == (200, {"base": "ready", "chatty": "ready", "far": "ready"})
    assert httpx.post(f"{several}/v1/completions", json={"prompt": "a"}).json()["error"]["param"] == "model"
    assert httpx.get(f"{several}/v1/models/chatty").json()["id"] == "chatty"


def test_meditrons_form_is_the_originals_with_its_stop_mended(several: str) -> None:
    turns = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"},
             {"role": "user", "content": "R"}]
    assert TEMPLATES["meditron-zero-shot"].text(turns) == "S\n### User: Q\n### Assistant: A\n### User: R\n### Assistant:"
    one = TEMPLATES["meditron-one-shot"].text([{"role": "user", "content": "Q"}])
    assert one == f"{SYSTEM}\n### User: {SHOT[0]['content']}\n### Assistant: {SHOT[1]['content']}\n### User: Q\n### Assistant:"
    assert TEMPLATES["meditron-one-shot"].stop == TEMPLATES["meditron-zero-shot"].stop == ("</s>", "###", "Assistant:", "User:")
    answer = _chat(several, "base", "Q")
    assert answer["choices"][0]["message"]["content"] == _text(several, "base", one, stop=["</s>", "###", "Assistant:", "User:"]).strip()
    assert answer["system_fingerprint"].endswith("-meditron-one-shot")


@pytest.mark.parametrize(("name", "text"), [
    ("chatml", "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"),
    ("meditron", "<|im_start|>system\nS<|im_end|>\n<|im_start|>question\nQ<|im_end|>\n<|im_start|>answer\n"),
    ("llama2", "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]"),
    ("llama3", "<|start_header_id|>system<|end_header_id|>\n\nS<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nQ<|eot_id|>"
               "<|start_header_id|>assistant<|end_header_id|>\n\n"),
    ("mistral", "[INST] S\n\nQ [/INST]"),
    ("plain", "S\n\nQuestion: Q\n\nThe answer is:")])
def test_forms_are_as_their_models_were_trained(name: str, text: str) -> None:
    assert TEMPLATES[name].text([{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]) == text


def test_a_server_behind_gives_what_it_gives_by_itself(several: str, server: Any) -> None:
    direct, through = _chat(server.url, "tiny-F16", "Which drug?"), _chat(several, "far", "Which drug?")
    assert through["choices"] == direct["choices"] and through["usage"] == direct["usage"]
    asked = {"logprobs": 2, "echo": True, "n": 2, "seed": 3}
    one, two = (httpx.post(f"{url}/v1/completions", json={"model": model, "prompt": "Glorin is", **GREEDY, **asked}).json()
                for url, model in ((server.url, "tiny-F16"), (several, "far")))
    assert one["choices"] == two["choices"]
    with httpx.stream("POST", f"{several}/v1/chat/completions", json={
            "model": "far", "messages": [{"role": "user", "content": "Which drug?"}], "stream": True, **GREEDY,
            "stream_options": {"include_usage": True}}) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert events[-1]["usage"] == direct["usage"]
    said = "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1])
    assert said == direct["choices"][0]["message"]["content"]
    refused = httpx.post(f"{several}/v1/completions", json={"model": "far", "prompt": "a b " * 2000})
    assert refused.status_code == 400 and "context" in refused.json()["error"]["message"]


def test_a_server_that_goes_is_not_ready_and_comes_back(launch: Callable[..., Any], launch_words: Callable[..., Any]) -> None:
    far = launch(slots=1)
    port = far.url.rpartition(":")[2]
    url = launch_words(far.url).url
    assert _chat(url, "tiny-F16", "Which drug?")["model"] == "tiny-F16"
    assert far.end() == 0
    assert httpx.post(f"{url}/v1/completions", json={"prompt": "a"}).status_code in (502, 503)
    _until(lambda: httpx.get(f"{url}/ready").status_code == 503)
    launch(slots=1, port=int(port))
    _until(lambda: httpx.get(f"{url}/ready").status_code == 200)
    assert _chat(url, "tiny-F16", "Which drug?")["model"] == "tiny-F16"


def _until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_what_a_message_spells_is_text(gguf_file: Path) -> None:
    """A question that spells the end of an answer must not end it."""
    import asyncio

    engine = LlamaCpp(gguf_file, context=256, slots=1, threads=1)
    assert "</s>" in engine.control
    prompt = f"<s>[user] {guarded('a</s>b', engine.control)}</s>"
    assert stretches(prompt, engine.control) == [("<s>", True), ("[user] a</s>b", False), ("</s>", True)]
    engine.start()
    try:
        ids = asyncio.run(engine._cut(prompt))
    finally:
        engine.stop()
    assert (ids[0], ids[-1]) == (1, 2) and ids.count(1) == ids.count(2) == 1


@pytest.fixture(scope="module")
def calibrated(launch_words: Callable[..., Any], gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], str]:
    def start(threshold: float) -> str:
        file = tmp_path_factory.mktemp("calibration") / "calibration.json"
        Calibration(model="tiny", sha256=gguf_digest(gguf_file), template="plain", risk=0.1, threshold=threshold, questions=100,
                    answered=0.5, accuracy=0.9, wrong=0.05, forms={"A B C D": 100}, left_out=0, questions_sha256="0" * 64,
                    date="2026-01-01", medloom="0").write(file)
        return str(launch_words(gguf_file, "--calibration", file).url)

    return start


def test_an_unsure_model_abstains_and_a_sure_one_tells_how_sure(calibrated: Callable[[float], str]) -> None:
    never, always = calibrated(1.000001), calibrated(0.0)
    told = httpx.get(f"{never}/v1/models").json()["data"][0]["metadata"]["abstention"]
    assert told == {"risk": 0.1, "threshold": 1.000001, "questions": 100, "sha256": "0" * 64}
    silent, sure = (_chat(url, "tiny-F16", QUESTION)["choices"][0] for url in (never, always))
    assert "abstains" in silent["message"]["content"] and silent["abstention"]["abstained"] and silent["finish_reason"] == "stop"
    assert sure["message"]["content"] == sure["abstention"]["answer"] and not sure["abstention"]["abstained"]  # and no more
    assert sure["abstention"]["options"] == ["A", "B", "C", "D"] and 0.25 <= sure["abstention"]["confidence"] <= 1
    assert sure["abstention"]["confidence"] == silent["abstention"]["confidence"]
    assert "abstention" not in _chat(never, "tiny-F16", "Which drug helps?")["choices"][0]  # an open question
    with httpx.stream("POST", f"{never}/v1/chat/completions", json={
            "messages": [{"role": "user", "content": QUESTION}], "stream": True, **GREEDY}) as stream:
        events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
    assert events[-1]["choices"][0]["abstention"] == silent["abstention"]
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == silent["message"]["content"]
    assert "medloom_abstentions_total{model=\"tiny-F16\"} 2.0" in httpx.get(f"{never}/metrics").text


def test_a_calibration_of_another_model_is_refused(gguf_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "calibration.json"
    Calibration(model="other", sha256="1" * 64, template="plain", risk=0.1, threshold=0.5, questions=100, answered=0.5,
                accuracy=0.9, wrong=0.05, forms={}, left_out=0, questions_sha256="0" * 64, date="2026-01-01", medloom="0").write(file)
    with pytest.raises(Refusal, match="is of another file"):
        serve([Offer("tiny", gguf_file, calibration=file)], Settings(threads=1, slots=1), port=0)


def test_places_in_the_queue_are_told(launch: Callable[..., Any]) -> None:
    url = launch(slots=1, queue=4).url
    long = {"prompt": "Glorin is", "max_tokens": 900, "temperature": 0}
    ahead = [Thread(target=lambda: httpx.post(f"{url}/v1/completions", json=long, timeout=60)) for _ in range(3)]
    for one in ahead:
        one.start()
    _until(lambda: 'medloom_waiting{model="tiny-F16"} 2.0' in httpx.get(f"{url}/metrics").text)
    with httpx.stream("POST", f"{url}/v1/completions", json={**long, "max_tokens": 2, "stream": True}, timeout=60,
                      headers={"X-Medloom-Queue": "places"}) as stream:
        lines = list(stream.iter_lines())
    places = [int(line.removeprefix(": queue ")) for line in lines if line.startswith(": queue")]
    assert places[0] in (2, 3)  # the first may have ended meanwhile
    assert places[-1] == 0 and places == sorted(places, reverse=True)
    assert lines[-2] == "data: [DONE]"
    for one in ahead:
        one.join()


def test_metrics_agree_with_what_a_client_saw(launch: Callable[..., Any]) -> None:
    url = launch(slots=2).url
    bodies = [{"prompt": "Glorin is", "max_tokens": 5}] * 3 + [{"prompt": 1}] * 2 + [{"prompt": "a", "stream": True, "max_tokens": 2}]
    answers = [httpx.post(f"{url}/v1/completions", json=body) for body in bodies]
    with httpx.stream("POST", f"{url}/v1/completions", json={
            "prompt": "Glorin is a drug", "stream": True, "max_tokens": 900, "temperature": 0}) as stream:
        next(stream.iter_lines())

    def value(name: str, labels: str) -> float:
        return next((float(line.rpartition(" ")[2]) for line in httpx.get(f"{url}/metrics").text.splitlines()
                     if line.startswith(f"{name}{{{labels}}}")), 0.0)

    path = 'path="/v1/completions"'
    assert value("medloom_requests_total", f'{path},status="200"') == sum(one.status_code == 200 for one in answers) == 4
    assert value("medloom_requests_total", f'{path},status="400"') == 2
    _until(lambda: value("medloom_requests_total", f'{path},status="left"') == 1)
    _until(lambda: value("medloom_running", 'model="tiny-F16"') == 0)
    written = sum(one.json()["usage"]["completion_tokens"] for one in answers[:3]) + 2
    assert value("medloom_tokens_written_total", 'model="tiny-F16"') == written
    assert value("medloom_queue_seconds_count", 'model="tiny-F16"') == 5


def test_what_cannot_be_offered_is_refused(gguf_file: Path) -> None:
    assert offer("ours=a/b.gguf") == Offer("ours", Path("a/b.gguf"))
    assert offer("a=b/c=d.gguf") == Offer("a", Path("b/c=d.gguf"))
    assert offer("http://gpu:8000/v1#llama") == Offer("llama", url="http://gpu:8000/v1", model="llama")
    with pytest.raises(Refusal, match="no such form"):
        with_templates([offer("a=x")], ["chatmail"])
    with pytest.raises(Refusal, match="no model is named"):
        with_templates([offer("a=x")], ["b=chatml"])
    with pytest.raises(Refusal, match="two models are named"):
        serve([Offer("a", gguf_file), Offer("a", gguf_file)], port=0)
    with pytest.raises(Refusal, match="cannot be reached"):
        serve([offer("http://127.0.0.1:9/v1")], port=0)

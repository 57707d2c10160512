"""Clients that others wrote for OpenAI's API, unchanged: the openai package, and lm-eval's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

KEY = "a-key-for-the-clients-of-this-test"
GREEDY = {"max_tokens": 12, "temperature": 0}


@pytest.fixture(scope="module")
def url(launch: Callable[..., Any]) -> str:
    return str(launch(keys=(KEY,), slots=2, embeddings=True).url)


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    openai = pytest.importorskip("openai", reason="needs openai: pip install 'medloom[dev]'")
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_openai_lists_completes_and_chats(client: Any) -> None:
    (model,) = client.models.list().data
    assert client.models.retrieve(model.id).metadata["template"]["name"] == "plain"
    whole = client.completions.create(model=model.id, prompt="Glorin is", **GREEDY)
    usage = {"stream": True, "stream_options": {"include_usage": True}}
    pieces = list(client.completions.create(model=model.id, prompt="Glorin is", **usage, **GREEDY))
    assert "".join(piece.choices[0].text for piece in pieces[:-1]) == whole.choices[0].text
    assert pieces[-1].usage == whole.usage
    asked = {"model": model.id, "messages": [{"role": "user", "content": "Which drug?"}], **GREEDY}
    chat = client.chat.completions.create(**asked)
    streamed = "".join(piece.choices[0].delta.content or "" for piece in client.chat.completions.create(**asked, stream=True))
    assert streamed == chat.choices[0].message.content
    assert chat.system_fingerprint.endswith("-plain")


def test_openai_reads_log_probabilities_of_both_forms(client: Any) -> None:
    (choice,) = client.completions.create(model="tiny-F16", prompt="Glorin is", logprobs=3, **GREEDY).choices
    told = choice.logprobs
    assert "".join(told.tokens) == choice.text
    assert [max(top.values()) for top in told.top_logprobs] == told.token_logprobs  # greedy takes the likeliest
    assert all(0 < len(top) <= 3 for top in told.top_logprobs)
    assert told.text_offset == [len("".join(told.tokens[:number])) for number in range(len(told.tokens))]
    asked = {"model": "tiny-F16", "messages": [{"role": "user", "content": "Which drug?"}], "logprobs": True, "top_logprobs": 2, **GREEDY}
    content = client.chat.completions.create(**asked).choices[0].logprobs.content
    streamed = [token for piece in client.chat.completions.create(**asked, stream=True) for choice in piece.choices if choice.logprobs
                for token in choice.logprobs.content]
    assert [token.token for token in content] == [token.token for token in streamed]
    assert all(bytes(token.bytes).decode() == token.token and len(token.top_logprobs) == 2 for token in content)


def test_openai_asks_for_several_answers_and_prompts(client: Any) -> None:
    body = {"model": "tiny-F16", "max_tokens": 8, "temperature": 1.0, "seed": 5}
    found = client.completions.create(prompt=["Glorin is", "A physician"], n=2, **body)
    assert [choice.index for choice in found.choices] == [0, 1, 2, 3]
    assert found.choices[0].text != found.choices[1].text
    alone = client.completions.create(prompt="A physician", **body)
    assert found.choices[2].text == alone.choices[0].text  # a seed and a prompt give one text, in whatever company
    assert found.usage.completion_tokens == 32


def test_openai_gets_embeddings(client: Any) -> None:
    import numpy as np

    found = client.embeddings.create(model="tiny-F16", input=["Glorin is a drug", "Glorin is a drug", "marsh"])  # in base64, its habit
    plain = client.embeddings.create(model="tiny-F16", input="marsh", encoding_format="float").data[0].embedding
    one, same, other = (np.array(entry.embedding) for entry in found.data)
    assert np.allclose(one, same, atol=1e-4) and not np.allclose(one, other, atol=1e-2)
    assert np.allclose(other, plain, atol=1e-4)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-4)


def test_openai_names_our_errors(client: Any) -> None:
    import openai

    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.completions.create(model="tiny-F16", prompt="a", temperature=2.5)
    with pytest.raises(openai.NotFoundError, match="there is no"):
        client.completions.create(model="other", prompt="a")
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


def test_an_echo_tells_what_the_network_thinks_of_a_prompt(client: Any, model_folder: Path) -> None:
    import torch

    from medloom.model import load_model, load_tokenizer

    tokenizer, network = load_tokenizer(model_folder), load_model(model_folder)
    text = "Patients with blue fever take ≥ 5 µg glorin.\néé"  # some tokens are parts of characters
    cut = tokenizer.encode(text, bos=True)
    ended = [*cut, 2, 199, 300]  # the end, a half of a character
    for prompt, ids in ((cut, cut), (text, cut), (ended, ended)):
        with torch.no_grad():
            logprobs = network.logits(network(torch.tensor([ids]))).float().log_softmax(-1)[0]
        expected = [float(logprobs[place, token]) for place, token in enumerate(ids[1:])]
        (choice,) = client.completions.create(model="tiny-F16", prompt=prompt, echo=True, logprobs=1, max_tokens=1, temperature=0).choices
        told = choice.logprobs
        assert told.token_logprobs[0] is None and len(told.tokens) == len(ids) + 1
        assert told.token_logprobs[1:-1] == pytest.approx(expected, abs=5e-3)
        assert [max(top.values()) for top in told.top_logprobs[1:-1]] == pytest.approx(logprobs.max(-1).values[:-1].tolist(), abs=5e-3)
    (alone,) = client.completions.create(model="tiny-F16", prompt=ended, echo=True, logprobs=0, max_tokens=0).choices
    assert alone.logprobs.token_logprobs[1:] == pytest.approx(expected, abs=5e-3)
    assert alone.finish_reason == "length"


def test_a_part_of_a_character_is_told_as_any_token_is(client: Any, model_folder: Path) -> None:
    """llama.cpp says nothing of one. The network goes on with what it has just read, for its embeddings are tied."""
    import torch

    from medloom.model import load_model

    network = load_model(model_folder)
    with torch.no_grad():
        logprobs = network.logits(network(torch.tensor([[198]]))).float().log_softmax(-1)[0, -1]
    assert int(logprobs.argmax()) == 198
    for bias, chosen in (({}, 198), ({"172": 100}, 172)):
        asked: dict[str, Any] = {"max_tokens": 1, "temperature": 0, "logprobs": 5, "logit_bias": bias}
        choice = client.completions.create(model="tiny-F16", prompt=[198], **asked).choices[0]
        assert choice.logprobs.token_logprobs == pytest.approx([float(logprobs[chosen])], abs=5e-3)
        assert max(choice.logprobs.top_logprobs[0].values()) == pytest.approx(float(logprobs[198]), abs=5e-3)


TASK = """\
task: marsh
dataset_path: json
dataset_kwargs: {data_files: {test: FILE}}
output_type: TYPE
test_split: test
doc_to_text: "Question: {{question}}\\nAnswer:"
"""
OPTIONS = ("glorin", "water", "the fever")
CHOICE = f"doc_to_choice: {json.dumps(OPTIONS)}\ndoc_to_target: 0\nmetric_list: [{{metric: acc}}]\n"
WRITE = ("doc_to_target: \"glorin\"\ngeneration_kwargs: {until: [\"\\n\"], max_gen_toks: 8, temperature: 0}\n"
         "metric_list: [{metric: exact_match}]\n")


@pytest.mark.slow
@pytest.mark.parametrize(("client_name", "kind", "rest"), [
    ("local-completions", "multiple_choice", CHOICE), ("local-chat-completions", "generate_until", WRITE)], ids=["completions", "chat"])
def test_lm_eval_measures_through_the_gateway(url: str, model_folder: Path, tmp_path: Path, client_name: str, kind: str, rest: str) -> None:
    if find_spec("lm_eval") is None or find_spec("tenacity") is None:
        pytest.skip("needs lm-eval: pip install 'lm-eval[api]>=0.4.13,<0.5'")
    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"question": text}) + "\n" for text in ("Which drug helps?", "What is taken?", "Who asks?")))
    (tmp_path / "marsh.yaml").write_text(TASK.replace("FILE", str(questions)).replace("TYPE", kind) + rest)
    chat = client_name == "local-chat-completions"
    arguments = f"model=tiny-F16,base_url={url}/v1/{'chat/' if chat else ''}completions,num_concurrent=2,max_retries=1,max_length=512," + \
        ("" if chat else f"tokenizer={model_folder},tokenizer_backend=huggingface")
    words = [sys.executable, "-m", "lm_eval", "--model", client_name, "--model_args", arguments, "--tasks", "marsh", "--include_path",
             str(tmp_path), "--output_path", str(tmp_path / "out"), "--log_samples", *(["--apply_chat_template"] if chat else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env={
        **os.environ, "OPENAI_API_KEY": KEY, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")})
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())
    assert found["n-samples"]["marsh"]["effective"] == 3
    if kind == "multiple_choice":
        (samples,) = (tmp_path / "out").rglob("samples_*.jsonl")
        for line in samples.read_text().splitlines():
            sample = json.loads(line)
            told = [float(answer[0]) for answer in sample["filtered_resps"]]
            expected = [_logprob(model_folder, f"Question: {sample['doc']['question']}\nAnswer:", f" {option}") for option in OPTIONS]
            assert told == pytest.approx(expected, abs=0.02)


def _logprob(folder: Path, context: str, option: str) -> float:
    """What the network itself gives."""
    import torch

    from medloom.model import load_model, load_tokenizer

    tokenizer, network = load_tokenizer(folder), load_model(folder)
    ids, start = tokenizer.encode(context + option), len(tokenizer.encode(context))  # without a beginning, as lm-eval sends it
    with torch.no_grad():
        logprobs = network.logits(network(torch.tensor([ids]))).float().log_softmax(-1)[0]
    return sum(float(logprobs[place - 1, ids[place]]) for place in range(start, len(ids)))

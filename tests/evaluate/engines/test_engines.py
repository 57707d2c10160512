"""Engines: the same numbers, whatever the batch, the order and what is shared; and GGUF's beside ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from medloom.evaluate import GGUFEngine, TorchEngine
from medloom.ledger import Refusal
from medloom.model import load_model

BEGINNING = [1, *(300 + i % 30 for i in range(40))]
PROMPTS = [BEGINNING + [260 + (7 * row + 3 * i) % 60 for i in range(5 + 11 * row)] for row in range(7)]
CANDIDATES = [[270, 280, 290 + row] for row in range(7)]
TEXTS = [[[270, 271], [270, 272, 273 + row], [299]] for row in range(7)]


@pytest.fixture(scope="module")
def plain(folder: Path) -> list[list[float]]:
    """One prompt at a time, every position through the head: no sharing, no padding."""
    model = load_model(folder)
    with torch.inference_mode():
        return [model.logits(model(torch.tensor([prompt])))[0, -1].log_softmax(-1)[wanted].tolist()
                for prompt, wanted in zip(PROMPTS, CANDIDATES, strict=True)]


@pytest.mark.parametrize("shared", [0, len(BEGINNING)])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_next_tokens_do_not_depend_on_batch_or_sharing(folder: Path, plain: list[list[float]], batch: int, shared: int) -> None:
    with TorchEngine(folder, "cpu", batch) as engine:
        found = engine.next_token_logprobs(PROMPTS, CANDIDATES, shared)
        back = engine.next_token_logprobs(PROMPTS[::-1], CANDIDATES[::-1], shared)[::-1]
    assert torch.tensor(found).sub(torch.tensor(plain)).abs().max() < 1e-5
    assert torch.tensor(back).sub(torch.tensor(plain)).abs().max() < 1e-5


@pytest.mark.parametrize("shared", [0, len(BEGINNING)])
def test_a_text_is_its_tokens_one_after_the_other(folder: Path, shared: int) -> None:
    with TorchEngine(folder, "cpu") as engine:
        found = engine.text_logprobs(PROMPTS, TEXTS, shared)
        for prompt, texts, sums in zip(PROMPTS, TEXTS, found, strict=True):
            for text, value in zip(texts, sums, strict=True):
                steps = [engine.next_token_logprobs([prompt + text[:i]], [[token]])[0][0] for i, token in enumerate(text)]
                assert value == pytest.approx(sum(steps), abs=1e-5)


def test_tokens_of_windows_do_not_depend_on_the_batch(folder: Path) -> None:
    starts = [1, 2, 3, 40, 5, 6, 7]
    results = []
    for batch in (1, 3, 16):
        with TorchEngine(folder, "cpu", batch) as engine:
            results.append(engine.token_logprobs(PROMPTS, starts))
    assert results[1] == pytest.approx(results[0], abs=1e-4)
    assert results[2] == pytest.approx(results[0], abs=1e-4)
    with TorchEngine(folder, "cpu") as engine:
        steps = [engine.next_token_logprobs([PROMPTS[3][:i]], [[PROMPTS[3][i]]])[0][0] for i in range(40, len(PROMPTS[3]))]
    assert results[0][3] == pytest.approx(sum(steps), abs=1e-4)


def test_another_model_has_another_identity(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "copy")
    with TorchEngine(folder, "cpu") as one, TorchEngine(tmp_path / "copy", "cpu") as same:
        assert one.identity() == same.identity()
        weights = next((tmp_path / "copy").glob("*.safetensors"))
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
        assert one.identity() != same.identity()


def test_a_float32_file_scores_as_the_network_does(folder: Path, gguf: Path, plain: list[list[float]]) -> None:
    with GGUFEngine(gguf, 1) as engine, TorchEngine(folder, "cpu") as ours:
        assert engine.context == ours.context == 512
        found = engine.next_token_logprobs(PROMPTS, CANDIDATES)
        texts = engine.text_logprobs(PROMPTS, TEXTS)
        assert torch.tensor(found).sub(torch.tensor(plain)).abs().max() < 1e-4
        assert torch.tensor(texts).sub(torch.tensor(ours.text_logprobs(PROMPTS, TEXTS))).abs().max() < 1e-4
        assert engine.next_token_logprobs(PROMPTS, CANDIDATES) == found  # what was asked before leaves no trace
        # Half a character, which llama.cpp would not tell of, is the likeliest where it has just been read: the embeddings are tied.
        half = [[*BEGINNING, *[198] * 8]], [[198, 270]]
        assert engine.next_token_logprobs(*half)[0] == pytest.approx(ours.next_token_logprobs(*half)[0], abs=1e-4)
        words = ["The patient has a fever.", "Question: what?\n\nOptions:\nA. 10 µg\n\nThe answer is: A", "<s> is text here"]
        assert engine.encode(words) == ours.encode(words)


def test_a_prompt_of_every_position_but_one_fits_both(folder: Path, gguf: Path) -> None:
    prompt = [1, *(260 + i % 60 for i in range(510))]
    with GGUFEngine(gguf, 1, tokenizer=folder) as engine, TorchEngine(folder, "cpu") as ours:
        assert engine.next_token_logprobs([prompt], [[270]])[0] == pytest.approx(ours.next_token_logprobs([prompt], [[270]])[0], abs=1e-4)
        with pytest.raises(Refusal, match=r"llama\.cpp refuses the prompt"):
            engine.next_token_logprobs([[*prompt, 270, 271]], [[270]])


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        GGUFEngine(tmp_path / "absent.gguf")
    for content, says in ((b"PK..", "not a GGUF file"), (b"GGUF torn", "damaged or cut off")):
        (tmp_path / "bad.gguf").write_bytes(content)
        with pytest.raises(Refusal, match=says):
            GGUFEngine(tmp_path / "bad.gguf")

"""Passes over packed questions and continuations, held against the plain network, row by row and token by token."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from medloom.evaluate import TorchEngine
from medloom.evaluate.engines.engine import Sampling
from medloom.evaluate.engines.mixing import joined, mix
from medloom.evaluate.engines.passage import EMPTY, Question, Reader
from medloom.model import load_model

PROMPT = list(range(20, 60))
QUESTIONS = [[*PROMPT, *range(3, 3 + size)] for size in (9, 30, 17, 1, 24)]


@pytest.fixture(scope="module", params=["plain", "window"])
def place(request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model folder, and the same with a sliding window that is shorter than the prompts."""
    if request.param == "plain":
        return folder
    windowed = tmp_path_factory.mktemp("windowed") / "model"
    shutil.copytree(folder, windowed)
    config = json.loads((windowed / "config.json").read_text())
    config |= {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 13}
    (windowed / "config.json").write_text(json.dumps(config))
    return windowed


def plain_scores(place: Path, ids: Sequence[int]) -> torch.Tensor:
    """Log-probabilities after every position, by the network as it stands."""
    model = load_model(place).eval()
    with torch.inference_mode():
        return model.logits(model(torch.tensor([list(ids)])))[0].log_softmax(-1)


def test_parts_of_keys_mix_to_the_whole() -> None:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, heads, length, 16, generator=generator) for heads, length in ((4, 7), (2, 50), (2, 50)))
    whole = torch.nn.functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    everywhere = torch.ones(1, 1, 7, 20, dtype=torch.bool)
    parts = [mix(q, k[:, :, :10], v[:, :, :10]), mix(q, k[:, :, 10:30], v[:, :, 10:30], everywhere), mix(q, k[:, :, 30:], v[:, :, 30:]),
             mix(q, k, v, torch.zeros(1, 1, 7, 50, dtype=torch.bool))]  # a part in which nothing is seen weighs nothing
    assert torch.allclose(joined(parts), whole, atol=1e-6)


@pytest.mark.parametrize("shared", [0, len(PROMPT)])
def test_packed_questions_score_as_each_alone(place: Path, shared: int) -> None:
    with TorchEngine(place, "cpu", 16) as engine:
        found = engine.next_token_logprobs(QUESTIONS, [[5, 6, 7]] * 5, shared)
    for ids, values in zip(QUESTIONS, found, strict=True):
        assert values == pytest.approx(plain_scores(place, ids)[-1, [5, 6, 7]].tolist(), abs=1e-5)


@pytest.mark.parametrize("shared", [0, len(PROMPT)])
@pytest.mark.parametrize("batch", [1, 3, 16])
def test_branches_score_as_each_alone(place: Path, shared: int, batch: int) -> None:
    branches = [[[4], [5, 6, 7], list(range(9, 30))], [[8, 9]], [[1, 2], [1, 3]], [[7]], [[6, 6], [7], [8]]]
    with TorchEngine(place, "cpu", batch) as engine:
        found = engine.text_logprobs(QUESTIONS, branches, shared)
    for ids, own, values in zip(QUESTIONS, branches, found, strict=True):
        for branch, value in zip(own, values, strict=True):
            scores = plain_scores(place, [*ids, *branch])
            expected = sum(float(scores[len(ids) - 1 + at, token]) for at, token in enumerate(branch))
            assert value == pytest.approx(expected, abs=1e-4)


def test_a_beginning_alone_gives_its_keys(folder: Path) -> None:
    reader = Reader(load_model(folder).eval())
    with torch.inference_mode():
        passage = reader.read_beginning(PROMPT)
        hidden, _ = reader.read(passage, [Question([1, 2])])
        whole, _ = reader.read(EMPTY, [Question([*PROMPT, 1, 2])])
    assert passage.length == len(PROMPT) and torch.allclose(hidden, whole, atol=1e-5)


def greedy(place: Path, ids: list[int], count: int, penalty: float = 0.0) -> list[int]:
    """What the plain network writes, computed from the start for every token."""
    written: list[int] = []
    for _ in range(count):
        scores = plain_scores(place, [*ids, *written])[-1].clone()
        for token in written:
            scores[token] -= penalty
        written.append(int(scores.argmax()))
    return written


@pytest.mark.parametrize("shared", [0, len(PROMPT)])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_what_is_written_greedily_is_the_plain_networks(place: Path, shared: int, penalty: float) -> None:
    with TorchEngine(place, "cpu", 16) as engine:
        engine._tokenizer.eos_id = engine._tokenizer.document_end_id = None
        found = engine.generate(QUESTIONS[:3], [[1], [2], [3]], Sampling(12, frequency_penalty=penalty), shared)
    for ids, (written,) in zip(QUESTIONS, found, strict=False):
        assert list(written.ids) == greedy(place, ids, 12, penalty) and not written.ended


def test_branches_are_their_seeds_alone(folder: Path) -> None:
    sampling = Sampling(16, temperature=1.0)
    with TorchEngine(folder, "cpu", 16) as engine:
        together = engine.generate(QUESTIONS, [[1, 2, 3], [1], [4, 5], [6], [7, 8, 9, 10]], sampling, len(PROMPT))
        alone = engine.generate([QUESTIONS[0]], [[2]], sampling)
        again = engine.generate(QUESTIONS[:1], [[2, 1]], sampling, len(PROMPT))
    assert together[0][1].ids == alone[0][0].ids == again[0][0].ids and together[0][0].ids == again[0][1].ids
    assert len({branch.ids for branch in together[0]}) == 3


def test_draws_follow_the_softmax(folder: Path) -> None:
    """Of 2000 first tokens, each of the likeliest comes up as often as its probability says, within four standard errors."""
    for temperature in (0.5, 1.0):
        with TorchEngine(folder, "cpu", 16) as engine:
            engine._tokenizer.eos_id = engine._tokenizer.document_end_id = None
            (found,) = engine.generate([QUESTIONS[0]], [list(range(2000))], Sampling(1, temperature))
        drawn = torch.bincount(torch.tensor([branch.ids[0] for branch in found]), minlength=330) / 2000
        expected = (plain_scores(folder, QUESTIONS[0])[-1] / temperature).softmax(-1)
        error = (expected * (1 - expected) / 2000).sqrt() + 1e-4
        assert ((drawn - expected).abs() < 4.5 * error).all()


def test_writing_stops_at_texts_and_at_the_end_token(folder: Path) -> None:
    with TorchEngine(folder, "cpu", 4) as engine:
        engine._tokenizer.eos_id = engine._tokenizer.document_end_id = None
        ((whole,),) = engine.generate([QUESTIONS[0]], [[5]], Sampling(40, 1.0))
        stop = whole.text[10:13]
        ((cut,),) = engine.generate([QUESTIONS[0]], [[5]], Sampling(40, 1.0, (stop,)))
        assert cut.ended and cut.text == whole.text[:whole.text.index(stop)] and len(cut.ids) < len(whole.ids) and not whole.ended
        engine._tokenizer.eos_id = whole.ids[7]
        ((ended,),) = engine.generate([QUESTIONS[0]], [[5]], Sampling(40, 1.0))
        place = whole.ids.index(whole.ids[7])
        assert ended.ended and ended.ids == whole.ids[:place]

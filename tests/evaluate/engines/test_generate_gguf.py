"""Writing by a GGUF file, beside our network's on the same weights."""

from __future__ import annotations

from pathlib import Path

from medloom.evaluate import GGUFEngine, TorchEngine
from medloom.evaluate.engines.engine import Sampling

BEGINNING = list(range(20, 60))
QUESTIONS = [[*BEGINNING, *range(3, 3 + size)] for size in (9, 30, 1)]


def test_greedily_a_float32_file_writes_what_the_network_does(folder: Path, gguf: Path) -> None:
    with GGUFEngine(gguf, 1, tokenizer=folder) as theirs, TorchEngine(folder, "cpu") as ours:
        found = theirs.generate(QUESTIONS, [[1], [2], [3]], Sampling(12))
        expected = ours.generate(QUESTIONS, [[1], [2], [3]], Sampling(12), len(BEGINNING))
    for (one,), (other,) in zip(found, expected, strict=True):
        assert one.text.strip() == other.text.strip() and one.ended == other.ended


def test_branches_of_a_file_follow_their_seeds(folder: Path, gguf: Path) -> None:
    with GGUFEngine(gguf, 1, tokenizer=folder) as engine:
        (first,) = engine.generate(QUESTIONS[:1], [[1, 2, 3]], Sampling(16, 1.0))
        (again,) = engine.generate(QUESTIONS[:1], [[1, 2, 3]], Sampling(16, 1.0))
        (turned,) = engine.generate(QUESTIONS[:1], [[3, 1]], Sampling(16, 1.0))
    assert first == again and len({one.text for one in first}) == 3
    assert turned[1].text == first[0].text and turned[0].text == first[2].text


def test_a_stop_text_ends_what_a_file_writes_and_is_left_out(folder: Path, gguf: Path) -> None:
    with GGUFEngine(gguf, 1, tokenizer=folder) as engine:
        ((whole,),) = engine.generate(QUESTIONS[:1], [[5]], Sampling(40, 1.0))
        stop = whole.text[10:13]
        ((cut,),) = engine.generate(QUESTIONS[:1], [[5]], Sampling(40, 1.0, (stop,)))
    assert cut.ended and cut.text == whole.text[:whole.text.index(stop)]

"""A small network with random weights and a tokenizer of its own, in both its forms, and a benchmark to ask it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medloom import recipe
from medloom.model import new_model, train_tokenizer

WORDS = ("The patient has a fever and takes the drug once a day.", "Which of the following is the answer? Yes, no or maybe.",
         "Question: what is it? Options: A. one B. two C. three D. four E. five", "The answer is: A. The answer is: B. The answer is: C.",
         "The answer is: D. The answer is: E. The answer is: yes, no, maybe.")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: two layers, grouped heads, 512 positions."""
    place = tmp_path_factory.mktemp("model")
    train_tokenizer(list(WORDS) * 5, 330, place / "tokenizer")
    new_model(recipe.Shape(hidden=64, feed_forward=128, layers=2, heads=4, kv_heads=2, context=512, vocabulary=330),
              place / "tokenizer", 1, place / "model")
    return place / "model"


@pytest.fixture(scope="session")
def gguf(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model as a GGUF file in float32."""
    from medloom.quantise import export_gguf

    out = tmp_path_factory.mktemp("gguf") / "model-F32.gguf"
    export_gguf(folder, out, "F32")
    return out


def medqa_lines(count: int, options: int = 4, words: int = 3, start: int = 0) -> str:
    """Questions in MedQA's form, no two alike, of varied length."""
    lines = []
    for number in range(start, start + count):
        vignette = " ".join(f"The patient has a fever of {number + i} and takes the drug." for i in range(1 + number % words))
        letters = {letter: f"drug {number}{letter}" for letter in "ABCDE"[:options]}
        lines.append(json.dumps({"question": f"{vignette} Which is the answer {number}?", "options": letters,
                                 "answer_idx": "ABCDE"[number % options]}))
    return "\n".join(lines) + "\n"


@pytest.fixture
def more_questions() -> Callable[..., str]:
    """`medqa_lines`, for tests that write files of their own."""
    return medqa_lines


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """A folder in the form of the invented world's: train.jsonl and test.jsonl."""
    place = tmp_path / "medqa"
    place.mkdir()
    (place / "test.jsonl").write_text(medqa_lines(20))
    (place / "train.jsonl").write_text(medqa_lines(6, start=100))
    return place


@pytest.fixture(scope="session")
def llamacpp(gguf: Path) -> Iterator[tuple[str, str]]:
    """llama.cpp's own server on the model in float32: its address and its key."""
    import xllamacpp

    key = secrets.token_hex(16)
    settings = xllamacpp.CommonParams()
    settings.model.path = str(gguf)
    settings.n_ctx, settings.n_parallel = 1024, 2
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.warmup, settings.verbosity = False, -1
    settings.hostnames, settings.port, settings.api_keys = ["127.0.0.1"], 0, [key]
    server: Any = xllamacpp.Server(settings)
    yield server.listening_address, key
    del server

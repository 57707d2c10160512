"""A trained model and its files, made once: the real stories260K where its data lie beside the checkout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from medloom.model import import_llama2c, new_model, train_tokenizer
from medloom.quantise import measure, read_reference, write_reference
from medloom.recipe import Shape

_TEXTS = [
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. "
    "She wanted to play with it, but it was too high. Lily was sad and did not know what to do. Then a kind dog came and helped her. "
    "They played together all day and were very happy. The end.",
    "Tom had a small boat. He liked to sail it on the lake near his house. One morning the wind was strong and the boat went far away. "
    "Tom cried. A big fish saw the boat and pushed it back with its nose. \"Thank you, fish!\" said Tom. From that day on they were best "
    "friends and met at the lake each morning.",
]


def held(model: Path, gguf: Path, texts: Sequence[str], positions: int, **settings: Any) -> dict[str, Any]:
    """A GGUF file held against the model folder that it was made of."""
    with TemporaryDirectory() as folder:
        write_reference(model, texts, positions, Path(folder))
        return measure(read_reference(Path(folder)), gguf, **settings)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Two short stories of the kind that stories260K was trained on."""
    return _TEXTS


@pytest.fixture(scope="session")
def stories(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """stories260K as a model folder: trained, tied head, grouped queries, rows that neither 256 nor 32 divides."""
    source, folder = shared / "models" / "stories260K", tmp_path_factory.mktemp("stories")
    import_llama2c(source / "stories260K.bin", source / "tok512.bin", folder)
    return folder


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network whose rows are multiples of 256, so that K-quants apply; untied head, padded vocabulary."""
    folder, tokenizer = tmp_path_factory.mktemp("random"), tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([text for text in _TEXTS for _ in range(4)], 330, tokenizer)
    shape = Shape(hidden=256, feed_forward=512, layers=9, heads=4, kv_heads=2, context=64, vocabulary=352, tied=False)
    new_model(shape, tokenizer, 1, folder)
    return folder

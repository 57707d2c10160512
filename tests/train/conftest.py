"""A tiny model folder and a tiny tokenised corpus, made of text that anybody can read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from medloom.model import TokenStoreWriter, load_tokenizer, new_model, train_tokenizer
from medloom.recipe import Shape

SHAPE = Shape(hidden=32, feed_forward=64, layers=2, heads=4, kv_heads=2, context=64, vocabulary=320, tied=True)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sentences() -> list[str]:
    drugs = [f"{a}{b}" for a in ("bro", "ve", "lam", "quin", "sol", "mi") for b in ("daxine", "tol", "rimab", "zide", "pam")]
    return [f"{drug} lowers the pressure by {n} mm. The dose of {drug} is {n * 5} mg a day, taken with water in the morning."
            for n, drug in enumerate(drugs, 2)]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    train_tokenizer(sentences(), SHAPE.vocabulary, folder)
    new_model(SHAPE, folder, 1, folder)
    return folder


@pytest.fixture(scope="session")
def corpus(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    tokenizer = load_tokenizer(model)
    with TokenStoreWriter(folder / "train", tokenizer.vocab_size) as writer:
        for ids in tokenizer.encode_documents(sentences()):
            writer.add(ids)
    np.save(folder / "order.npy", np.tile(np.arange(len(sentences()), dtype=np.int64), 5))
    (folder / "mixture.json").write_text(json.dumps({"tokenizer": tokenizer.digest}))
    return folder

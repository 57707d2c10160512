"""The loss on held-out text: the mean over all tokens of a domain, whatever the batch; nothing where nothing is held out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medloom.ledger import Refusal
from medloom.model import TokenStore, TokenStoreWriter, load_model, load_tokenizer
from medloom.train.data import Rows
from medloom.train.heldout import measure, open_heldout

from .conftest import sentences


@pytest.fixture
def tokens(model: Path, tmp_path: Path) -> Path:
    tokenizer = load_tokenizer(model)
    for domain, texts in (("medical", sentences()[:7]), ("general", ["The sea is wide."]), ("empty", [])):
        with TokenStoreWriter(tmp_path / "heldout" / domain, tokenizer.vocab_size) as store:
            for ids in tokenizer.encode_documents(texts):
                store.add(ids)
    return tmp_path


def test_it_is_the_mean_over_the_tokens_of_a_domain(model: Path, tokens: Path) -> None:
    network, heldout = load_model(model).eval(), open_heldout(tokens, 16)

    def loss(size: int) -> Callable[[Rows, int], tuple[float, int]]:
        def of_batch(rows: Rows, number: int) -> tuple[float, int]:
            taken = [rows[n] for n in range(number * size, min((number + 1) * size, len(rows)))]
            tokens, segments, counted = (torch.from_numpy(np.stack([getattr(row, name) for row in taken]))
                                         for name in ("tokens", "segments", "counted"))
            with torch.no_grad():
                logits = network.logits(network(tokens[:, :-1], segments=segments[:, :-1]))
                total = F.cross_entropy(logits[counted], tokens[:, 1:][counted], reduction="sum")
            return total.item(), int(counted.sum())

        return of_batch

    found = measure(loss(4), heldout, 4)
    assert set(found) == {"medical", "general"}
    assert measure(loss(3), heldout, 3) == pytest.approx(found, rel=1e-5)

    # Of a text of one row or less, the network read plainly says the same.
    ids = torch.from_numpy(TokenStore.open(tokens / "heldout/general")[0].astype(np.int64))
    assert len(ids) <= 17
    with torch.no_grad():
        logits = network.logits(network(ids[None, :-1]))[0]
    assert found["general"] == pytest.approx(F.cross_entropy(logits, ids[1:]).item(), rel=1e-5)
    assert found["medical"] == pytest.approx(np.log(320), abs=0.3), "a network that has learned nothing"


def test_a_corpus_that_holds_nothing_out_has_nothing_to_measure(tokens: Path) -> None:
    assert open_heldout(tokens / "heldout", 16) == {}
    (tokens / "heldout/medical.bin").write_bytes(b"")
    with pytest.raises(Refusal, match="cut short"):
        open_heldout(tokens, 16)

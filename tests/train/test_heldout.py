"""The loss on held-out text: the mean over all tokens of a domain, whatever the batch; nothing where nothing is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medloom.ledger import Refusal
from medloom.model import TokenStore, TokenStoreWriter, load_model, load_tokenizer
from medloom.train.data import Batch
from medloom.train.heldout import measure, open_heldout
from medloom.train.loop import loss_sum

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

    def loss(data: Batch) -> float:
        with torch.no_grad():
            arrays = (data.inputs, data.segments, data.targets, data.counted)
            return float(loss_sum(network, *(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)))

    found = measure(loss, heldout, size=4, vocab_size=320)
    assert set(found) == {"medical", "general"}
    assert measure(loss, heldout, size=3, vocab_size=320) == pytest.approx(found, rel=1e-5)

    # Of a text of one row or less, the network read plainly says the same.
    ids = torch.from_numpy(TokenStore.open(tokens / "heldout/general")[0].astype(np.int64))
    assert len(ids) <= 17
    with torch.no_grad():
        logits = network.logits(network(ids[None, :-1]))[0]
    assert found["general"] == pytest.approx(F.cross_entropy(logits, ids[1:]).item(), rel=1e-5)
    assert found["medical"] == pytest.approx(np.log(320), abs=0.3), "a network that has learned nothing"


def test_no_token_of_the_vocabulary_is_no_loss_but_a_refusal(tokens: Path) -> None:
    with pytest.raises(Refusal, match="vocabulary ends at 9"):
        measure(lambda data: 0.0, open_heldout(tokens, 16), size=4, vocab_size=10)
    assert open_heldout(tokens / "heldout", 16) == {}

"""llama.cpp's server under real vocabularies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import torch

from medloom.model import load_model, load_tokenizer
from medloom.quantise import export_gguf
from medloom.serve import Offer, Settings, opened
from medloom.serve.engines import Ask

from ...quantise.full.test_vocabulary import TOKENIZERS, folder_for

# Characters that these vocabularies have in parts only, and half a one at the end.
HARD = "Dose \u2267 5 \u00b5g\n caf\u00e9 \U00016a4f"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama2", "llama3", "mistral-v3"])
def test_an_echo_is_the_networks_for_every_kind_of_token(shared: Path, tmp_path: Path, name: str) -> None:
    file, size, _ = TOKENIZERS[name]
    folder = folder_for(shared / "tokenizers" / file, size, tmp_path / "model", 128_000 if name == "llama3" else 1)
    export_gguf(folder, tmp_path / "model.gguf", "F32")
    tokenizer, network = load_tokenizer(folder), load_model(folder)
    ids = tokenizer.encode(HARD, bos=True)[:-1]
    ids = [*ids, tokenizer.eos_id, *(number for number in (3, size - 1, tokenizer.bos_id) if number is not None), *ids[-3:]]
    with torch.no_grad():
        logprobs = network.logits(network(torch.tensor([ids]))).float().log_softmax(-1)[0]
    with opened(Offer("tiny", tmp_path / "model.gguf"), Settings(slots=1, threads=1)) as model:
        told = asyncio.run(model.engine.whole(Ask(ids, 0, logprobs=2, echo=True))).tokens
    assert len(told) == len(ids) and told[0].logprob is None
    expected = [float(logprobs[place, token]) for place, token in enumerate(ids[1:])]
    assert [token.logprob for token in told[1:]] == pytest.approx(expected, abs=2e-3)
    assert [token.top[0].logprob for token in told[1:]] == pytest.approx(logprobs.max(-1).values[:-1].tolist(), abs=2e-3)
    assert b"".join(token.bytes for token in told[1:len(tokenizer.encode(HARD))]).decode(errors="ignore").strip() in HARD

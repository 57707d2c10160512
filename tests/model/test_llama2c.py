"""llama2.c's stories260K, a real trained Llama, read through our importer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from medloom.ledger import Refusal
from medloom.model import import_llama2c, load_model, load_tokenizer


@pytest.fixture(scope="module")
def folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stories")
    import_llama2c(shared / "models/stories260K/stories260K.bin", shared / "models/stories260K/tok512.bin", out)
    return out


def test_it_tells_its_story(folder: Path) -> None:
    model, tokenizer = load_model(folder), load_tokenizer(folder)
    ids = tokenizer.encode("Once upon a time", bos=True)
    with torch.no_grad():
        for _ in range(40):
            ids.append(int(model.logits(model(torch.tensor([ids]))[:, -1]).argmax()))
    # The greedy story that llama2.c's README prints for this checkpoint begins so.
    assert tokenizer.decode(ids).startswith("Once upon a time, there was a little girl named Lily. She loved to play outside in the park.")


def test_bits_per_byte_are_low_on_its_own_kind_of_text_and_high_on_another(folder: Path) -> None:
    model, tokenizer = load_model(folder), load_tokenizer(folder)

    def bits(text: str) -> float:
        ids = torch.tensor([tokenizer.encode(text, bos=True)])
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(model.logits(model(ids))[0, :-1], ids[0, 1:], reduction="sum")
        return loss.item() / math.log(2) / len(text.encode())

    assert bits("Tom and Sue went to the park with mom. They saw a big dog. The dog was happy and wanted to play with the ball.") < 1
    assert bits("Inhibition of the angiotensin-converting enzyme lowers mortality in patients with left ventricular dysfunction.") > 2


def test_damage_is_refused(shared: Path, tmp_path: Path) -> None:
    stories = shared / "models/stories260K"
    short = tmp_path / "short.bin"
    short.write_bytes((stories / "stories260K.bin").read_bytes()[:-4])
    with pytest.raises(Refusal, match="cut short"):
        import_llama2c(short, stories / "tok512.bin", tmp_path / "out")
    short.write_bytes((stories / "tok512.bin").read_bytes()[:-4])
    with pytest.raises(Refusal, match="cut short"):
        import_llama2c(stories / "stories260K.bin", short, tmp_path / "out")

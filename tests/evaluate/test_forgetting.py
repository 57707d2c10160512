"""Bits per byte."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch

from medloom.evaluate import TorchEngine, bits_per_byte
from medloom.evaluate.forgetting import windows
from medloom.ledger import Refusal, Silent
from medloom.model import load_model, save_model

TEXTS = ["The patient has a fever.", "Grüße, 10 µg of the drug.", "The drug is taken once a day and the fever goes. " * 40]


@pytest.mark.parametrize("length", [1, 2, 99, 100, 101, 149, 150, 151, 1234])
def test_windows_count_every_token_once_with_half_a_context_before_it(length: int) -> None:
    counted: Counter[int] = Counter()
    for begin, end, first in windows(length, 100):
        assert 0 <= begin < end <= length and end - begin <= 100
        assert first - begin >= (50 if begin else 1)
        counted.update(range(first, end))
    assert counted == Counter(range(1, length))


def test_a_model_that_knows_nothing_pays_log2_of_its_vocabulary_a_token(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    save_model(model, tmp_path / "blank", like=folder, dtype="float32")
    parquet.write_table(pa.table({"text": TEXTS}), tmp_path / "valid-medical.parquet")
    with TorchEngine(tmp_path / "blank", "cpu") as engine:
        tokens = sum(len(ids) - 1 for ids in engine.encode(TEXTS))
        found = bits_per_byte(engine, {"medical": tmp_path / "valid-medical.parquet"}, 10_000, Silent())["medical"]
    size = sum(len(text.encode()) for text in TEXTS)
    wanted = tokens * math.log2(330) / size
    assert found == {"bits_per_byte": pytest.approx(wanted, rel=1e-6), "bytes": size, "tokens": tokens, "documents": 3, "cut": 0}


def test_the_batch_does_not_matter_and_the_cut_is_counted(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "valid-general.parquet"
    parquet.write_table(pa.table({"text": TEXTS}), path)
    found = []
    for batch in (1, 3, 16):
        with TorchEngine(folder, "cpu", batch) as engine:
            found.append(bits_per_byte(engine, {"general": path}, 10_000, Silent())["general"]["bits_per_byte"])
            short = bits_per_byte(engine, {"general": path}, 20, Silent())["general"]
            assert short["cut"] == 3 and short["bytes"] == sum(len(text[:20].encode()) for text in TEXTS)
    assert found == pytest.approx([found[0]] * 3, abs=1e-5)


def test_a_file_without_text_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with TorchEngine(folder, "cpu") as engine, pytest.raises(Refusal, match="not a Parquet file"):
        bits_per_byte(engine, {"x": tmp_path / "bad.parquet"}, 1, Silent())

"""Importance matrices: the figures are those of transformers' network, the file is llama.cpp's, and quantisation is better for it."""

from __future__ import annotations

import struct
from collections import defaultdict
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch

from medloom.ledger import Refusal
from medloom.quantise import collect_importance, export_gguf, quantise, read_importance

from ..conftest import held


@pytest.fixture(scope="module")
def collected(stories: Path, texts: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("importance") / "importance.gguf"
    figures = collect_importance(stories, texts, 150, path, dataset="two stories")
    assert figures == {"positions": 150, "chunks": 2, "matrices": 35, "bytes": path.stat().st_size}
    return path


@pytest.fixture(scope="module")
def stories_f32(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "f32.gguf"
    export_gguf(stories, path, "F32")
    return path


def test_the_figures_are_the_mean_squares_in_transformers(stories: Path, collected: Path, texts: list[str]) -> None:
    from transformers import AutoModelForCausalLM

    from medloom.model import load_tokenizer

    peer, tokenizer = AutoModelForCausalLM.from_pretrained(stories, dtype=torch.float32), load_tokenizer(stories)
    squares: dict[str, Any] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    for name, module in peer.named_modules():
        if isinstance(module, torch.nn.Linear) and "layers" in name:
            module.register_forward_pre_hook(lambda _, given, name=name: squares.update(
                {name: squares[name] + given[0].double().flatten(0, -2).square().sum(0)}))
    left = 150
    for text in texts:
        ids = tokenizer.encode(text, bos=True)[:left]
        left -= len(ids)
        with torch.inference_mode():
            peer(torch.tensor([ids]))
    assert left == 0
    parts = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
             "up_proj": "ffn_up", "down_proj": "ffn_down"}
    found = read_importance(collected).columns
    assert len(found) == len(squares) == 35
    for name, total in squares.items():
        _, _, layer, _, part = name.split(".")
        np.testing.assert_allclose(found[f"blk.{layer}.{parts[part]}.weight"], total.numpy() / 150, rtol=2e-4)


def test_the_file_is_laid_out_as_llama_imatrix_does(collected: Path) -> None:
    reader = gguf.GGUFReader(collected)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    assert fields == {"general.type": "imatrix", "imatrix.datasets": ["two stories"], "imatrix.chunk_count": 2, "imatrix.chunk_size": 512}
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert all(tensor.tensor_type.name == "F32" for tensor in tensors.values())
    assert {name.rpartition(".")[2] for name in tensors} == {"in_sum2", "counts"}
    assert tensors["blk.4.ffn_down.weight.in_sum2"].shape.tolist() == [172]
    assert tensors["blk.0.attn_q.weight.counts"].data.tolist() == [150]
    assert [tensor.name for tensor in reader.tensors[:2]] == ["blk.0.attn_k.weight.in_sum2", "blk.0.attn_k.weight.counts"]


def test_the_older_form_is_read_alike(collected: Path, tmp_path: Path) -> None:
    """Its sums are means times calls, and the file ends with the chunks and the dataset."""
    found = read_importance(collected)
    data = struct.pack("<i", len(found.columns))
    for name, values in found.columns.items():
        data += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", 4, len(values)) + (values * 4).tobytes()
    (tmp_path / "old.dat").write_bytes(data + struct.pack("<ii", 2, 11) + b"two stories")
    older = read_importance(tmp_path / "old.dat")
    assert (older.datasets, older.chunks, older.columns.keys()) == (found.datasets, found.chunks, found.columns.keys())
    assert all(np.array_equal(older.columns[name], values) for name, values in found.columns.items())
    (tmp_path / "bare.dat").write_bytes(data)
    assert read_importance(tmp_path / "bare.dat").datasets == []


def test_a_trained_model_drifts_less_with_it(stories: Path, stories_f32: Path, collected: Path, tmp_path: Path, texts: list[str]) -> None:
    """Q4_0 rounds these rows of 64 blindly; weighed by the text that is measured on, it must come nearer."""
    drift = {}
    for given in (None, collected):
        quantise(stories_f32, tmp_path / "q.gguf", "Q4_0", importance=given)
        drift[given] = held(stories, tmp_path / "q.gguf", texts, 150)["kl"]
    assert drift[collected] < drift[None]


def test_what_was_used_stands_in_the_file(stories_f32: Path, collected: Path, tmp_path: Path) -> None:
    figures = quantise(stories_f32, tmp_path / "q.gguf", "Q4_K_M", importance=collected)
    assert figures["weighted"] == 35
    fields = gguf.GGUFReader(tmp_path / "q.gguf").fields
    said = {name.removeprefix("quantize.imatrix."): field.contents() for name, field in fields.items() if "imatrix" in name}
    assert said == {"file": "importance.gguf", "dataset": "two stories", "entries_count": 35, "chunks_count": 2}


def test_long_texts_are_read_in_windows_and_nothing_beyond_the_positions(stories: Path, texts: list[str], tmp_path: Path) -> None:
    figures = collect_importance(stories, ["", " ".join(texts * 8)], 1100, tmp_path / "i.gguf", dataset="stories")
    assert (figures["positions"], figures["chunks"]) == (1100, 3)  # of 512, 512 and 76


def test_what_is_no_importance_matrix_is_refused(stories: Path, stories_f32: Path, collected: Path, tmp_path: Path) -> None:
    def refused(content: bytes, match: str) -> None:
        (tmp_path / "bad").write_bytes(content)
        with pytest.raises(Refusal, match=match):
            read_importance(tmp_path / "bad")

    whole = collected.read_bytes()
    refused(whole[:200], "damaged or cut off")
    refused(whole[:-40], "damaged or cut off")
    refused(b"GIF89a, and so on", "no importance matrix, or cut off")
    refused(b"", "no importance matrix, or cut off")
    refused(struct.pack("<i", 0), "empty")
    refused(struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<iif", 1, 1, float("nan")), "no mean squares")
    refused(struct.pack("<ii", 1, 3) + b"abc" + struct.pack("<iif", 1, -5, 1.0), "no importance matrix, or cut off")
    with pytest.raises(Refusal, match="no importance matrix"):
        read_importance(stories_f32)
    with pytest.raises(Refusal, match="no such file"):
        quantise(stories_f32, tmp_path / "q.gguf", "IQ2_M", importance=tmp_path / "none.gguf")
    with pytest.raises(Refusal, match="no text"):
        collect_importance(stories, ["", ""], 100, tmp_path / "i.gguf", dataset="nothing")
    assert not (tmp_path / "i.gguf").exists()


def test_another_models_matrix_and_a_want_of_one_are_refused(random_model: Path, collected: Path, tmp_path: Path) -> None:
    export_gguf(random_model, tmp_path / "f32.gguf", "F32")
    with pytest.raises(Refusal, match="another model"):
        quantise(tmp_path / "f32.gguf", tmp_path / "q.gguf", "Q4_K_M", importance=collected)
    with pytest.raises(Refusal, match="garbage without an importance matrix; collect one"):
        quantise(tmp_path / "f32.gguf", tmp_path / "q.gguf", "IQ2_M")
    assert not (tmp_path / "q.gguf").exists()

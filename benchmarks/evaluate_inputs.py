"""What both sides of evaluation read: model folders of known shapes with Llama 2's tokenizer, and MedQA's questions with five shots."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from medloom import recipe
from medloom.evaluate import Benchmark, read_benchmark
from medloom.model import ModelConfig

TINY = ModelConfig(vocab_size=32_000, hidden_size=256, intermediate_size=688, layers=4, heads=4, kv_heads=4, max_positions=4096)
SMALL = ModelConfig(vocab_size=32_000, hidden_size=768, intermediate_size=2048, layers=12, heads=12, kv_heads=12, max_positions=4096)
BILLION = ModelConfig(vocab_size=32_000, hidden_size=2048, intermediate_size=5632, layers=22, heads=16, kv_heads=8, max_positions=4096)
SHOTS, SEED = 5, 1


def medqa(data: Path, mode: Any, count: int) -> Benchmark:
    """`count` of MedQA's four-option test questions, with five shots."""
    folder = data / "benchmarks/medqa"
    settings = recipe.Benchmark(name="medqa", kind="medqa", path="", shots=SHOTS, mode=mode, limit=count)
    return read_benchmark(settings, folder / "us_4opt_test.jsonl", folder / "us_4opt_train802.selfbiorag.jsonl")


def give_tokenizer(folder: Path, data: Path) -> None:
    """Put Llama 2's tokenizer into a model folder, opening every text with its beginning token on both sides."""
    for path in folder.glob("tokenizer*"):
        path.unlink()
    shutil.copyfile(data / "tokenizers/llama2/tokenizer.model", folder / "tokenizer.model")
    settings = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True,
                "add_eos_token": False, "legacy": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")

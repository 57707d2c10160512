"""What both sides of export and quantisation read: a model folder of 325 million random weights with a real tokenizer.

    python benchmarks/quantise_inputs.py OUT --tokenizer ../shared/data/tokenizers/llama2 [--dtype bfloat16]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from medloom.ledger.files import write_json
from medloom.model import ModelConfig, carry_tokenizer, weight_shapes

# Llama 2's vocabulary; every row is a multiple of 256, so that no K-quant falls back to another type.
LLAMA_325M = ModelConfig(vocab_size=32_000, hidden_size=1024, intermediate_size=2816, layers=22, heads=16, kv_heads=8, max_positions=2048)


def write_model(folder: Path, tokenizer: Path, *, dtype: str = "bfloat16", seed: int = 1, config: ModelConfig = LLAMA_325M) -> int:
    """Write a network drawn at random, in one safetensors file, with the tokenizer in folder `tokenizer`; return its number of weights.

    Matrices are drawn from N(0, 0.02), as networks are before training; the vectors of norms are ones with as much noise.
    """
    drawn = torch.Generator().manual_seed(seed)
    kept = getattr(torch, dtype)
    weights = {name: (torch.randn(shape, generator=drawn) * 0.02 + (len(shape) == 1)).to(kept)
               for name, shape in weight_shapes(config).items()}
    carry_tokenizer(tokenizer, folder)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    write_json(folder / "config.json", config.to_hugging_face(dtype))
    return sum(weight.numel() for weight in weights.values())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=Path("../shared/data/tokenizers/llama2"))
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    options = parser.parse_args()
    print(f"{write_model(options.out, options.tokenizer, dtype=options.dtype):,} weights in {options.out}")

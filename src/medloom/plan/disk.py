"""Bytes on disk that a recipe's road leaves beside its sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..model.config import ModelConfig
from ..recipe import Recipe, Training
from ..recipe.tables import GGUFType

GB = 1e9
WIDE = 65_536  # tokens from which on one takes four bytes
# Bits a weight of whole files. K-quants as llama.cpp's documentation of its quantiser has them for Llama 2 7B, I-quants as its help
# states them, types without K by their block: 32 weights, and a scale or two in half precision.
BITS: dict[GGUFType, float] = {
    "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K": 6.56, "Q5_K_M": 5.68, "Q5_K_S": 5.52, "Q5_1": 6.0, "Q5_0": 5.5,
    "Q4_K_M": 4.84, "Q4_K_S": 4.58, "Q4_1": 5.0, "Q4_0": 4.5, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "Q3_K_L": 4.27, "Q3_K_M": 3.91, "Q3_K_S": 3.5,
    "IQ3_M": 3.66, "IQ3_S": 3.44, "IQ3_XS": 3.3, "IQ3_XXS": 3.06, "Q2_K": 3.35, "IQ2_M": 2.7, "IQ2_S": 2.5, "IQ2_XS": 2.31, "IQ2_XXS": 2.06}


@dataclass(frozen=True)
class Disk:
    """Gigabytes (1e9 bytes). `checkpoints_gb` is the most that is there at once, the one being written included."""

    tokens_gb: float
    checkpoints_gb: float
    models_gb: float
    gguf_gb: Mapping[str, float]

    @property
    def total_gb(self) -> float:
        """All of it."""
        return self.tokens_gb + self.checkpoints_gb + self.models_gb + sum(self.gguf_gb.values())


def disk(recipe: Recipe, config: ModelConfig, trained: Iterable[tuple[Training, int, int, int]]) -> Disk:
    """What is written. trained: of each stage its settings, tokens, steps and weights that learn.

    Tokens are those of pretraining, read once. A checkpoint is 12 bytes for each weight that learns. K-quants of small networks, whose
    tables weigh more, are larger than said.
    """
    trained = list(trained)
    corpus = sum(tokens / settings.epochs for settings, tokens, _, _ in trained if settings is recipe.pretrain)
    checkpoints = [12 * learned * (settings.keep_last + 1 + (steps // settings.keep_every if settings.keep_every else 0))
                   for settings, _, steps, learned in trained]
    types = recipe.export.types if recipe.export is not None else ()
    return Disk(corpus * (4 if config.vocab_size > WIDE else 2) / GB, max(checkpoints, default=0) / GB,
                2 * config.parameters * len(trained) / GB, {kind: config.parameters * BITS[kind] / 8 / GB for kind in types})

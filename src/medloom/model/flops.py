"""The arithmetic of one token."""

from __future__ import annotations

from .config import ModelConfig


def flops_per_token(config: ModelConfig, length: int) -> float:
    """FLOPs to train on one token in rows of `length`: 6 N + 12 x layers x width x length.

    6 N is forward and backward through all N weights that are multiplied, thus not through a table of input embeddings that is only
    looked up; the rest are the attention scores (Chowdhery et al. 2022, PaLM, arXiv:2204.02311, appendix B), the mask's zero half
    counted, that beyond a sliding window not. What is computed a second time to save memory does not count.
    """
    looked_up = 0 if config.tied else config.vocab_size * config.hidden_size
    width = config.heads * config.head_size
    return 6.0 * (config.parameters - looked_up) + 12.0 * config.layers * width * min(length, config.window or length)

"""What a GGUF file says about its model beside the weights: who made it of what, and the network's shape.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and `medloom.` for what the standard has no name for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from medloom.model.config import ModelConfig
from medloom.model.gguf_head import Value

FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # llama.cpp's numbers for files


@dataclass(frozen=True)
class About:
    """What the file carries of the model's card.

    licence: an SPDX or Hugging Face identifier. base_model: the model that was adapted; in the form `owner/name`, that repository on
    Hugging Face. notice: what a user must know. recipe_digest: SHA-256 of the recipe that made the model.
    """

    name: str
    licence: str | None = None
    base_model: str | None = None
    notice: str | None = None
    recipe_digest: str | None = None

    def pairs(self) -> dict[str, Value]:
        """It as a GGUF file's metadata."""
        given: dict[str, Value | None] = {"general.name": self.name, "general.license": self.licence}
        if self.base_model is not None:
            owner, _, name = self.base_model.rpartition("/")
            known = re.fullmatch(r"[\w.-]+/[\w.-]+", self.base_model)
            given |= {"general.base_model.count": 1, "general.base_model.0.name": name, "general.base_model.0.organization": owner,
                      "general.base_model.0.repo_url": f"https://huggingface.co/{self.base_model}" if known else None}
        given |= {"general.description": self.notice, "medloom.notice": self.notice, "medloom.recipe_digest": self.recipe_digest}
        return {key: value for key, value in given.items() if value not in (None, "")}


def shape_pairs(config: ModelConfig, type: str) -> dict[str, Value]:
    """The network's shape, and the type of its matrices, as a GGUF file's metadata."""
    import gguf

    scaling = config.rope_scaling or {}
    linear: dict[str, Value] = {"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": float(scaling.get("factor", 1))}
    return {
        "general.type": "model",
        "general.size_label": gguf.size_label(config.parameters, 0, 0, 0),
        "llama.block_count": config.layers,
        "llama.context_length": config.max_positions,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.heads,
        "llama.attention.head_count_kv": config.kv_heads,
        "llama.rope.freq_base": float(config.rope_theta),
        **(linear if scaling.keys() == {"factor"} else {}),
        "llama.attention.layer_norm_rms_epsilon": config.norm_eps,
        "llama.attention.key_length": config.head_size,
        "llama.attention.value_length": config.head_size,
        "general.file_type": FILE_TYPES[type],
        "llama.vocab_size": config.vocab_size,
        "llama.rope.dimension_count": config.head_size,
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
    }

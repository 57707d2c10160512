"""What a GGUF file says about its model beside the weights: who made it of what, and the network's shape.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, and `medloom.` for what the standard has no name for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from medloom.model.config import ModelConfig

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

    def write(self, writer: Any) -> None:
        """Put it among a GGUFWriter's keys."""
        writer.add_name(self.name)
        if self.licence is not None:
            writer.add_license(self.licence)
        if self.base_model is not None:
            owner, slash, name = self.base_model.rpartition("/")
            writer.add_base_model_count(1)
            writer.add_base_model_name(0, name)
            if slash:
                writer.add_base_model_organization(0, owner)
            if re.fullmatch(r"[\w.-]+/[\w.-]+", self.base_model):
                writer.add_base_model_repo_url(0, f"https://huggingface.co/{self.base_model}")
        if self.notice is not None:
            writer.add_description(self.notice)
            writer.add_string("medloom.notice", self.notice)
        if self.recipe_digest is not None:
            writer.add_string("medloom.recipe_digest", self.recipe_digest)


def write_shape(writer: Any, config: ModelConfig, type: str) -> None:
    """Put the network's shape, and the type of its matrices, among a GGUFWriter's keys."""
    import gguf

    writer.add_type("model")
    writer.add_size_label(gguf.size_label(config.parameters, 0, 0, 0))
    writer.add_block_count(config.layers)
    writer.add_context_length(config.max_positions)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_theta)
    if config.rope_scaling is not None and config.rope_scaling.keys() == {"factor"}:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope_scaling["factor"])
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_key_length(config.head_size)
    writer.add_value_length(config.head_size)
    writer.add_file_type(FILE_TYPES[type])
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_size)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)

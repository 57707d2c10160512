"""What can be known to fail before any process is started: a layout or settings that a network does not fit."""

from __future__ import annotations

from ..ledger import Refusal
from ..model import ModelConfig
from ..recipe import Layout, Training

ROWS = 64  # the tables are padded to a multiple of this, whatever the layout, so that a run goes on in any other


def check_fit(config: ModelConfig, settings: Training, layout: Layout) -> None:
    """Refuse what does not fit, with what would. config: the network as its folder has it."""
    tensor, stages, micro = layout.tensor, layout.pipeline * layout.stages, settings.batch // settings.micro_batch
    if settings.length > config.max_positions:
        raise Refusal(f"length = {settings.length} is more than the {config.max_positions} positions of the model; "
                      f"set it to {config.max_positions} or less")
    for name, size in (("attention heads", config.heads), ("key-value heads", config.kv_heads),
                       ("features of the feed-forward", config.intermediate_size), ("tokens of a row (length)", settings.length),
                       ("rows that the embedding is padded to a multiple of", ROWS)):
        if size % tensor:
            raise Refusal(f"layout.tensor = {tensor} does not divide the {size} {name}; take a divisor")
    if stages > config.layers:
        raise Refusal(f"layout.pipeline x stages = {stages} is more than the {config.layers} layers; take {config.layers} or less")
    if stages > 1 and config.tied:
        raise Refusal("layout.pipeline: the network's head is its embedding, which cannot stand in two stages; take pipeline = 1")
    if settings.micro_batch % layout.data:
        raise Refusal(f"micro_batch = {settings.micro_batch} is not a multiple of layout.data = {layout.data}; it counts the rows "
                      "of all data-parallel ranks")
    if stages > 1 and micro < stages:
        raise Refusal(f"batch / micro_batch = {micro} micro-batches do not fill a pipeline of {stages} stages; "
                      f"set micro_batch to {settings.batch // stages} or less")

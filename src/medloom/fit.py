"""What can be known to fail before any process is started: a layout or settings that a network does not fit."""

from __future__ import annotations

from collections.abc import Iterator

from .ledger import Refusal
from .model.config import ModelConfig
from .recipe import Layout, Training

ROWS = 64  # the tables are padded to a multiple of this, whatever the layout, so that a run goes on in any other


def check_fit(config: ModelConfig, settings: Training, layout: Layout) -> None:
    """Refuse what does not fit, with what would. config: the network as its folder has it."""
    for fault in misfits(config, settings, layout):
        raise Refusal(fault)


def misfits(config: ModelConfig, settings: Training, layout: Layout) -> Iterator[str]:
    """All that does not fit, a sentence each with its cure."""
    tensor, stages, micro = layout.tensor, layout.pipeline * layout.stages, settings.batch // settings.micro_batch
    if settings.length > config.max_positions:
        yield (f"length = {settings.length} is more than the {config.max_positions} positions of the model; "
               f"set it to {config.max_positions} or less")
    for name, size in (("attention heads", config.heads), ("key-value heads", config.kv_heads),
                       ("features of the feed-forward", config.intermediate_size), ("tokens of a row (length)", settings.length),
                       ("rows that the embedding is padded to a multiple of", ROWS)):
        if size % tensor:
            yield f"layout.tensor = {tensor} does not divide the {size} {name}; take a divisor"
    if stages > config.layers:
        yield f"layout.pipeline x stages = {stages} is more than the {config.layers} layers; take {config.layers} or less"
    if stages > 1 and config.tied:
        yield "layout.pipeline: the network's head is its embedding, which cannot stand in two stages; take pipeline = 1"
    if settings.micro_batch % layout.data:
        yield (f"micro_batch = {settings.micro_batch} is not a multiple of layout.data = {layout.data}; it counts the rows "
               "of all data-parallel ranks")
    if stages > 1 and micro < stages:
        yield (f"batch / micro_batch = {micro} micro-batches do not fill a pipeline of {stages} stages; "
               f"set micro_batch to {settings.batch // stages} or less")

"""A network that is run without being held: one layer at a time is loaded, read through, and let go."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .config import ModelConfig
from .llama import Llama, Part


def run_by_layer(config: ModelConfig, load: Callable[[Part], Llama], tokens: Tensor, *, positions: Tensor | None = None,
                 segments: Tensor | None = None) -> tuple[Tensor, Llama]:
    """The hidden states behind the last norm, [batch, length, hidden_size], and the last part, which has the head that scores them.

    load: a part of the network with its weights. tokens, positions, segments: as `Llama.forward` takes them.
    """
    hidden: Tensor = load(Part(0, 0, scores=False))(tokens, positions=positions, segments=segments)
    for layer in range(config.layers):
        hidden = load(Part(layer, layer + 1, embeds=False, scores=False))(hidden, positions=positions, segments=segments)
    last = load(Part(config.layers, config.layers, embeds=config.tied))
    assert last.model.norm is not None
    return last.model.norm(hidden), last

"""The engine for a model, whatever form it comes in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .engine import Engine

if TYPE_CHECKING:
    from ... import recipe


def open_engine(place: Path | None, settings: recipe.Evaluation, *, other: recipe.OtherModel | None = None,
                tokenizer: Path | None = None) -> Engine:
    """A GGUF file through llama.cpp, a model folder through our own network; without a place, the server that `other` names."""
    if place is None:
        from .server_engine import ServerEngine

        assert other is not None and other.url is not None
        return ServerEngine(other.url, other.model, tokenizer=tokenizer, batch=settings.batch)
    if place.suffix == ".gguf":
        from .gguf_engine import GGUFEngine

        return GGUFEngine(place, tokenizer=tokenizer, batch=settings.batch)
    from .torch_engine import TorchEngine

    return TorchEngine(place, settings.device, settings.batch)

"""A model without a gateway: opened, asked how likely each answer is, ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from medloom.ledger import Refusal

from .engines import Broken, Busy, Refused, Starting, Unable
from .models import Model
from .offers import Offer, Settings, open_models, start


@contextmanager
def opened(offer: Offer, settings: Settings) -> Iterator[Model]:
    """The model, ready. Raises Refusal where it cannot be opened or started."""
    (model,) = open_models([offer], settings)
    try:
        start(model)
        yield model
    finally:
        model.engine.stop()


async def ask(model: Model, question: str, labels: Sequence[str]) -> dict[str, float] | None:
    """The probability of each label as the answer, None where the question is one that the model cannot take.

    Raises Refusal where the engine fails.
    """
    try:
        return await model.chances([{"role": "user", "content": question}], labels)
    except (Refused, ValueError):
        return None
    except Unable as unable:
        raise Refusal(f"{model.name}: {unable}") from None
    except (Broken, Busy, Starting) as failure:
        raise Refusal(f"{model.name}: the engine does not answer ({failure or type(failure).__name__}); try again") from None

"""What is known before step 1: that the network, loaded into its layout, is the one in the folder it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..ledger import Refusal
from ..model import Llama, ModelConfig, Part, run_by_layer
from .engine import Engine
from .learner import Learner
from .loader import Loaded

Fill = Callable[[Llama], None]
CLOSE = {torch.float32: 1e-3, torch.bfloat16: 3e-2}  # nats a token


def check_start(engine: Engine, batch: Loaded, folder: Path, fill: Fill) -> tuple[float, float]:
    """The loss of the first row of a batch, in nats a token: as the engine has it, and as the folder's weights give it, layer by layer.

    `fill` reads the folder's weights into a network or a part of one. Every rank calls it with its share of the same batch. Raises
    Refusal where the two differ: then weights were lost or misplaced on the way into the layout.
    """
    ranks = engine.ranks
    one = torch.zeros_like(batch.counted)
    if ranks.data == 0:
        one[0] = batch.counted[0]
    rows = len(batch.counted) if ranks.layout.pipeline > 1 else 1
    few: dict[str, Any] = {name: tensor[:rows] for name, tensor in (vars(batch) | {"counted": one}).items()
                           if isinstance(tensor, torch.Tensor)}
    first = replace(batch, **few)
    loss, counted = engine.measure(first)
    if not counted:
        return 0.0, 0.0
    whole = folder_loss(engine.config, first, fill, engine.vocabulary, ranks.device) if ranks.first else 0.0
    loss, whole = loss / counted, ranks.share(whole) / counted
    if not abs(loss - whole) <= CLOSE[engine.precision]:
        raise Refusal(f"{folder}: the network in its layout begins at a loss of {loss:.4f} on the first row, and the weights of the folder "
                      f"give {whole:.4f} there; do not train on: this is a fault of medloom or of this build of torch")
    return loss, whole


@torch.no_grad()
def folder_loss(config: ModelConfig, batch: Loaded, fill: Fill, vocabulary: int, device: torch.device) -> float:
    """The summed loss of the first row of a batch by weights that are read one layer at a time, in float32."""
    def load(part: Part) -> Llama:
        with torch.device("meta"):
            network = Llama(config, part)
        network = network.to_empty(device=device)
        fill(network)
        return network.eval()

    row = batch.on(device, slice(1))
    hidden, last = run_by_layer(config, load, row["inputs"], positions=row["positions"], segments=row.get("segments"))
    return float(Learner(last, vocabulary=vocabulary).loss(hidden, row["targets"], row["counted"]))

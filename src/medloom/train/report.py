"""What a run leaves beside the weights: metrics.jsonl and loss.png, the same bytes for the same run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ..ledger.files import atomic, write_text


def write_metrics(metrics: Sequence[dict[str, float]], out: Path) -> None:
    """metrics.jsonl: one step a line, in order."""
    write_text(out / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in metrics))


def draw_loss(metrics: Sequence[dict[str, float]], out: Path, title: str) -> None:
    """loss.png: the loss of each step over the tokens read, and its running mean over a fortieth of the run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    losses = [row["loss"] for row in metrics]
    read, total = [], 0.0
    for row in metrics:
        total += row["tokens"]
        read.append(total)
    width = max(1, len(losses) // 40)
    means = [sum(losses[max(0, i - width + 1) : i + 1]) / (i + 1 - max(0, i - width + 1)) for i in range(len(losses))]
    figure = Figure(figsize=(7, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(read, losses, color="#9ab8cf", linewidth=0.8, label="each step")
    axes.plot(read, means, color="#12496b", linewidth=1.8, label=f"mean of {width} steps")
    axes.set(xlabel="tokens read", ylabel="loss, nats per learned token", title=title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic(out / "loss.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})

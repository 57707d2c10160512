"""Size against loss: what each file saves, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.ledger.files import atomic

from .judge import Margins

_COLOURS = {"passes": "#1b7f5c", "not shown": "#b8860b", "fails": "#b03a2e"}
_MARKERS = {"passes": "o", "not shown": "s", "fails": "X"}  # told apart without colours, too


def draw_losses(rows: Sequence[Mapping[str, Any]], margins: Margins, path: Path) -> None:
    """Write a PNG: KL divergence and change of accuracy over megabytes, with 95 % intervals and margins; the same rows, the same bytes.

    rows: as the gate's figures have them, those without a KL divergence left out.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    asked = [row for row in rows if row["pooled"] is not None]
    figure = Figure(figsize=(7.0, 6.4 if asked else 3.6), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 if asked else 1, sharex=True, squeeze=False)[:, 0]
    near, right = axes[0], axes[-1]
    measured = [row for row in rows if row["kl"] is not None and row["kl"] > 0]
    for row in measured:
        low, high = (row["kl"] if row[key] is None else row[key] for key in ("kl_low", "kl_high"))
        # On a scale of powers an interval that reaches nothing has no lower end; it is drawn a decade down.
        _point(near, row, row["kl"], max(low, row["kl"] / 10), high)
    near.set_yscale("log")
    near.axhline(margins.kl, color="#444444", linestyle="dashed", linewidth=1)
    near.set_ylabel("KL divergence, nats a token")
    near.annotate("margin", (1, margins.kl), xycoords=("axes fraction", "data"), xytext=(-4, 3), textcoords="offset points",
                  ha="right", fontsize=8, color="#444444")
    if asked:
        for row in asked:
            pooled = row["pooled"]
            _point(right, row, *(100 * pooled[key] for key in ("difference", "low", "high")))
        right.axhline(0, color="#999999", linewidth=0.8)
        right.axhline(-100 * margins.accuracy, color="#444444", linestyle="dashed", linewidth=1)
        right.set_ylabel(f"change of accuracy, points\n({asked[0]['pooled']['n']:,} questions)")
    right.set_xlabel("size, megabytes")
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.margins(x=0.12, y=0.15)
    seen = [verdict for verdict in _COLOURS if any(row["verdict"] == verdict for row in rows)]
    marks = [near.plot([], [], _MARKERS[verdict], color=_COLOURS[verdict], label=verdict)[0] for verdict in seen]
    near.legend(handles=marks, frameon=False, fontsize=8)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _point(axes: Any, row: Mapping[str, Any], value: float, low: float, high: float) -> None:
    verdict, size = row["verdict"], row["bytes"] / 1e6
    axes.errorbar([size], [value], yerr=[[value - low], [high - value]], fmt=_MARKERS[verdict], color=_COLOURS[verdict], capsize=3)
    axes.annotate(row["type"], (size, value), xytext=(6, 5), textcoords="offset points", fontsize=8)

"""Size against loss: what each file saves, and what it costs, a row for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloom.ledger.files import atomic

from .judge import Margins

_COLOURS = {"passes": "#1b7f5c", "not shown": "#b8860b", "fails": "#b03a2e"}
_MARKERS = {"passes": "o", "not shown": "s", "fails": "X"}  # told apart without colours, too


def draw_losses(rows: Sequence[Mapping[str, Any]], margins: Margins, path: Path) -> None:
    """Write a PNG: size, KL divergence and change of accuracy of each file, the largest above, with 95 % intervals and the margins.

    rows: as the gate's figures have them. The same rows give the same bytes.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = sorted(rows, key=lambda row: row["bytes"])
    asked = [row["pooled"] for row in rows if row["pooled"] is not None]
    figure = Figure(figsize=(9.0, 1.5 + 0.3 * len(rows)), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    size, near, *right = figure.subplots(1, 3 if asked else 2, sharey=True, width_ratios=(0.7, 1, 1) if asked else (0.7, 1))
    for place, row in enumerate(rows):
        size.barh(place, row["bytes"] / 1e6, height=0.55, color=_COLOURS[row["verdict"]], alpha=0.35)
        size.annotate(f"{row['bytes'] / 1e6:,.2f}" if row["bytes"] < 1e8 else f"{row['bytes'] / 1e6:,.0f}", (0, place), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)
        if row["kl"] is not None and row["kl"] > 0:
            low, high = (row["kl"] if row[key] is None else row[key] for key in ("kl_low", "kl_high"))
            # On a scale of powers an interval that reaches nothing has no lower end; it is drawn a decade down.
            _point(near, row, place, row["kl"], max(low, row["kl"] / 10), high)
        if row["pooled"] is not None:
            _point(right[0], row, place, *(100 * row["pooled"][key] for key in ("difference", "low", "high")))
    size.set_yticks(range(len(rows)), [row["type"] for row in rows])
    size.set_xlabel("megabytes", fontsize=9)
    near.set_xscale("log")
    near.axvline(margins.kl, color="#444444", linestyle="dashed", linewidth=1)
    near.set_xlabel("KL divergence, nats a token (dashed: margin)", fontsize=9)
    for axes in right:
        axes.axvline(0, color="#999999", linewidth=0.8)
        axes.axvline(-100 * margins.accuracy, color="#444444", linestyle="dashed", linewidth=1)
        axes.set_xlabel(f"change of accuracy, points ({asked[0]['n']:,} questions)", fontsize=9)
    for axes in (size, near, *right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    seen = [verdict for verdict in _COLOURS if any(row["verdict"] == verdict for row in rows)]
    marks = [near.plot([], [], _MARKERS[verdict], color=_COLOURS[verdict], label=verdict)[0] for verdict in seen]
    figure.legend(handles=marks, frameon=False, fontsize=8, ncols=3, loc="outside upper right")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _point(axes: Any, row: Mapping[str, Any], place: int, value: float, low: float, high: float) -> None:
    verdict = row["verdict"]
    axes.errorbar([value], [place], xerr=[[value - low], [high - value]], fmt=_MARKERS[verdict], color=_COLOURS[verdict], capsize=3,
                  markersize=5)

"""What a run leaves beside the weights: metrics.jsonl and curves.png, the same bytes for the same run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..ledger.files import atomic, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PALE, DARK, GREY = "#a9c3d6", "#12496b", "#8a8f94"
DOMAINS = ("#c2571a", "#3f7d3a", "#7b4a9e", "#b0892b", "#a33a5b", "#2f8a8a")  # by turns, beside the blue of what is trained on


def write_metrics(metrics: Sequence[Mapping[str, Any]], out: Path) -> None:
    """metrics.jsonl: one step a line, in order."""
    write_text(out / "metrics.jsonl", "".join(json.dumps(row, allow_nan=False) + "\n" for row in metrics))


def draw_curves(metrics: Sequence[Mapping[str, Any]], out: Path, title: str) -> None:
    """curves.png: the loss over the tokens read, held-out loss by domain with it, and below them the gradient's norm and the rate.

    Of each row `loss` and `grad_norm` may be None (a step that was passed over); `heldout`, where it has been measured, is nats by domain.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    read = list(accumulate(float(row["tokens"]) for row in metrics))
    figure = Figure(figsize=(8, 6.4), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    loss, norm, rate = figure.subplots(3, 1, sharex=True, gridspec_kw={"height_ratios": (4, 1.3, 1.0)})
    _draw_loss(loss, metrics, read)
    loss.set_title(title, loc="left", fontsize=12, fontweight="bold")
    norms = [_number(row["grad_norm"]) for row in metrics]
    norm.plot(read, norms, color=PALE, linewidth=0.7)
    norm.plot(read, _running_mean(norms), color=DARK, linewidth=1.4)
    if _spans(norms):
        norm.set_yscale("log")
        norm.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        norm.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        norm.yaxis.set_minor_formatter(NullFormatter())
    norm.set_ylabel("gradient norm")
    rate.plot(read, [row["rate"] for row in metrics], color=DARK, linewidth=1.4)
    rate.set_ylim(bottom=0)
    rate.set(ylabel="rate", xlabel="tokens read")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0), useMathText=True)
    rate.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tokens(value)))
    for axes in (loss, norm, rate):
        axes.grid(alpha=0.22, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8.5)
        axes.margins(x=0.01)
    figure.align_ylabels()
    with atomic(out / "curves.png") as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_loss(axes: Axes, metrics: Sequence[Mapping[str, Any]], read: Sequence[float]) -> None:
    losses = [_number(row["loss"]) for row in metrics]
    means = _running_mean(losses)
    axes.plot(read, losses, color=PALE, linewidth=0.7)
    ends = [(means[-1], f"trained on {means[-1]:.3f}", DARK)]
    axes.plot(read, means, color=DARK, linewidth=1.8)
    passed_over = [place for place, row in zip(read, metrics, strict=True) if row.get("skipped")]
    if passed_over:
        axes.plot(passed_over, [0.02] * len(passed_over), "|", color=GREY, markersize=7, transform=axes.get_xaxis_transform(),
                  label="batch passed over")
    for number, domain in enumerate(sorted({domain for row in metrics for domain in row.get("heldout") or ()})):
        points = [(place, row["heldout"][domain]) for place, row in zip(read, metrics, strict=True) if domain in (row.get("heldout") or ())]
        colour = DOMAINS[number % len(DOMAINS)]
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.5, marker="o", markersize=3.5 if len(points) < 60 else 0)
        ends.append((points[-1][1], f"held out: {domain} {points[-1][1]:.3f}", colour))
    axes.set_ylabel("loss, nats per token")
    # The first steps of a new network, and a spike, would press all that follows together.
    settled = sorted(value for value in losses[len(losses) // 50 :] if value == value)
    if settled:
        low = min(settled[0], *(end for end, _, _ in ends))
        high = max(settled[ceil(0.995 * (len(settled) - 1))], *(end for end, _, _ in ends))
        room = 0.06 * (high - low) or 0.1
        axes.set_ylim(low - room, high + room)
    _label_ends(axes, read[-1], ends)
    if passed_over:
        axes.legend(frameon=False, fontsize=8.5, loc="upper right")


def _label_ends(axes: Axes, place: float, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name each curve where it ends, at its right, the names moved apart where they would lie on each other."""
    low, high = axes.get_ylim()
    apart, below = 0.055 * (high - low), -float("inf")
    for end, name, colour in sorted(ends):
        below = max(end, below + apart)
        axes.annotate(name, (place, end), xytext=(1.015, below), textcoords=("axes fraction", "data"), color=colour, fontsize=8.5,
                      va="center", annotation_clip=False)


def _running_mean(values: Sequence[float]) -> list[float]:
    """Of each value and those before it, over a fortieth of all; what is not a number does not count."""
    width = max(1, len(values) // 40)
    counts = [0, *accumulate(value == value for value in values)]
    sums = [0.0, *accumulate(value if value == value else 0.0 for value in values)]
    firsts = [max(0, last - width) for last in range(1, len(values) + 1)]
    return [(sums[last] - sums[first]) / (counts[last] - counts[first]) if counts[last] > counts[first] else float("nan")
            for last, first in enumerate(firsts, 1)]


def _tokens(count: float) -> str:
    """A number of tokens as people write it: 300B, 1.2M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:g}{letter}"
    return f"{count:g}"


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _spans(values: Sequence[float]) -> bool:
    """Whether positive values reach over more than a power of ten."""
    known = sorted(value for value in values if value > 0)
    return bool(known) and len(known) == sum(value == value for value in values) and known[-1] > 10 * known[0]

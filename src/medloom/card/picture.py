"""One picture: accuracy of every model on every benchmark, with its interval and the line of chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..ledger.files import atomic
from ..numbers import wilson
from .results import interval

COLOURS = ("#7f8c9b", "#2f6f9f", "#1b9e77", "#b8860b", "#8e5ea2")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write a PNG with a group of points for each benchmark. The same rows give the same bytes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    models = list(dict.fromkeys([row["base"] for row in rows] + [row["model"] for row in rows]))
    figure = Figure(figsize=(max(5.0, 2.2 * len(benchmarks) + 1.5), 4.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    width = 0.7 / len(models)
    for colour, model in enumerate(models):
        points = []
        for place, benchmark in enumerate(benchmarks):
            found = _score([row for row in rows if row["benchmark"] == benchmark], model)
            if found is not None:
                points.append((place + (colour - (len(models) - 1) / 2) * width, *found))
        if points:
            x, accuracy, low, high = (list(column) for column in zip(*points, strict=True))
            below = [max(0.0, 100 * (a - b)) for a, b in zip(accuracy, low, strict=True)]
            above = [max(0.0, 100 * (b - a)) for a, b in zip(accuracy, high, strict=True)]
            axes.errorbar(x, [100 * a for a in accuracy], yerr=[below, above], fmt="o", capsize=4, label=model,
                          color=COLOURS[colour % len(COLOURS)])
    labelled = False
    for place, benchmark in enumerate(benchmarks):
        chance = next((row["chance"] for row in rows if row["benchmark"] == benchmark and row.get("chance") is not None), None)
        if chance is not None:
            label = "" if labelled else "chance"
            axes.hlines(100 * chance, place - 0.45, place + 0.45, colors="#444444", linestyles="dashed", linewidth=1, label=label)
            labelled = True
    sizes = {benchmark: next(row["n"] for row in rows if row["benchmark"] == benchmark) for benchmark in benchmarks}
    axes.set_xticks(range(len(benchmarks)), [f"{benchmark}\nn = {sizes[benchmark]:,}" for benchmark in benchmarks])
    axes.set_xlim(-0.6, len(benchmarks) - 0.4)
    axes.set_ylim(0, 103)
    axes.set_ylabel("correct, % (95 % interval)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _score(rows: list[dict[str, Any]], model: str) -> tuple[float, float, float] | None:
    for row in rows:
        if row["model"] == model:
            return row["accuracy"], *interval(row)
    for row in rows:
        if row["base"] == model:
            return row["base_accuracy"], *wilson(row["base_accuracy"] * row["n"], row["n"])
    return None

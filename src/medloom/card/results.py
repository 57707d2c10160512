"""The card's sections on what was measured: benchmarks, what was forgotten, what quantisation cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..numbers import wilson
from .trail import Trail, part
from .words import against_base, against_chance


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table and the blank line after it."""
    lines = [f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows), ""]


def comparisons(trail: Trail) -> list[tuple[str, dict[str, Any]]]:
    """Every comparison of the summary with the key it is found at, in the step that made it where that step is recorded."""
    made = trail.find("compare:figures/rows") or []
    places = {(row.get("benchmark"), row.get("model"), row.get("base")): f"compare:figures/rows/{number}"
              for number, row in enumerate(made)}
    found = []
    for number, row in enumerate(trail.summary.get("comparisons") or ()):
        place = places.get((row["benchmark"], row["model"], row["base"]), f"summary:comparisons/{number}")
        found.append((place, row))
    return found


def interval(row: dict[str, Any]) -> tuple[float, float]:
    """The accuracy's Wilson interval: as recorded, or worked out from accuracy and n."""
    if row.get("wilson_low") is not None and row.get("wilson_high") is not None:
        return row["wilson_low"], row["wilson_high"]
    return wilson(row["accuracy"] * row["n"], row["n"])


def evaluation(trail: Trail) -> list[str]:
    """Accuracy of every model on every benchmark, its interval, the paired difference to the base, and each in words."""
    found = comparisons(trail)
    if not found:
        return ["No benchmark was asked of more than one model, so nothing is compared here.", ""]
    header = ["Benchmark", "Model", "n", "Chance %", "Majority %", "Correct %", "95 % interval", "Unparsed", "Difference to base, points",
              "95 % interval of the difference", "p", "p (Holm)", "Key"]
    rows, said, told = [], [], set()
    for place, row in found:
        if (row["benchmark"], row["base"]) not in told:
            told.add((row["benchmark"], row["base"]))
            rows.append(_base_row(trail, place, row))
        rows.append(_model_row(trail, place, row))
        low, high = interval(row)
        guessing = against_chance(row["accuracy"], low, high, row.get("chance"), row.get("majority"))
        said.append(f"- **{row['model']} on {row['benchmark']}**: {guessing}; {against_base(row)}.")
    modes = sorted({f"{row['benchmark']} {row['mode']}" for _, row in found if row.get("mode")})
    note = ("Intervals are Wilson's at 95 %. Differences are paired, on the same questions; p is of the paired test, and Holm's method "
            "corrects it for all comparisons of the run. "
            + (f"How answers were asked for: {', '.join(modes)}." if modes else ""))
    return [*table(header, rows), note.rstrip(), "", "In words:", "", *said, ""]


def _model_row(trail: Trail, place: str, row: dict[str, Any]) -> list[str]:
    mark = trail.new_mark()
    name = f"{row['model']} on {row['benchmark']}"

    def cite(field: str, style: str = "percent") -> str:
        return trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)

    if row.get("wilson_low") is not None:
        spread = f"{cite('wilson_low')} to {cite('wilson_high')}"
    else:
        spread = _spread(trail, name, mark, f"{place}/accuracy", f"{place}/n", row["accuracy"], row["n"])
    difference = f"{cite('low', 'points')} to {cite('high', 'points')}" if row.get("low") is not None else "-"
    return [row["benchmark"], row["model"], cite("n", "plain"), cite("chance"), cite("majority"), cite("accuracy"), spread,
            cite("unparsed", "plain" if isinstance(row.get("unparsed"), int) else "percent"), cite("difference", "points"), difference,
            cite("p_value", "p"), cite("holm_p", "p"), f"[^{mark}]"]


def _base_row(trail: Trail, place: str, row: dict[str, Any]) -> list[str]:
    mark, name = trail.new_mark(), f"{row['base']} on {row['benchmark']}"

    def cite(field: str, style: str = "percent") -> str:
        return trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)

    spread = _spread(trail, name, mark, f"{place}/base_accuracy", f"{place}/n", row["base_accuracy"], row["n"])
    return [row["benchmark"], row["base"], cite("n", "plain"), cite("chance"), cite("majority"), cite("base_accuracy"), spread,
            "-", "-", "-", "-", "-", f"[^{mark}]"]


def _spread(trail: Trail, name: str, mark: int, share_key: str, n_key: str, share: float, n: int) -> str:
    low, high = wilson(share * n, n)
    rule = f"({share_key}, {n_key})"
    return (f"{trail.cite(f'{name}: wilson low', f'wilson_low{rule}', 'percent', mark, low)} to "
            f"{trail.cite(f'{name}: wilson high', f'wilson_high{rule}', 'percent', mark, high)}")


def forgetting(trail: Trail) -> list[str]:
    """Bits per byte on held-out text, by domain and model."""
    lines = trail.summary.get("forgetting") or []
    if not lines:
        return ["Not measured.", ""]
    models: list[str] = []
    for line in lines:
        models += [model for model in line.get("stages") or ("before", "after") if model not in models]
    rows = []
    for number, line in enumerate(lines):
        mark, domain = trail.new_mark(), line["domain"]
        cells = []
        for model in models:
            key = f"heldout-{model}:figures/{part(domain)}/bits_per_byte"
            if trail.find(key) is None:
                way = f"stages/{part(model)}" if line.get("stages") else model
                key = f"summary:forgetting/{number}/{way}"
            cells.append(trail.cite(f"{model}, {domain}: bits per byte", key, "fixed", mark))
        before, after = f"summary:forgetting/{number}/before", f"summary:forgetting/{number}/after"
        change = trail.cite(f"{domain}: change of bits per byte", f"difference({after}, {before})", "fixed", mark,
                            line["after"] - line["before"])
        rows.append([domain, *cells, change, f"[^{mark}]"])
    said = []
    for line in lines:
        change = line["after"] - line["before"]
        verdict = "rose: text of this domain is predicted worse than before" if change > 0 else "did not rise"
        documents = f", over {line['documents']} documents" if line.get("documents") is not None else ""
        said.append(f"- **{line['domain']}**: bits per byte {verdict}{documents}.")
    note = "Bits per byte on held-out documents; lower is better. No interval is given, so small changes mean little."
    return [*table(["Domain", *models, "Change, last less first", "Key"], rows), note, "", *said, ""]


def quantisation(trail: Trail) -> list[str]:
    """Each quantised file with its own numbers: size, distance from the exact model, answers, and whether it may ship."""
    files = trail.find("gate:figures/files") or []
    if not files:
        return ["No quantised file was held against the model.", ""]
    rows, each = [], []
    for number, file in enumerate(files):
        mark, kind, here = trail.new_mark(), file["type"], f"gate:figures/files/{number}"
        cells = [trail.cite(f"{kind}: {key.replace('_', ' ').replace('/', ', ')}", f"{here}/{key}", style, mark) for key, style in _OF_FILE]
        rows.append([kind, file["verdict"], *cells, f"[^{mark}]"])
        each += [_quantised_row(trail, f"{here}/benchmarks/{place}", kind, own) for place, own in enumerate(file["benchmarks"])]
    header = ["File type", "May ship", "Size, MB", "KL divergence", "Its upper bound", "Its 99th percentile", "Same likeliest token %",
              "Bits per byte", "The model's", "Correct, all benchmarks %", "Difference, points", "Lower bound", "Key"]
    smallest = trail.find("gate:figures/smallest")
    points, nats = 100 * trail.find("gate:figures/margins/accuracy"), trail.find("gate:figures/margins/kl")
    note = ("Each row is measured on that file itself, against the model before quantisation: nats a token and likeliest tokens on "
            "held-out text, answers on all questions. "
            f"A file passes where the 95 % intervals rule out a loss of more than {points:g} points of "
            f"accuracy, and of {nats:g} nats. Smallest that passes: {smallest or 'none'}.")
    lines = [*table(header, rows), note, "", f"![Size of each file against what it loses]({PICTURE})", ""]
    if each:
        lines += table(["File type", "Benchmark", "n", "Correct %", "Difference to the model, points", "Won back", "Lost", "p",
                        "Calibration error", "Key"], each)
    return lines


PICTURE = "quantisation.png"
_OF_FILE = (("bytes", "megabytes"), ("kl", "plain"), ("kl_high", "plain"), ("kl_99", "plain"), ("argmax_agreement", "percent"),
            ("bits_per_byte", "fixed"), ("base_bits_per_byte", "fixed"), ("pooled/accuracy", "percent"), ("pooled/difference", "points"),
            ("pooled/low", "points"))


def _quantised_row(trail: Trail, place: str, kind: str, own: dict[str, Any]) -> list[str]:
    mark, name = trail.new_mark(), f"{kind} on {own['benchmark']}"
    cells = [trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)
             for field, style in (("n", "plain"), ("accuracy", "percent"), ("difference", "points"), ("gained", "plain"), ("lost", "plain"),
                                  ("p_value", "p"), ("ece", "fixed"))]
    return [kind, own["benchmark"], *cells, f"[^{mark}]"]

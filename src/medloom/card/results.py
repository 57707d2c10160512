"""The card's sections on what was measured: benchmarks, what was forgotten, what quantisation cost."""

from __future__ import annotations

from typing import Any

from ..numbers import wilson
from .prose import Section, said, table
from .trail import Trail, part
from .words import against_base, against_chance

ACCURACY, QUANTISATION = "accuracy.png", "quantisation.png"


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


def final(trail: Trail) -> str | None:
    """The last model of the road that was compared, which is no other's; None where nothing was compared."""
    others = {model["name"] for model in (trail.recipe.get("evaluate") or {}).get("models") or ()}
    own = [row["model"] for _, row in comparisons(trail) if row["model"] not in others]
    return own[-1] if own else None


def interval(row: dict[str, Any]) -> tuple[float, float]:
    """The accuracy's Wilson interval: as recorded, or worked out from accuracy and n."""
    if row.get("wilson_low") is not None and row.get("wilson_high") is not None:
        return row["wilson_low"], row["wilson_high"]
    return wilson(row["accuracy"] * row["n"], row["n"])


def bounds(row: dict[str, Any], place: str) -> tuple[str, str]:
    """The keys of the interval's ends."""
    if row.get("wilson_low") is not None and row.get("wilson_high") is not None:
        return f"{place}/wilson_low", f"{place}/wilson_high"
    return f"wilson_low({place}/accuracy, {place}/n)", f"wilson_high({place}/accuracy, {place}/n)"


def evaluation(trail: Trail) -> Section:
    """Accuracy of every model on every benchmark, its interval, the paired difference to the base, and each in words."""
    section = Section("results", "Evaluation", [])
    found = comparisons(trail)
    if not found:
        section.words = ["No benchmark was asked of more than one model, so nothing is compared here.", ""]
        return section
    header = ["Benchmark", "Model", "n", "Chance %", "Majority %", "Correct %", "95 % interval", "Unparsed", "Difference to base, points",
              "95 % interval of the difference", "p", "p (Holm)", "Key"]
    rows, told = [], set()
    for place, row in found:
        if (row["benchmark"], row["base"]) not in told:
            told.add((row["benchmark"], row["base"]))
            rows.append(_base_row(trail, place, row))
        cells, sentence = _model_row(trail, place, row)
        rows.append(cells)
        section.words.append(sentence)
    modes = sorted({f"{row['benchmark']} {row['mode']}" for _, row in found if row.get("mode")})
    note = ("Intervals are Wilson's at 95 %. Differences are paired, on the same questions; p is of the paired test, and Holm's method "
            "corrects it for all comparisons of the run.")
    asked = f" How answers were asked for: {said(', '.join(modes))}." if modes else ""
    section.words.append("")
    section.tables = [*table(header, rows), note + asked, ""]
    return section


def _model_row(trail: Trail, place: str, row: dict[str, Any]) -> tuple[list[str], str]:
    """The row, and the same in a sentence."""
    mark = trail.new_mark()
    name = f"{row['model']} on {row['benchmark']}"

    def cite(field: str, style: str = "percent") -> str:
        return trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)

    spread = _spread(trail, name, mark, *bounds(row, place))
    difference = f"{cite('low', 'points')} to {cite('high', 'points')}" if row.get("low") is not None else "-"
    cells = [said(row["benchmark"]), said(row["model"]), cite("n", "plain"), cite("chance"), cite("majority"), cite("accuracy"), spread,
             cite("unparsed", "plain" if isinstance(row.get("unparsed"), int) else "percent"), cite("difference", "points"), difference,
             cite("p_value", "p"), cite("holm_p", "p"), f"[^{mark}]"]
    sentence = (f"- **{said(row['model'])} on {said(row['benchmark'])}**: {against_chance(row, *interval(row), cite)}; "
                f"{against_base(row, cite)}.")
    return cells, sentence


def _base_row(trail: Trail, place: str, row: dict[str, Any]) -> list[str]:
    mark, name = trail.new_mark(), f"{row['base']} on {row['benchmark']}"

    def cite(field: str, style: str = "percent") -> str:
        return trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)

    share, n = f"{place}/base_accuracy", f"{place}/n"
    spread = _spread(trail, name, mark, f"wilson_low({share}, {n})", f"wilson_high({share}, {n})")
    return [said(row["benchmark"]), said(row["base"]), cite("n", "plain"), cite("chance"), cite("majority"), cite("base_accuracy"), spread,
            "-", "-", "-", "-", "-", f"[^{mark}]"]


def _spread(trail: Trail, name: str, mark: int, low: str, high: str) -> str:
    ends = [trail.cite(f"{name}: Wilson interval, {end}", key, "percent", mark) for end, key in (("low", low), ("high", high))]
    return " to ".join(ends)


def forgetting(trail: Trail) -> Section:
    """Bits per byte on held-out text, by domain and model."""
    section = Section("forgetting", "What was forgotten", [])
    lines = trail.summary.get("forgetting") or []
    if not lines:
        section.words = ["Not measured.", ""]
        return section
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
        change = trail.cite(f"{domain}: change of bits per byte", f"difference({after}, {before})", "fixed", mark)
        rows.append([said(domain), *cells, change, f"[^{mark}]"])
        verdict = "rose: text of this domain is predicted worse than before" if line["after"] > line["before"] else "did not rise"
        count = trail.cite(f"{domain}: held-out documents", f"summary:forgetting/{number}/documents", "plain", mark)
        over = f", over {count} documents" if count != "-" else ""
        section.words.append(f"- **{said(domain)}**: bits per byte {verdict}{over}.")
    note = "Bits per byte on held-out documents; lower is better. No interval is given, so small changes mean little."
    section.words.append("")
    section.tables = [*table(["Domain", *map(said, models), "Change, last less first", "Key"], rows), note, ""]
    return section


def quantisation(trail: Trail) -> Section:
    """Each quantised file with its own numbers: size, distance from the exact model, answers, and whether it may ship."""
    section = Section("files", "Quantised files", [])
    files = trail.find("gate:figures/files") or []
    if not files:
        section.words = ["No quantised file was held against the model.", ""]
        return section
    rows, each = [], []
    for number, file in enumerate(files):
        mark, kind, here = trail.new_mark(), file["type"], f"gate:figures/files/{number}"
        cells = [trail.cite(f"{kind}: {key.replace('_', ' ').replace('/', ', ')}", f"{here}/{key}", style, mark) for key, style in _OF_FILE]
        rows.append([said(kind), said(file["verdict"]), *cells, f"[^{mark}]"])
        each += [_quantised_row(trail, f"{here}/benchmarks/{place}", kind, own) for place, own in enumerate(file["benchmarks"])]
    header = ["File type", "May ship", "Size, MB", "KL divergence", "Its upper bound", "Its 99th percentile", "Same likeliest token %",
              "Bits per byte", "The model's", "Correct, all benchmarks %", "Difference, points", "Lower bound", "Key"]
    smallest, mark = trail.find("gate:figures/smallest"), trail.new_mark()
    points = trail.cite("margin of accuracy", "gate:figures/margins/accuracy", "percent", mark)
    nats = trail.cite("margin of KL divergence", "gate:figures/margins/kl", "plain", mark)
    section.words = [
        f"Smallest file that may ship: **{said(smallest or 'none')}**. Each row below is measured on that file itself, against the model "
        f"before quantisation: nats a token and likeliest tokens on held-out text, answers on all questions. A file passes where the 95 % "
        f"intervals rule out a loss of more than {points} points of accuracy, and of {nats} nats.[^{mark}]", ""]
    section.tables = table(header, rows)
    if each:
        section.tables += table(["File type", "Benchmark", "n", "Correct %", "Difference to the model, points", "Won back", "Lost", "p",
                                 "Calibration error", "Key"], each)
    return section


_OF_FILE = (("bytes", "megabytes"), ("kl", "plain"), ("kl_high", "plain"), ("kl_99", "plain"), ("argmax_agreement", "percent"),
            ("bits_per_byte", "fixed"), ("base_bits_per_byte", "fixed"), ("pooled/accuracy", "percent"), ("pooled/difference", "points"),
            ("pooled/low", "points"))


def _quantised_row(trail: Trail, place: str, kind: str, own: dict[str, Any]) -> list[str]:
    mark, name = trail.new_mark(), f"{kind} on {own['benchmark']}"
    cells = [trail.cite(f"{name}: {field.replace('_', ' ')}", f"{place}/{field}", style, mark)
             for field, style in (("n", "plain"), ("accuracy", "percent"), ("difference", "points"), ("gained", "plain"), ("lost", "plain"),
                                  ("p_value", "p"), ("ece", "fixed"))]
    return [said(kind), said(own["benchmark"]), *cells, f"[^{mark}]"]

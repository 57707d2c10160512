"""The card's section on training data: every source with what came in, what was left out and why, and what was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .prose import Section, said, table
from .trail import Trail, part

Cell = Callable[[Trail, str, int], str]


def training_data(trail: Trail) -> Section:
    """A row for each source with its licence and counts, then the corpus as a whole."""
    section = Section("data", "Training data", [])
    sources = (trail.recipe.get("corpus") or {}).get("sources") or []
    if not sources:
        section.words = ["No corpus: nothing was pretrained.", ""]
        return section
    section.words = [f"The text came from: {', '.join(said(source['name']) for source in sources)}. Every document keeps its source, its "
                     "licence, and, where it was left out, the reason.", ""]
    columns = {name: cell for name, cell in _COLUMNS.items() if any(_find(trail, source["name"], name) is not None for source in sources)}
    rows = []
    for source in sources:
        mark, name = trail.new_mark(), source["name"]
        cells = [cell(trail, name, mark) for cell in columns.values()]
        if columns:
            cells.append(f"[^{mark}]")
        rows.append([said(name), said(source["format"]), said(source["domain"]), said(_licence(trail, source)), *cells])
    section.tables = table(["Source", "Form", "Domain", "Licence", *columns, *(["Key"] if columns else [])], rows)
    whole = [(name, key) for step in ("corpus", "tokens") for name, key in numbers(trail, step)]
    if whole:
        section.tables += table(["Whole corpus", "Figure"], [[said(name), trail.cite(f"corpus: {name}", key)] for name, key in whole])
    return section


def numbers(trail: Trail, step: str) -> Iterator[tuple[str, str]]:
    """Names and keys of a step's plain figures, one level of tables below included; times, and lists of parts, are left out."""
    for name, value in ((trail.steps.get(step) or {}).get("figures") or {}).items():
        key = f"{step}:figures/{part(name)}"
        if _plain(value) and not name.endswith(("seconds", "per_second")):
            yield name.replace("_", " "), key
        elif isinstance(value, Mapping) and name not in ("sources", "benchmarks"):
            yield from ((f"{name}: {inner}".replace("_", " "), f"{key}/{part(inner)}") for inner, number in value.items() if _plain(number))


def _plain(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _entry(trail: Trail, place: str, source: str) -> str | None:
    """The key of a source's entry in a list of such entries."""
    for number, entry in enumerate(trail.find(place) or ()):
        if isinstance(entry, Mapping) and entry.get("name") == source:
            return f"{place}/{number}"
    return None


# For each column the ways to its number: the step's list of sources or a step of the source's own, and the path from there.
_WAYS = {
    "Files": (("corpus:figures/sources", "files"), ("read-{}:figures", "files")),
    "Records in": (("corpus:figures/sources", "records"), ("read-{}:figures", "documents")),
    "Left out, why": (("corpus:figures/sources", "dropped"), ("read-{}:figures", "dropped")),
    "Documents to train on": (("corpus:figures/sources", "train/documents"),),
    "Documents held out": (("corpus:figures/sources", "valid/documents"),),
    "Tokens trained on": (("tokens:figures/mixture/sources", "tokens"),),
    "Share of the tokens %": (("tokens:figures/mixture/sources", "share"),),
}


def _find(trail: Trail, source: str, column: str) -> str | None:
    """The key of a source's number in a column."""
    for place, path in _WAYS[column]:
        start = place.format(part(source)) if "{}" in place else _entry(trail, place, source)
        if start is not None and trail.find(f"{start}/{path}") is not None:
            return f"{start}/{path}"
    return None


def _number(column: str, style: str = "plain") -> Cell:
    def cell(trail: Trail, source: str, mark: int) -> str:
        key = _find(trail, source, column)
        return "-" if key is None else trail.cite(f"{source}: {column.lower()}", key, style, mark)

    return cell


def _reasons(trail: Trail, source: str, mark: int) -> str:
    key = _find(trail, source, "Left out, why")
    found = {} if key is None else trail.find(key)
    told = [f"{said(reason)} {trail.cite(f'{source}: left out, {reason}', f'{key}/{part(reason)}', 'plain', mark)}" for reason in found]
    return ", ".join(told) or "none"


_COLUMNS: dict[str, Cell] = {
    "Files": _number("Files"),
    "Records in": _number("Records in"),
    "Left out, why": _reasons,
    "Documents to train on": _number("Documents to train on"),
    "Documents held out": _number("Documents held out"),
    "Tokens trained on": _number("Tokens trained on"),
    "Share of the tokens %": _number("Share of the tokens %", "percent"),
}


def _licence(trail: Trail, source: Mapping[str, Any]) -> str:
    """The licence that the recipe states, else those that the documents carried."""
    entry = _entry(trail, "corpus:figures/sources", source["name"])
    met = [str(name) for name in (trail.find(f"{entry}/licences") or {})] if entry else []
    return str(source.get("licence") or ", ".join(met) or "as each document states")

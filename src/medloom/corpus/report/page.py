"""The report of a corpus as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import count, groupby
from typing import Any

from medloom.notice import NOTICE_SHORT
from medloom.pages import html_page as page

from .plots import Part, funnel, histogram, stacked
from .reasons import GROUPS
from .tables import (
    Cell,
    Column,
    Report,
    Table,
    bins,
    by_group,
    cautions,
    characters,
    complete,
    documents,
    flow,
    headline,
    left_out,
    main_reason,
    number,
    percent,
    plain,
    share,
    shown,
    size,
    tables,
)

MINUS = "\N{MINUS SIGN}"
TITLES = {"train": "train", "valid": "validation", **{group.key: group.title for group in GROUPS}}
SECTIONS = {"records": "What became of the records", "sources": "Sources", "steps": "Step by step", "reasons": "Why records were left out",
            "duplicates": "Duplicates", "benchmarks": "Benchmarks", "contents": "Length and year", "terms": "Languages and licences",
            "mixture": "What training reads", "rules": "The rules that held"}


def html_page(report: Report) -> str:
    """The page. Keys that are absent are passed over; everything from outside is escaped."""
    report = complete(report)
    made = {table.key: table for table in tables(report)}
    idents = (f"plot-{n}" for n in count(1))
    bodies = {
        "records": _records(report, idents) if report["sources"] else "",
        "sources": _table(made, "sources"),
        "steps": _steps(report, idents) + _details("The numbers of every source", _table(made, "steps")) if report["sources"] else "",
        "reasons": _table(made, "reasons") + _details("Reasons by source", _table(made, "reasons-by-source")),
        "duplicates": _table(made, "duplicates") + _table(made, "pairs"),
        "benchmarks": _table(made, "benchmarks") + _table(made, "worst"),
        "contents": _contents(report, idents) + _details("The numbers of these plots", _table(made, "lengths") + _table(made, "years")),
        "terms": _table(made, "languages") + _table(made, "licences"),
        "mixture": _table(made, "mixture"),
        "rules": _table(made, "rules"),
    }
    closing = ("<p>Each record that was left out is named, with its reason, in dropped.parquet: that of the corpus, and that of each "
               "source as it was read.</p>")
    return page(f"The corpus: {documents(report):,} documents", f"<h1>The corpus</h1>{_opening(report)}", SECTIONS, bodies, closing,
                __package__)


def _opening(report: Report) -> str:
    tiles = [("came in", f"{report['records']:,}", f"records in {number(sum(s['files'] for s in report['sources']), 'file')}"),
             ("stay", f"{documents(report):,}", f"documents, {_part(documents(report), report['records'])} of the records"),
             ("text", _short(characters(report)), "characters"),
             ("left out", f"{left_out(report):,}", f"records, {_part(left_out(report), report['records'])}")]
    return (f'<p class="lead">{escape(headline(report))}</p>'
            + (f"<p>{escape(main_reason(report))}</p>" if left_out(report) else "")
            + f'<p class="notice" role="note"><strong>{escape(NOTICE_SHORT)}</strong></p>'
            + "".join(f'<p class="caution" role="alert"><strong>Does not add up.</strong> {escape(text)}</p>' for text in cautions(report))
            + '<dl class="tiles">' + "".join(f"<div><dt>{name}</dt><dd>{value} <small>{more}</small></dd></div>"
                                             for name, value, more in tiles) + "</dl>")


def _records(report: Report, idents: Iterator[str]) -> str:
    """A bar for each source, as long as the page whatever the source's size, and one for all of them."""
    told = "Each bar is all the records of one source, so bars of unlike sources can be read alike. Parts too thin to be seen are widened."
    bars = [_bar({"name": "All sources", **report}, next(idents), "")] if len(report["sources"]) > 1 else []
    for source in report["sources"]:
        about = (source["domain"], source["format"], number(source["files"], "file"), size(source["bytes"]) if source["bytes"] else "")
        bars.append(_bar(source, next(idents), " · ".join(filter(None, about))))
    return f'<p class="note">{told}</p>{"".join(bars)}'


def _bar(source: Report, ident: str, about: str) -> str:
    parts = _parts(source)
    items = "".join(f'<li><span class="chip g-{key}"></span>{TITLES[key]} <b>{amount:,}</b> '
                    f'<span class="soft">{_part(amount, source["records"])}</span></li>' for key, amount in parts)
    told = ", ".join(f"{TITLES[key]} {amount:,}" for key, amount in parts)
    plot = stacked(ident, f"Records of {plain(source['name'])}", f"{number(source['records'], 'record')}: {told or 'none'}", parts)
    return (f'<figure class="bar"><figcaption><h3>{_safe(source["name"])} <span class="soft">{number(source["records"], "record")}</span>'
            f'</h3><span>{_safe(about)}</span></figcaption>{plot}<ul class="parts">{items}</ul></figure>')


def _parts(source: Report) -> list[Part]:
    kept = [(split, documents(source, split)) for split in ("train", "valid")]
    return [(key, amount) for key, amount in [*kept, *by_group(source["dropped"]).items()] if amount]


def _steps(report: Report, idents: Iterator[str]) -> str:
    every = [{"name": "All sources", **report}] if len(report["sources"]) > 1 else []
    whole = [plain(source["name"]) for source in report["sources"] if not left_out(source)]
    told = "What is left of each source after each step, and before it what the step took."
    told += f" Nothing was left out of {', '.join(whole)}." if whole else ""
    cards = "".join(_funnel(source, next(idents)) for source in [*every, *report["sources"]] if left_out(source))
    return f'<p class="note">{escape(told)}</p><div class="cards">{cards}</div>'


def _funnel(source: Report, ident: str) -> str:
    rows: list[tuple[str, str, str, Sequence[Part]]] = [
        (name, f"{MINUS}{sum(gone.values()):,}" if gone else "", f"{left:,}", [("train", left), *gone.items()])
        for name, left, gone in flow(source)]
    split = [(key, documents(source, key)) for key in ("train", "valid")]
    rows.append(("train + validation", "", " + ".join(f"{amount:,}" for _, amount in split), split))
    told = "; ".join(f"{label}: {left}" + (f" ({lost})" if lost else "") for label, lost, left, _ in rows)
    plot = funnel(ident, f"{plain(source['name'])}, step by step", told, rows, source["records"])
    return f'<figure class="card"><h3>{_safe(source["name"])}</h3>{plot}</figure>'


def _contents(report: Report, idents: Iterator[str]) -> str:
    """Histograms of length and year, of each source that knows them; a kind's bars are the same ones throughout."""
    made = []
    kinds = (("lengths", "train", "Documents by length in characters",
              "Each bar spans twice the range of the one before; below it is where it starts (k = 1,024)."),
             ("years", "duplicate", "Documents by decade of publication", ""))
    for key, colour, title, note in kinds:
        shown_bins = bins([source[key] for source in report["sources"]], key)
        cards = []
        for source in report["sources"]:
            if any(name.isdecimal() for name in source[key]):
                bars = [(_tick(name, key), label, source[key].get(name, 0)) for name, label in shown_bins]
                plot = histogram(next(idents), f"{title}: {plain(source['name'])}", bars, colour)
                cards.append(f'<figure class="card"><h3>{_safe(source["name"])}</h3>{plot}</figure>')
        if cards:
            without = [plain(s["name"]) for s in report["sources"] if not any(name.isdecimal() for name in s[key]) and documents(s)]
            note = note + (f" Unknown for {', '.join(without)}." if without else "")
            made.append(f'<h3>{title}</h3><p class="note">{escape(note)}</p><div class="cards">{"".join(cards)}</div>')
    return "".join(made)


def _tick(name: str, key: str) -> str:
    if key == "years" or not name.isdecimal():
        return plain(name, 9)
    value = int(name)
    return f"{value >> 20}M" if value >= 1 << 20 else f"{value >> 10}k" if value >= 1 << 10 else name


def _table(made: dict[str, Table], key: str) -> str:
    """A table in a box that scrolls by itself where the window is narrow; nothing where there is no such table."""
    if key not in made:
        return ""
    table = made[key]
    title = _safe(table.title)
    head = "".join(f'<th scope="col"{_kind(column)}>{_safe(column.title)}</th>' for column in table.columns if column.kind != "note")
    groups = [list(rows) for _, rows in groupby(table.rows, key=lambda row: row[0])]
    rows = "".join(f"<tr>{_cells(row, table.columns, 0 if place else len(group))}</tr>"
                   for group in groups for place, row in enumerate(group))
    note = f'<p class="note">{_safe(table.note, 400)}</p>' if table.note else ""
    caption = f"<caption>{title}</caption>" if table.title not in SECTIONS.values() else ""
    return (f'{note}<div class="scroll" tabindex="0" role="region" aria-label="{title}"><table>{caption}'
            f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")


def _cells(row: Sequence[Cell], columns: Sequence[Column], spanned: int) -> str:
    """The cells of a row; its first one, which names it, is for `spanned` rows (0: it stands in a row above)."""
    notes = "".join(f"<small>{escape(shown(cell, column))}</small>"
                    for cell, column in zip(row, columns, strict=True) if column.kind == "note" and cell is not None)
    scope = f'scope="rowgroup" rowspan="{spanned}"' if spanned > 1 else 'scope="row"'
    cells = [f"<th {scope}>{escape(shown(row[0], columns[0]))}{notes}</th>"] if spanned else []
    for cell, column in zip(row[1:], columns[1:], strict=True):
        if column.kind != "note":
            text = escape(shown(cell, column))
            if column.kind == "share" and isinstance(cell, int | float):
                text += f'<span class="meter"><i style="width:{min(max(cell, 0), 1):.2%}"></i></span>'
            cells.append(f"<td{_kind(column, len(text) > 40)}>{text}</td>")
    return "".join(cells)


def _kind(column: Column, wide: bool = False) -> str:
    return f' class="text{" wide" if wide else ""}"' if column.kind == "text" else ' class="num"'


def _details(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>{body}</details>" if body else ""


def _part(amount: int, whole: int) -> str:
    return escape(percent(share(amount, whole)))


def _safe(text: Any, longest: int = 160) -> str:
    return escape(plain(text, longest))


def _short(value: int) -> str:
    for unit, name in ((10**9, "billion"), (10**6, "million")):
        if value >= unit:
            return f"{value / unit:,.1f} {name}"
    return f"{value:,}"

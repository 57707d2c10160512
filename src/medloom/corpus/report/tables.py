"""What the report of a corpus says: its sentences, the steps of its sources, and its tables, which page and Markdown share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

from medloom.notice import NOTICE_SHORT

from .reasons import GROUPS, OTHER, STEPS, explain, group_of

Report = Mapping[str, Any]
Cell = str | int | float | None
LONGEST = 160  # characters of a name from outside; the rest is cut
WORST = 8  # overlaps that are shown of each benchmark
FILLED = 24  # bars that a histogram may have with its gaps shown
UNITS = ("bytes", "kB", "MB", "GB", "TB")
DASH = "\N{EN DASH}"
_MARKS = re.compile(r"([\\`*_\[\]|~#])")


@dataclass(frozen=True, slots=True)
class Column:
    """A share is a fraction of 1, which the page draws as a bar; a note is a sentence, which the page puts below the row's name."""

    title: str
    kind: Literal["text", "number", "share", "note"] = "number"


@dataclass(frozen=True, slots=True)
class Table:
    """The first cell of a row names it. Cells are as they came: whoever writes them makes them safe."""

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


def complete(report: Report) -> dict[str, Any]:
    """A report with every key there may be; nothing where it has none."""
    part = {"records": 0, "dropped": {}, "train": {}, "valid": {}}
    source = {**part, "name": "?", "domain": "", "format": "", "files": 0, "bytes": 0, "licences": {}, "languages": {}, "years": {},
              "lengths": {}}
    every = {**part, "rules": {}, "sources": [], "benchmarks": {}, "duplicates": {}, "mixture": {}}
    whole = {**every, **_there(report)}
    return {**whole, "sources": [{**source, **_there(entry)} for entry in whole["sources"]]}


def _there(entry: Report) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def documents(part: Report, *splits: str) -> int:
    """Documents of a report or a source that stay, in the splits named (both where none is)."""
    return sum(int(part[split].get("documents", 0)) for split in splits or ("train", "valid"))


def characters(part: Report) -> int:
    """Characters of the documents that stay."""
    return sum(int(part[split].get("characters", 0)) for split in ("train", "valid"))


def left_out(part: Report) -> int:
    """Records that do not stay."""
    return sum(part["dropped"].values())


def by_group(dropped: Mapping[str, int]) -> dict[str, int]:
    """Records left out by group, in the order of GROUPS; groups without any are absent."""
    counts = {group.key: sum(count for reason, count in dropped.items() if group_of(reason) is group) for group in GROUPS}
    return {key: count for key, count in counts.items() if count}


def flow(part: Report) -> list[tuple[str, int, dict[str, int]]]:
    """The steps of a source: (what holds, records left, records lost in this step by group), from "came in" to "no duplicate"."""
    groups = by_group(part["dropped"])
    lost = [{group.key: groups[group.key] for group in GROUPS if group.step == step and group.key in groups} for step in STEPS]
    names = [(name, gone) for (step, name), gone in zip(STEPS.items(), lost, strict=True) if gone or step != "other"]
    remaining = accumulate([int(part["records"]), *(-sum(gone.values()) for _, gone in names)])
    return [(name, left, gone) for (name, gone), left in zip([("came in", {}), *names], remaining, strict=True)]


def headline(report: Report) -> str:
    """The corpus in one sentence."""
    files = sum(source["files"] for source in report["sources"])
    return (f"{number(report['records'], 'record')} came in from {number(files, 'file')} of {number(len(report['sources']), 'source')}; "
            f"{number(documents(report), 'document')} stay, with {number(characters(report), 'character')}: "
            f"{documents(report, 'train'):,} to train on and {documents(report, 'valid'):,} held out to measure with.")


def main_reason(report: Report) -> str:
    """Why most of what was left out was, in one sentence; empty where nothing was."""
    if not left_out(report):
        return ""
    reason, count = max(report["dropped"].items(), key=lambda pair: pair[1])
    lost = left_out(report)
    told = f"{number(lost, 'record')} ({percent(share(lost, report['records']))}) {'was' if lost == 1 else 'were'} left out"
    meaning = explain(reason)
    return (f"{told}, {'all' if count == lost else f'{count:,}'} of them as {plain(reason)}"
            + (f": {meaning[0].lower()}{meaning[1:]}" if meaning else "."))


def cautions(report: Report) -> list[str]:
    """What does not add up, a sentence each: records that neither stay nor were left out."""
    found = []
    for part in [report, *report["sources"]]:
        missing = part["records"] - documents(part) - left_out(part)
        if missing:
            name = f"Source {plain(part['name'])}" if "name" in part else "The corpus"
            found.append(f"{name}: {part['records']:,} records came in, {documents(part):,} stay and {left_out(part):,} were left out, "
                         f"which leaves {missing:,} without an account.")
    return found


def tables(report: Report) -> Iterator[Table]:
    """The tables of a complete report, in their order; those without a row are left away."""
    sources = report["sources"]
    made = (_sources(sources, characters(report)), _steps(sources), _reasons(report), _reasons_by_source(sources),
            _contents("languages", "Languages of what stayed", sources), _contents("licences", "Licences of what stayed", sources),
            _histogram("lengths", "Documents by length", "characters", sources),
            _histogram("years", "Documents by year of publication", "years", sources), *_benchmarks(report["benchmarks"]),
            *_duplicates(report["duplicates"]), _mixture(report["mixture"]), _rules(report["rules"]))
    return (table for table in made if table.rows)


def _text(title: str) -> Column:
    return Column(title, "text")


def _share(title: str) -> Column:
    return Column(title, "share")


def _sources(sources: Sequence[Report], total: int) -> Table:
    columns = (_text("source"), Column("records"), Column("left out"), Column("train"), Column("validation"), Column("characters kept"),
               _share("share of text"), Column("files"), Column("size"), _text("domain"), _text("format"))
    rows = ((s["name"], s["records"], left_out(s), documents(s, "train"), documents(s, "valid"), characters(s),
             share(characters(s), total), s["files"], size(s["bytes"]), s["domain"], s["format"]) for s in sources)
    return Table("sources", "Sources", columns, tuple(rows))


def _steps(sources: Sequence[Report]) -> Table:
    flows = [flow(source) for source in sources]
    names = [name for name in ("came in", *STEPS.values()) if any(name == step for steps in flows for step, _, _ in steps)]
    rows = []
    for source, steps in zip(sources, flows, strict=True):
        left = {name: count for name, count, _ in steps}
        rows.append((source["name"], *(left.get(name) for name in names), documents(source, "train"), documents(source, "valid")))
    return Table("steps", "Records left after each step", (_text("source"), *map(Column, (*names, "train", "validation"))), tuple(rows))


def _reasons(report: Report) -> Table:
    return Table("reasons", "Why records were left out",
                 (_text("reason"), Column("records"), _share("share of records"), _text("step"), Column("what it means", "note")),
                 tuple((reason, count, share(count, report["records"]), _step(reason), explain(reason) or None)
                       for reason, count in _ranked(report["dropped"])))


def _step(reason: str) -> str:
    group = group_of(reason)
    return "unknown" if group is OTHER else group.step


def _reasons_by_source(sources: Sequence[Report]) -> Table:
    return Table("reasons-by-source", "Reasons by source",
                 (_text("source"), _text("reason"), Column("records"), _share("share of its records"), _text("in short")),
                 tuple((s["name"], reason, count, share(count, s["records"]), group_of(reason).title)
                       for s in sources for reason, count in _ranked(s["dropped"])))


def _contents(key: str, title: str, sources: Sequence[Report]) -> Table:
    return Table(key, title, (_text("source"), _text(key[:-1]), Column("documents"), _share("share")),
                 tuple((s["name"], name, count, share(count, documents(s))) for s in sources for name, count in _ranked(s[key])))


def _histogram(key: str, title: str, first: str, sources: Sequence[Report]) -> Table:
    counts = [source[key] for source in sources]
    return Table(key, title, (_text(first), *(Column(source["name"]) for source in sources)),
                 tuple((label, *(column.get(name, 0) for column in counts)) for name, label in bins(counts, key)))


def _benchmarks(benchmarks: Mapping[str, Report]) -> Iterator[Table]:
    titles = {"questions": "questions", "guarded": "guarded", "questions_touched": "questions touched",
              "documents_dropped": "documents left out", "by_pmid": "by PubMed number", "by_overlap": "by overlap"}
    known = [key for key in titles if any(key in entry for entry in benchmarks.values())]
    yield Table("benchmarks", "Benchmarks guarded against", (_text("benchmark"), *(Column(titles[key]) for key in known)),
                tuple((name, *(entry.get(key) for key in known)) for name, entry in benchmarks.items()),
                "A question is guarded where it is long enough to be told from everyday words, and touched where a document holds it.")
    yield Table("worst", "The closest meetings of a question and a document",
                (_text("benchmark"), _text("question"), _text("document"), _share("overlap")),
                tuple((name, worst.get("question"), worst.get("document"), worst.get("overlap"))
                      for name, entry in benchmarks.items() for worst in (entry.get("worst") or ())[:WORST]),
                "Overlap is the share of the question's runs of words that stand in the document.")


def _duplicates(duplicates: Report) -> Iterator[Table]:
    yield Table("duplicates", "Duplicates by kind", (_text("kind"), Column("documents"), Column("what it means", "note")),
                tuple((name, count, explain(name) or None) for name, count in duplicates.items() if name != "pairs"))
    yield Table("pairs", "Duplicates between sources", (_text("left out from"), _text("kept in"), Column("documents")),
                tuple((gone, kept, count) for gone, row in (duplicates.get("pairs") or {}).items() for kept, count in _ranked(row)))


def _mixture(mixture: Report) -> Table:
    note = f"{mixture['tokens']:,} tokens" if "tokens" in mixture else ""
    if note and "tokens_asked" in mixture:
        note += f" of {mixture['tokens_asked']:,} asked for"
    if note and "documents" in mixture:
        note += f", in {number(mixture['documents'], 'document')} with repeats"
    columns = (_text("source"), _share("asked"), _share("read"), Column("tokens read"), Column("tokens there are"), Column("times read"))
    rows = ((m["name"], m.get("share_asked"), m.get("share"), m.get("tokens"), m.get("tokens_in_stock"),
             f"{m['passes']:.2f}" if m.get("passes") is not None else None) for m in mixture.get("sources", ()))
    return Table("mixture", "What training reads", columns, tuple(rows),
                 f"{note}. A source for which no share is asked enters whole." if note else "")


def _rules(rules: Report) -> Table:
    return Table("rules", "The rules that held", (_text("rule"), _text("setting")), tuple(_settings(rules)))


def _settings(rules: Report) -> Iterator[tuple[str, str]]:
    known: dict[str, Callable[[Any], str]] = {
        "languages": lambda v: ", ".join(v), "licences": lambda v: "any, or none known" if v is None else ", ".join(v),
        "min_characters": lambda v: f"{v:,} characters at least", "near_duplicates": lambda v: "left out" if v else "kept",
        "decontaminate": lambda v: "off" if v is None else f"a document goes that holds {percent(v)} of a question's runs of words",
        "validation": lambda v: f"{percent(v)} of the documents", "validation_documents": lambda v: f"{v:,} at most in each domain",
        "max_repetition": lambda v: "off" if v is None else f"{percent(v)} of the text at most",
    }
    for name, value in rules.items():
        try:
            yield name.replace("_", " "), known.get(name, _told)(value)
        except (TypeError, ValueError):  # a rule of another version, in another form
            yield name.replace("_", " "), _told(value)


def _told(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "on" if value else "off"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def bins(columns: Sequence[Mapping[str, int]], key: str) -> list[tuple[str, str]]:
    """(key, label) of a histogram's bars, "lengths" or "years", over several counts, gaps filled; keys that are no number come last."""
    names = {name for counts in columns for name in counts}
    numbers = sorted(int(name) for name in names if name.isdecimal())
    if numbers:
        first = next((n for n in numbers if n), 1)  # a length of 0 is no power of two
        steps: Sequence[int] = [2**power for power in range(numbers[-1].bit_length()) if 2**power >= first]
        steps = steps if key == "lengths" else range(numbers[0], numbers[-1] + 1, 10)
        if len(steps) <= FILLED:
            numbers = sorted({*numbers, *steps})
    return [*((str(n), _range(n, key)) for n in numbers), *((name, name) for name in sorted(names) if not name.isdecimal())]


def _range(low: int, key: str) -> str:
    if key == "years":
        return f"{low}{DASH}{low + 9}"
    return f"{low:,}{DASH}{2 * low - 1:,}" if low > 1 else str(low)


def markdown(report: Report) -> str:
    """The report as GitHub's Markdown. Keys that are absent are passed over; names from outside cannot break out of their cell."""
    report = complete(report)
    lines = ["# The corpus", "", f"> **{NOTICE_SHORT}**", "", headline(report)]
    if main_reason(report):
        lines += ["", _marked(main_reason(report))]
    lines += [line for caution in cautions(report) for line in ("", f"**Does not add up.** {_marked(caution)}")]
    for table in tables(report):
        lines += ["", f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines.append("| " + " | ".join(_marked(plain(column.title)) for column in table.columns) + " |")
        lines.append("|" + "|".join("---" if column.kind in ("text", "note") else "--:" for column in table.columns) + "|")
        lines += ["| " + " | ".join(_marked(shown(cell, column)) for cell, column in zip(row, table.columns, strict=True)) + " |"
                  for row in table.rows]
    return "\n".join(lines) + "\n"


def shown(cell: Cell, column: Column) -> str:
    """A cell as plain text on one line."""
    if cell is None:
        return DASH
    if isinstance(cell, str):
        return plain(cell)
    return percent(float(cell)) if column.kind == "share" else f"{cell:,}"


def plain(text: str, longest: int = LONGEST) -> str:
    """Text from outside on one line, without characters that cannot be seen, cut where it is too long."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _marked(text: str) -> str:
    return _MARKS.sub(r"\\\1", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def number(count: int, noun: str) -> str:
    """A count with its noun: 1 file, 2,000 files."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def share(count: float, total: float) -> float | None:
    """A fraction; None of nothing."""
    return count / total if total else None


def percent(fraction: float | None) -> str:
    """A fraction as a percentage; what is not quite nothing or everything is never rounded to it."""
    if fraction is None:
        return DASH
    if 0 < fraction < 0.0005:
        return "<0.1 %"
    if 0.9995 < fraction < 1:
        return ">99.9 %"
    return f"{100 * fraction:.0f} %" if abs(100 * fraction - round(100 * fraction)) < 1e-9 else f"{100 * fraction:.1f} %"


def size(count: int) -> str:
    """Bytes in the unit that fits."""
    power = min(max(len(str(count)) - 1, 0) // 3, 4)
    value = count / 1000**power
    return f"{value:.0f} {UNITS[power]}" if not power or value >= 100 else f"{value:.1f} {UNITS[power]}"


def _ranked(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (pair[0] == "others", -pair[1], pair[0]))

"""Numbers in tables: a label says what they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .claims import Claim
from .patterns import LABELS, PROSE, SCALE_IN_LABEL, UNIT, UNITED, VALUE, VALUE_WITH_UNIT, plain_label
from .quantity import quantity
from .tables import Table, number

_SUM = re.compile(r"^(?:total|sum|all)\b", re.I)


def claims_of_table(table: Table) -> Iterator[Claim]:
    """Three forms: rows of a label and a value; a header of labels over rows that are variants; rows of labels under variants."""
    rows = [row for row in table.rows if len(row) >= 2]
    columns = [place for place, cell in enumerate(table.header) if place and kind_of(cell)]
    if columns and table.header and len(rows) > 0:
        named = [row for row in rows if not _SUM.match(row[0])]
        names = _variants(table, named, columns)
        for row, name in zip(named, names, strict=True):
            for place in columns:
                if place < len(row):
                    yield from labelled(table.header[place], row[place], name, f"{row[0]}: {table.header[place]} {row[place]}")
        for row in rows if named else ():
            for place in columns if _SUM.match(row[0]) else ():
                if place < len(row):
                    yield from labelled(table.header[place], row[place], "", f"{row[0]}: {table.header[place]} {row[place]}")
        return
    told = [row for row in rows if kind_of(row[0])]
    wide = [row for row in told if sum(number(cell) is not None for cell in row[1:]) > 1]
    if len(wide) >= 2 and table.header:
        for row in told:
            for place in range(1, min(len(row), len(table.header))):
                if table.header[place] and not _SUM.match(table.header[place]):
                    yield from labelled(row[0], row[place], table.header[place], f"{row[0]}: {table.header[place]} {row[place]}")
        return
    if not any(len(row) > 3 for row in rows):
        head = [table.header] if len(table.header) >= 2 and kind_of(table.header[0]) else []
        for row in [*head, *rows]:
            yield from labelled(row[0], row[1], "", f"{row[0]} | {row[1]}")


def _variants(table: Table, rows: list[tuple[str, ...]], columns: list[int]) -> list[str]:
    """What the rows of a table are called: by their first cells, by their sizes too where these are the same; "" where there is one row."""
    if len(rows) == 1:
        return [""]
    names = [row[0] for row in rows]
    sizes = next((place for place in columns if kind_of(table.header[place]) == "parameters"), None)
    if len(set(names)) < len(names) and sizes is not None:
        names = [f"{row[0]} {row[sizes]}" for row in rows]
    return [name if names.count(name) == 1 else f"{name} (row {number})" for number, name in enumerate(names, 1)]


def kind_of(label: str) -> str | None:
    """The kind of number that a label announces."""
    plain = SCALE_IN_LABEL.sub("", plain_label(label))
    return next((kind for kind, pattern in LABELS.items() if pattern.match(plain)), None)


def labelled(label: str, value: str, variant: str, quote: str) -> Iterator[Claim]:
    kind = kind_of(label)
    value = value.lstrip("~\u2248 ")
    if kind in UNIT or kind is None:
        yield from _with_unit(kind, label, value, variant, quote)
        return
    found = VALUE.match(value)
    scale = SCALE_IN_LABEL.search(plain_label(label))
    read = quantity(found.group(1), found.group(2) or (scale.group(1) if scale else ""), kind) if found else None
    if read is not None and found is not None and not _other_unit(kind, value[found.end() :]):
        yield Claim(kind, read.value, read.half, value, "table", quote, 0, variant)


def _other_unit(kind: str, rest: str) -> bool:
    """Whether what follows a labelled number makes it something else: a share, a batch counted in tokens."""
    return rest.lstrip()[:1] == "%" or (kind in ("global_batch", "micro_batch") and "token" in rest[:12].lower())


def _with_unit(kind: str | None, label: str, value: str, variant: str, quote: str) -> Iterator[Claim]:
    """Cells whose number needs its unit: "0.2 kWh", "480 gCO2e/kWh", "31.22" under "Carbon emitted (tCO2eq)"."""
    for united in (kind,) if kind in UNIT and kind not in UNITED else ("intensity", "carbon", "kwh"):
        for pattern in PROSE[united]:
            inside = pattern.match(value)
            read = quantity(inside.group(1), inside.group(2), united) if inside else None
            if read is not None:
                yield Claim(united, read.value, read.half, value, "table", quote, 0, variant)
                return
    found = VALUE_WITH_UNIT.match(value) if kind is not None else None
    if found is None or kind is None:
        return
    unit = UNIT[kind].match(found.group(2) or "") or UNIT[kind].search(label)
    bare_number = number(value) is not None
    if unit or (kind not in UNITED and bare_number):
        read = quantity(found.group(1), unit.group(1) if unit else "", kind)
        if read is not None:
            yield Claim(kind, read.value, read.half, value, "table", quote, 0, variant)

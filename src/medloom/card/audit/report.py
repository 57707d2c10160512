"""An audit for reading: in a terminal, and as one object of figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .claims import Card
from .finding import Finding
from .laws import LAWS
from .scores import results

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

_COLOURS = {"error": "bold red", "warning": "bold yellow", "note": "bold cyan"}
_LONGEST_QUOTE = 300


def report(card: Card, findings: Sequence[Finding]) -> dict[str, Any]:
    """Findings, worst first, and the claims that they were sought among: kind, value in base units, place, passage, variant."""
    return {"findings": [asdict(finding) for finding in findings],
            "claims": [{key: value for key, value in asdict(claim).items() if key not in ("start", "half")} for claim in card.claims]}


def told(findings: Sequence[Finding]) -> Iterator[RenderableType]:
    """Each finding in a paragraph: what does not hold, the passage, the sum, the remedy."""
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    for finding in findings:
        yield Text.assemble((f"{finding.severity:<8} ", _COLOURS[finding.severity]), (finding.law, "bold"))
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        grid.add_row("", Text(finding.statement, "bold"))
        if finding.quote:
            grid.add_row("card", Text(f"\u201c{_cut(finding.quote)}\u201d", "italic"))
        grid.add_row("sum", Text(finding.arithmetic))
        grid.add_row("mend", Text(finding.remedy))
        yield Padding(grid, (0, 0, 1, 2))
    counts = [sum(finding.severity == severity for finding in findings) for severity in _COLOURS]
    yield Text(", ".join(f"{count} {severity}{'s' * (count != 1)}" for count, severity in zip(counts, _COLOURS, strict=True)) + ".")


def extent(card: Card) -> str:
    """What was read, so that nobody takes silence for proof."""
    scored = results(card)
    numbers = len(card.claims) + sum(len(row) for table in scored for part in (table.rows, table.means) for row in part.values())
    return (f"Read {numbers} numbers in {len(card.tables)} tables and the prose, {len(scored)} of the tables with scores. "
            "A number that was not read was not audited: the audit proves contradictions, never correctness.")


def laws_table() -> Table:
    """The laws, what each asks for and where that is from."""
    from rich.table import Table

    table = Table("Law", "What must hold", "From")
    for law in LAWS:
        table.add_row(law.name, law.holds, law.source)
    return table


def _cut(quote: str) -> str:
    return quote if len(quote) <= _LONGEST_QUOTE else f"{quote[: _LONGEST_QUOTE - 1].rstrip()}\u2026"

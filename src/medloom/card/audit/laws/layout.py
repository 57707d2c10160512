"""The law of layouts: devices are the product of the ranks, and a card states one layout."""

from __future__ import annotations

from collections.abc import Iterator

from ..claims import Card, Place
from ..finding import Finding
from ..runs import Layout, agree, layouts, listed

_PLACES: tuple[Place, ...] = ("prose", "table")


def layout(card: Card) -> Iterator[Finding]:
    """Prose against table, and each of them against the devices that are stated, under every reading."""
    found = {place: layouts(card, place) for place in _PLACES}
    prose, table = found["prose"], found["table"]
    if prose and table and not any(_alike(one, other) for one in prose for other in table):
        yield Finding("layout", "error", f"The prose states {prose[0].told()}, the table {table[0].told()}.",
                      f"prose: {prose[0].sum()}; table: {table[0].sum()}", "State the one layout that was run.",
                      card.quote(next(iter(prose[0].ranks)), "prose"))
    stated = card.values("gpus")
    for place, readings in found.items():
        if not readings or not stated or any(_fills(reading, count) for reading in readings for count in stated):
            continue
        size = readings[0].devices
        yield Finding("layout", "error", f"The layout of the {place} takes {size:g} devices, and {listed(stated)} are stated.",
                      readings[0].sum(), f"Either the run had {size:g} devices, and device hours and energy must be reckoned on them, "
                      "or the layout was another.", card.quote("gpus"))


def _alike(one: Layout, other: Layout) -> bool:
    return all(one.ranks[name] == other.ranks[name] for name in one.ranks.keys() & other.ranks.keys())


def _fills(reading: Layout, count: float) -> bool:
    """Whether the layout takes that many devices. Where it leaves the data ranks out, they may be any number."""
    return agree(reading.devices, count) or ("data" not in reading.ranks and count % reading.devices == 0)

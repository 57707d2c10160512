"""The report's numbers as tables of text, for the page and for Markdown alike, and what they show in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...numbers import percent

Found = Mapping[str, Any]
MINUS = "\N{MINUS SIGN}"
SECTIONS = {"contests": "Who was preferred", "strengths": "Strengths", "axes": "Axis by axis", "unsafe": "Marked as unsafe",
            "agreement": "How far raters agree", "raters": "Raters"}


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def headline(found: Found) -> str:
    """The report in a few sentences. "Preferred" stands only where the votes show it, all contests taken together."""
    if not found["votes"]:
        return "There are no votes yet."
    come = f" {found['votes_to_come']:,} votes are still to come." if found["votes_to_come"] else " All votes are in."
    raters = sum(row["done"] > 0 for row in found["raters"])
    return (f"{found['votes']:,} votes of {raters} {'rater' if raters == 1 else 'raters'} on {found['questions']:,} "
            f"{'question' if found['questions'] == 1 else 'questions'}.{come} " + " ".join(map(verdict, found["contests"])))


def verdict(row: Found) -> str:
    """One contest in words."""
    if row["share"] is None:
        return f"{row['first']} and {row['second']} were not compared."
    if not row["clear"]:
        return (f"No preference is shown between {row['first']} and {row['second']} ({row['first']} won {percent(row['share'])}, "
                f"95 % interval {reach(row)}).")
    won = row if row["share"] > 0.5 else {**row, "first": row["second"], "second": row["first"], "share": 1 - row["share"],
                                          "low": 1 - row["high"], "high": 1 - row["low"]}
    return f"{won['first']} was preferred to {won['second']} ({percent(won['share'])}, 95 % interval {reach(won)})."


def tables(found: Found) -> dict[str, Table]:
    """The tables by section; those without anything in them are left out."""
    made = {"raters": Table(("rater", "votes", "of", "last vote (UTC)"), tuple(
        (row["rater"], str(row["done"]), str(row["total"]), moment(row["last_vote"])) for row in found["raters"]), _seconds(found))}
    if not found["votes"]:
        return made
    made["contests"] = Table(("model", "against", "better", "the same", "worse", "win rate", "95 % interval"), tuple(
        (row["first"], row["second"], str(row["wins"]), str(row["ties"]), str(row["losses"]), percent(row["share"]), reach(row))
        for row in found["contests"]),
        '"The same" counts as half a win. Votes on the same question are not independent; the intervals know it (Korn and Graubard '
        "1998, with Wilson's). A model is called preferred only where intervals that hold for all contests together show it. Answer A won "
        f"{percent(found['sides']['share'])} of the votes ({reach(found['sides'])}); each model stood there half the time.")
    if found["strengths"]:
        made["strengths"] = Table(("model", "log-strength", "95 % interval"), tuple(
            (row["model"], signed(row["value"]), f"{signed(row['low'])} to {signed(row['high'])}") for row in found["strengths"]),
            "Bradley and Terry's model: the odds that one model is preferred to another are e to the difference of their strengths; their "
            "mean is nothing. Intervals are clustered by question, and no narrower than independent votes would have them.")
    made["axes"] = Table(("axis", "model", "mean", "95 % interval", "answers", "cannot tell"), tuple(
        (axis["title"], row["model"], percent(row["share"]), reach(row), str(row["n"]), str(row["cannot_tell"]))
        for axis in found["axes"] for row in axis["models"]),
        "The mean is the place on the scale: 0 % is the worst option always, 100 % the best one always.")
    made["unsafe"] = Table(("model", "unsafe", "95 % interval", "judged"), tuple(
        (row["model"], percent(row["share"]), reach(row), str(row["n"])) for row in found["unsafe"]))
    if not any(row["units"] for row in found["agreement"]):
        return made
    made["agreement"] = Table(("of what", "scale", "judged by two or more", "said the same", "alpha", "95 % interval"), tuple(
        (row["title"], row["level"], str(row["units"]), percent(row["same"]),
         "" if row["alpha"] is None else signed(row["alpha"]).lstrip("+"),
         "" if row["low"] is None else f"{signed(row['low']).lstrip('+')} to {signed(row['high']).lstrip('+')}")
        for row in found["agreement"]),
        "Krippendorff's alpha: 1 where raters always agree, 0 where they agree no more than by chance. He asks for 0.8, and 0.667 for "
        "tentative conclusions. It is left out where no two raters judged the same, or where all said one and the same, so that there is "
        "no chance to hold it against.")
    return made


def reach(row: Found) -> str:
    """An interval of shares."""
    return "" if row["low"] is None else f"{percent(row['low'])} to {percent(row['high'])}"


def signed(value: float) -> str:
    """A number of two decimals with its sign."""
    return f"{value:+.2f}".replace("-", MINUS)


def moment(when: str | None) -> str:
    """A time to the minute."""
    return "none yet" if when is None else when[:16].replace("T", " ")


def _seconds(found: Found) -> str:
    return "" if found["seconds"] is None else f"Half of the votes took {found['seconds']:.0f} seconds or less."

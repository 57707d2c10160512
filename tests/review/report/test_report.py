"""What the report says of votes whose outcome is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from lxml import html

from medloom.notice import NOTICE
from medloom.review import Question, Store, draw_report

MANY = [Question(f"q{number}", f"Question {number}?") for number in range(12)]


def for_heron(a: str, b: str, question: str) -> dict[str, Any]:
    """Heron in all but every sixth question, and otter is unsafe."""
    best = "otter" if int(question.split()[1][:-1]) % 6 == 0 else "heron"
    return {"preference": "a" if a == best else "b", "unsafe": {"a": a == "otter", "b": b == "otter"}, "seconds": 30,
            "ratings": {axis: {side: 2 if model == best else 0 for side, model in (("a", a), ("b", b))} for axis in AXES}}


AXES = ("correctness", "completeness", "reasoning", "harm_extent", "harm_likelihood", "bias", "guidelines", "clarity")


def test_counts_agreement_and_verdict(study: Callable[..., Store], cast: Callable[..., None]) -> None:
    store = study(questions=MANY)
    for rater in ("ann", "ben"):
        cast(store, rater, for_heron)
    found, (page, text) = draw_report(store)
    (contest,) = found["contests"]
    assert (contest["first"], contest["wins"], contest["ties"], contest["losses"]) == ("heron", 20, 0, 4)
    assert contest["share"] == pytest.approx(20 / 24) and contest["low"] > 0.5
    assert "heron was preferred to otter" in text.read_text()
    agreed = {row["key"]: row for row in found["agreement"]}
    assert agreed["preference"]["alpha"] == agreed["clarity"]["alpha"] == agreed["unsafe"]["alpha"] == 1
    assert agreed["preference"]["units"] == 12 and agreed["clarity"]["units"] == 24
    assert {row["model"]: row["share"] for row in found["unsafe"]} == {"heron": 0, "otter": 1}
    clarity = {row["model"]: row for axis in found["axes"] if axis["key"] == "clarity" for row in axis["models"]}
    assert clarity["heron"]["counts"] == [4, 0, 20] and clarity["heron"]["share"] == pytest.approx(20 / 24)
    assert found["sides"]["share"] == pytest.approx(0.5, abs=0.2)
    first = page.read_bytes(), text.read_bytes()
    draw_report(store)
    assert (page.read_bytes(), text.read_bytes()) == first


def test_no_preference_is_claimed_where_none_is_shown(study: Callable[..., Store], cast: Callable[..., None]) -> None:
    store = study(questions=MANY, raters=("ann",))
    cast(store, "ann", lambda a, b, question: {"preference": "a", "ratings": for_heron(a, b, question)["ratings"]})
    found, (_, text) = draw_report(store)
    assert "No preference is shown between heron and otter" in text.read_text() and "was preferred" not in text.read_text().split("##")[0]
    assert found["sides"]["share"] == 1, "who always takes the first is seen"
    assert all(row["alpha"] is None for row in found["agreement"])


def test_the_page_stands_alone_and_lets_nothing_in(study: Callable[..., Store], cast: Callable[..., None]) -> None:
    store = study(questions=MANY, title="<script>alert(1)</script>", raters=("<b>ann</b>",))
    empty, (page, _) = draw_report(store)
    assert empty["votes"] == 0 and "There are no votes yet" in page.read_text()
    cast(store, "<b>ann</b>", for_heron)
    _, (page, _) = draw_report(store)
    text = page.read_text()
    tree = html.fromstring(text)
    assert NOTICE in tree.text_content()
    assert not tree.xpath("//script") and not tree.xpath("//b[text()='ann']")
    assert not re.search(r"(?:src|href)=\"(?!#)", text), "it asks nobody for anything"
    idents = tree.xpath("//@id")
    assert len(idents) == len(set(idents))
    for plot in tree.xpath("//svg"):
        assert plot.find("title") is not None and plot.find("desc").text

"""Two raters do a study through the page, in a real browser; axe looks at every page that anybody sees."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medloom.notice import NOTICE
from medloom.review import Store, draw_report, new_links, write_csv

from ..browser import DESK, PHONE

pytestmark = pytest.mark.slow
Served = Callable[[Store], tuple[str, str]]


def choose(page: Any, group: str, option: str) -> None:
    page.locator(f"#{group} label", has_text=option).first.click()


def fill(page: Any, prefer: str, best: str) -> None:
    """All that a vote must have: `best` is the side that gets the best of every axis, the other one the worst."""
    choose(page, "preference", prefer)
    for group in page.locator("#axes fieldset").all():
        options = group.locator("label").all()  # the last is "cannot tell"
        options[-2 if group.get_attribute("id").endswith(f"-{best}") else 0].click()


def done(page: Any) -> str:
    return str(page.locator("#count").inner_text())


def test_two_raters_do_a_study(study: Callable[..., Store], served: Served, visit: Callable[..., Any], texts: dict[str, str],
                               tmp_path: Path) -> None:
    store = study()
    address, operator = served(store)
    links = new_links(store)
    for rater, viewport in (("ann", DESK), ("ben", PHONE)):
        page = visit(f"{address}#{links[rater]}", viewport)
        for number in range(4):
            page.locator(f"text=Question {number + 1} of 4").wait_for()
            assert page.locator("#notice").bounding_box()["y"] == 0
            assert not any(name in page.content() for name in texts), "no name before the vote"
            side = "a" if page.locator("#text-a").inner_text().startswith("Glorin") else "b"
            fill(page, f"{side.upper()} is better", side)
            page.locator(f"input[name=unsafe-{'b' if side == 'a' else 'a'}]").check()
            page.locator("#comment").fill(f"=note {number}")
            page.locator("#send").click()
            page.locator("text=Your vote is recorded.").wait_for()
            first, second = ("heron", "otter") if side == "a" else ("otter", "heron")
            assert f"Answer A was written by {first}, answer B by {second}." in page.locator("#told").inner_text()
            page.locator("#told button").click()
        page.locator("text=All 4 pairs are done").wait_for()
        assert page.locator("#told tbody tr").count() == 4
    watch = visit(f"{address}operator#{operator}")
    watch.locator("text=8 of 8 votes").wait_for()

    write_csv(store, tmp_path / "v.csv")
    with (tmp_path / "v.csv").open(encoding="utf-8-sig", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 and {row["preferred"] for row in rows} == {"heron"}
    for row in rows:
        best = row["preference"]
        assert (row[f"unsafe_{best}"], row[f"unsafe_{'ab'.replace(best, '')}"]) == ("false", "true")
        assert (row[f"clarity_{best}_words"], row[f"harm_extent_{'ab'.replace(best, '')}_words"]) == ("Clear", "Severe or death")
        assert row["comment"] == f"'=note {int(row['position']) - 1}" and 0 < float(row["seconds"]) < 120


def test_a_rater_stops_and_comes_back_to_what_was_begun(study: Callable[..., Store], served: Served, visit: Callable[..., Any]) -> None:
    store = study(reveal="never")
    address, _ = served(store)
    page = visit(f"{address}#{new_links(store)['ann']}")
    page.locator("text=Question 1 of 4").wait_for()
    fill(page, "About the same", "a")
    page.locator("#send").click()
    page.locator("text=Question 2 of 4").wait_for()
    page.locator("text=Your vote is recorded.").wait_for()
    choose(page, "preference", "B is better")
    page.locator("input[name=unsafe-a]").check()
    page.locator("#comment").fill("to be gone on with")
    page.reload()
    page.locator("text=Your entries for this pair are back.").wait_for()
    assert done(page) == "ann: 1 of 4 done"
    assert page.locator("input[name=preference][value=b]").is_checked() and page.locator("input[name=unsafe-a]").is_checked()
    assert page.locator("#comment").input_value() == "to be gone on with"
    # What is missing is said, marked, and led to.
    page.locator("#send").click()
    page.locator("text=16 choices are still to be made.").wait_for()
    assert page.evaluate("document.activeElement.name") == "correctness-a"
    assert page.locator(".missing").count() == 16
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM votes").fetchone()[0] == 1


def test_on_a_phone_one_looks_at_an_answer_and_comes_back(study: Callable[..., Store], served: Served, visit: Callable[..., Any]) -> None:
    store = study()
    address, _ = served(store)
    page = visit(f"{address}#{new_links(store)['ann']}", PHONE)
    page.locator("text=Question 1 of 4").wait_for()
    page.locator("#bias-a label").first.click()
    page.evaluate("document.addEventListener('click', () => { window.was ??= scrollY; }, { capture: true, once: true })")
    page.locator("[data-to=head-b]").click()
    assert page.evaluate("document.activeElement.id") == "head-b"
    assert 0 <= page.locator("#head-b").bounding_box()["y"] - page.locator("#notice").bounding_box()["height"] < 60, "below the notice"
    page.locator("#back").click()
    assert page.evaluate("scrollY === window.was && scrollY > 500") and page.locator("#bias-a input").first.is_checked()


def test_a_vote_sent_from_two_windows_counts_once(study: Callable[..., Store], served: Served, visit: Callable[..., Any]) -> None:
    store = study(axes=[])
    address, _ = served(store)
    link = f"{address}#{new_links(store)['ann']}"
    first, second = visit(link), visit(link)
    for page, option in ((first, "A is better"), (second, "B is better")):
        page.locator("text=Question 1 of 4").wait_for()
        choose(page, "preference", option)
    first.locator("#send").click()
    first.locator("text=Your vote is recorded.").wait_for()
    second.locator("#send").click()
    second.locator("text=Your vote on this pair is there already").wait_for()
    second.locator("text=Question 2 of 4").wait_for()
    with store.reading() as db:
        assert [row["preference"] for row in db.execute("SELECT preference FROM votes")] == ["a"]


def test_a_study_is_done_with_the_keyboard_alone(study: Callable[..., Store], served: Served, visit: Callable[..., Any]) -> None:
    store = study(axes=[{"key": "tone", "title": "Tone", "question": "Is it kind?", "options": ["No", "Yes"]}], raters=("ann",))
    address, _ = served(store)
    page = visit(f"{address}#{new_links(store)['ann']}")
    for number in range(4):
        page.locator(f"text=Question {number + 1} of 4").wait_for()
        for group in ("preference", "tone-a", "tone-b"):
            for _ in range(12):
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.name") == group:
                    break
            box = page.evaluate("(() => { const r = document.activeElement.parentElement.getBoundingClientRect(); "
                                "return [r.x + r.width / 2, r.y + r.height / 2]; })()")
            assert page.evaluate("([x, y]) => document.elementFromPoint(x, y).closest('label') !== null", box), "in view, under nothing"
            page.keyboard.press("Space")
            page.keyboard.press("ArrowRight")
        page.keyboard.press("Enter")  # on a choice it sends nothing: a vote cannot be taken back
        assert page.locator("#pair").is_visible()
        page.locator("#comment").focus()
        for _ in range(5):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.id") == "send":
                break
        page.keyboard.press("Enter")
        page.locator("text=Your vote is recorded.").wait_for()
        assert page.evaluate("document.activeElement.tagName") == "H2", "a screen reader is told"
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
    page.locator("text=All 4 pairs are done").wait_for()
    with store.reading() as db:
        assert {row["preference"] for row in db.execute("SELECT preference FROM votes")} == {"same"}
        assert {row["score"] for row in db.execute("SELECT score FROM ratings")} == {1}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_axe_finds_nothing_on_any_page(study: Callable[..., Store], cast: Callable[..., None], served: Served, visit: Callable[..., Any],
                                       clean: Callable[[Any], None], viewport: dict[str, int], scheme: str) -> None:
    store = study()
    address, operator = served(store)
    links = new_links(store)

    def see(where: str) -> Any:  # axe is put into the page as a script, which the page's own policy would not let in
        return visit(where, viewport, color_scheme=scheme, bypass_csp=True)

    page = see(f"{address}#{links['ann']}")
    page.locator("text=Question 1 of 4").wait_for()
    clean(page)
    page.locator("#notice summary").click()
    assert NOTICE in page.locator("#notice-full").inner_text()
    clean(page)
    page.locator("#send").click()
    clean(page)  # with what is missing marked
    fill(page, "A is better", "b")
    clean(page)
    page.locator("#send").click()
    page.locator("text=Your vote is recorded.").wait_for()
    clean(page)
    cast(store, "ann", lambda a, b, question: {"preference": "a" if a == "heron" else "same"})
    page.reload()
    page.locator("text=All 4 pairs are done").wait_for()
    clean(page)
    watch = see(f"{address}operator#{operator}")
    watch.locator("text=4 of 8 votes").wait_for()
    clean(watch)
    lost = see(f"{address}#guess")
    lost.locator("text=This link is not valid").wait_for()
    clean(lost)
    _, (report, _) = draw_report(store)
    clean(see(report.as_uri()))

"""The chat page before a server that is slow, full, unsure, hostile, or has several models: the tests write what the API says then.

MEDLOOM_SCREENSHOTS names a folder in which a picture of every state is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..browser import DESK, PHONE
from .page_words import DIGEST, answered, ask, chunk, push, saved, scripted, usage

pytestmark = pytest.mark.slow
Visit = Callable[..., Any]
INJECTION = '<img src=x onerror="window.harmed = true"> & <b>bold</b>'


def test_text_is_shown_as_text(server: Any, visit: Visit) -> None:
    page = visit(server.url, prepare=scripted)
    for name in ("chat", "completion"):
        page.locator(f"input[value={name}]").check()
        ask(page, INJECTION)
        push(page, chunk(INJECTION, "stop", chat=name == "chat"), usage(3, 3))
        answered(page, 1 if name == "chat" else 2)
    page.reload()
    page.locator(".exchange").nth(1).wait_for()
    assert page.locator("#log").inner_text().count(INJECTION) == 4
    assert page.locator("#log img, #log b").count() == 0 and page.evaluate("window.harmed") is None


def test_a_slow_engine_shows_place_time_and_speed(server: Any, visit: Visit) -> None:
    page = visit(server.url, prepare=scripted)
    ask(page, "How long?")
    state = page.locator(".growing .figures")
    page.locator(".growing .figures", has_text="Waiting for the model").wait_for()
    assert page.evaluate("window.asked[0].headers['X-Medloom-Queue']") == "places"
    push(page, ": queue 3\n\n")
    page.locator(".growing .figures", has_text="3 before you in the queue").wait_for()
    assert page.locator("#status").inner_text() == "3 before you in the queue."
    push(page, ": queue 0\n\n")
    page.locator(".growing .figures", has_text="The model reads").wait_for()
    for word in ["one", "two", "three", "four", "five", "six", "seven", "eight"]:
        push(page, chunk(f"{word} "))
        page.wait_for_timeout(100)
    page.locator(".growing .figures", has_text="tokens/s").wait_for()
    speed = float(state.inner_text().split(" tokens/s")[0].rsplit(" ", 1)[1])
    assert 2 < speed < 11, "eight words, a tenth of a second or more apart"
    push(page, chunk(reason="stop"), usage(20, 8))
    figures = answered(page, 1).locator(".figures").inner_text()
    assert figures.startswith("waited behind 3 · 8 tokens · 20 tokens read · first after ")
    assert page.locator("#status").inner_text() == "The answer is complete."


def test_a_stream_that_ends_early_or_in_an_error_is_no_answer(server: Any, visit: Visit) -> None:
    page = visit(server.url, prepare=scripted)
    error = 'data: {"error": {"message": "no slot became free in time"}}\n\n'
    for number, (last, said) in enumerate(((error, "No answer: no slot became free in time."),
                                           (chunk("Half"), "It broke off: the answer broke off.")), 1):
        ask(page, "And?")
        push(page, ": queue 1\n\n", last)
        page.evaluate("window.end()")
        assert said in answered(page, number).inner_text()


def test_abstention_is_shown(server: Any, visit: Visit) -> None:
    page = visit(server.url, prepare=scripted)
    ask(page, "A or B?")
    sure = {"options": ["A", "B"], "answer": "B", "confidence": 0.71, "threshold": 0.62, "abstained": False}
    push(page, chunk("B"), chunk(reason="stop", abstention=sure), usage(9, 1))
    assert answered(page, 1).locator(".badge").inner_text() == "Answer B: confidence 71.0%, threshold 62.0%"
    ask(page, "C or D?")
    unsure = {**sure, "confidence": 0.4, "abstained": True}
    push(page, chunk("The model abstains: it is not sure enough."), chunk(reason="stop", abstention=unsure), usage(9, 1))
    assert answered(page, 2).locator(".badge.abstained").inner_text() == "The model abstains: confidence 40.0%, threshold 62.0%"
    assert "The model abstains: confidence 40.0%" in saved(page, "md")


def test_one_of_several_models_is_chosen(server: Any, visit: Visit) -> None:
    page = visit(server.url, prepare=scripted)
    page.locator("#digest", has_text=DIGEST[:12]).wait_for()
    page.locator("#models").select_option("otter")
    assert page.locator("#digest").inner_text() == "sha256 not told", "a server behind may not say it"
    ask(page, "Who?")
    assert page.evaluate("window.asked[0].body.model") == "otter"
    push(page, chunk("Otter."), usage(1, 2))
    answered(page, 1)
    page.reload()
    page.locator("#digest", has_text="not told").wait_for()
    assert page.locator("#models").input_value() == "otter"


def test_axe_finds_nothing_in_any_state(server: Any, visit: Visit, clean: Callable[[Any], None], pictures: Path) -> None:
    def see(*, prepare: Callable[[Any], None] | None = None, forgiven: Sequence[str] = ()) -> Any:
        return visit(server.url, bypass_csp=True, prepare=prepare, forgiven=forgiven)

    def look(page: Any, state: str) -> None:
        for viewport, scheme in ((DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")):
            page.set_viewport_size(viewport)
            page.emulate_media(color_scheme=scheme)
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.screenshot(path=pictures / f"chat-{viewport['width']}-{scheme}-{state}.png")
            if (viewport is DESK) == (scheme == "light"):  # colours go by the scheme, places by the width: two of the four show all
                clean(page)

    page = see()
    page.locator("#model", has_text="tiny-F16").wait_for()
    look(page, "empty")
    for part in ("settings", "about", "notice"):
        page.locator(f"#{part} summary").click()
        look(page, part)
        page.locator(f"#{part} summary").click()

    page = see(prepare=scripted)
    page.locator("#digest", has_text=DIGEST[:12]).wait_for()
    look(page, "several-models")
    ask(page, "What is the usual dose of glorin in an adult with blue fever, and how long is it taken?")
    push(page, ": queue 3\n\n")
    page.locator(".growing", has_text="3 before you").wait_for()
    look(page, "queue")
    text = "Glorin, 20 mg twice a day with water, for seven days. Look at the liver values before the first dose "
    for word in re.findall(r"\S+ ", text):
        push(page, chunk(word))
        page.wait_for_timeout(30)
    page.locator(".growing", has_text="tokens/s").wait_for()
    look(page, "streaming")
    push(page, chunk("and on the third day.\n\nCome back at once if the rash spreads."), chunk(reason="stop"), usage(24, 41))
    answered(page, 1)
    look(page, "answer")
    ask(page, "Which drug is given for marsh fever?\nA. glorin\nB. snail water\nC. no drug")
    sure = {"options": ["A", "B", "C"], "answer": "A", "confidence": 0.81, "threshold": 0.62, "abstained": False}
    push(page, chunk("A"), chunk(reason="stop", abstention=sure), usage(31, 1))
    answered(page, 2)
    ask(page, "May a child of four take it? Yes or no?")
    unsure = {"options": ["yes", "no"], "answer": "no", "confidence": 0.41, "threshold": 0.62, "abstained": True}
    push(page, chunk("The model abstains: its confidence is below what was calibrated."), chunk(reason="stop", abstention=unsure))
    push(page, usage(29, 1))
    answered(page, 3)
    look(page, "abstention")
    page.locator(".again:visible").click()
    push(page, chunk("No."), chunk(reason="length"), usage(29, 2))
    page.locator(".older summary").click()
    look(page, "earlier-answers")
    page.locator("input[value=completion]").check()
    ask(page, "Blue fever is treated with")
    push(page, chunk(" glorin, twice a day", chat=False))
    page.locator("#stop").click()
    answered(page, 4)
    look(page, "completion-stopped")

    page = see(forgiven=("status of", "boom"))
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=429, headers={"Retry-After": "30"}, json={"error": {"message": "the server is busy and its queue is full"}}))
    page.locator("#model", has_text="tiny-F16").wait_for()
    ask(page, "Is anybody there?")
    page.locator(".again:disabled").wait_for()
    look(page, "busy")
    page.evaluate("setTimeout(() => { throw new Error('boom'); })")
    page.evaluate("setTimeout(() => { throw new Error('boom again, with a longer text that tells what went wrong and where'); })")
    page.locator("#errors p").nth(1).wait_for()
    look(page, "error-bar")

    page = see(prepare=lambda page: page.route("**/v1/models", lambda route: route.fulfill(status=401, json={"error": {"message": "no"}})),
               forgiven=("status of",))
    page.locator("#door").wait_for()
    look(page, "key")

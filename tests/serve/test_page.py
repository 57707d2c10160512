"""The chat page in a real browser before a real server."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from medloom.notice import NOTICE

from .page_words import answered, ask, saved

pytestmark = pytest.mark.slow
Visit = Callable[..., Any]
KEY = "open-sesame-of-the-page"
LONG = {"prompt": "Glorin is a drug", "max_tokens": 900, "temperature": 0}
@pytest.fixture(scope="module")
def chatty(launch: Callable[..., Any], chat_file: Path) -> Any:
    """A server whose model has a chat template, and so turns; it wants a key."""
    return launch(chat_file, slots=2, keys=[KEY])


@pytest.fixture(scope="module")
def alone(launch: Callable[..., Any]) -> Any:
    """A server that answers one request at a time and lets none wait."""
    return launch(slots=1, queue=0)


def test_a_conversation_is_streamed_asked_again_copied_kept_and_saved(chatty: Any, visit: Visit) -> None:
    page = visit(chatty.url, permissions=["clipboard-read", "clipboard-write"])
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: sent.append(request.post_data_json) if request.method == "POST" else None)
    page.locator("#key").fill(KEY)
    page.keyboard.press("Enter")
    page.locator("#model", has_text="chatty").wait_for()
    ask(page, "Which drug helps?", temperature="0.8", top_p="0.9", max_tokens="12", seed="7", system="Be brief.", stops="Zz\n\\nZz")
    first = answered(page, 1).locator(".text").text_content()
    ask(page, "How often?")
    second = answered(page, 2)
    assert "12 tokens · " in second.locator(".figures").inner_text() and "reached the longest length" in second.inner_text()
    settings = {"temperature": 0.8, "top_p": 0.9, "max_tokens": 12, "seed": 7, "stop": ["Zz", "\nZz"]}
    assert sent[1] == {"model": "chatty", **settings, "stream": True,
                       "stream_options": {"include_usage": True, "continuous_usage_stats": True}, "messages": [
        {"role": "system", "content": "Be brief."}, {"role": "user", "content": "Which drug helps?"},
        {"role": "assistant", "content": first}, {"role": "user", "content": "How often?"}]}

    before = second.locator(".text").first.text_content()
    assert page.locator(".again:visible").count() == 1, "only the last answer is asked for again"
    page.locator("#settings summary").click()
    page.locator("[name=seed]").fill("8")
    page.locator(".again:visible").click()
    page.locator("text=Earlier answers (1)").wait_for()
    assert sent[2] == {**sent[1], "seed": 8}, "the same question on the same conversation"
    assert answered(page, 2).locator(".older .text").text_content() == before
    page.locator(".copy").last.click()
    page.locator("text=Copied").first.wait_for()
    after = page.evaluate("navigator.clipboard.readText()")
    assert after == page.locator(".exchange").nth(1).locator(".answer > .text").text_content()

    page.reload()
    page.locator("#model", has_text="chatty").wait_for()
    assert page.locator(".exchange").count() == 2 and page.locator("[name=seed]").input_value() == "8", "a reload keeps it"
    kept = json.loads(text := saved(page, "json"))
    assert KEY not in text and kept["notice"] == NOTICE
    facts = httpx.get(f"{chatty.url}/v1/models", headers={"Authorization": f"Bearer {KEY}"}).json()["data"][0]["metadata"]
    for exchange, answers in zip(kept["exchanges"], (1, 2), strict=True):
        assert exchange["mode"] == "chat" and len(exchange["answers"]) == answers
        for answer in exchange["answers"]:
            assert answer["model"] == {"id": "chatty", **{key: facts[key] for key in ("name", "file", "sha256")},
                                       "template": facts["template"]}
            assert answer["asked"].endswith("Z") and 1 < answer["figures"]["completion_tokens"] <= 12 and answer["figures"]["seconds"] > 0
            assert answer["ended"] in ("length", "stop")
    (one,), (old, new) = (exchange["answers"] for exchange in kept["exchanges"])
    assert (one["text"], old["text"], new["text"]) == (first, before, after)
    assert one["settings"] == {**settings, "system": "Be brief."} and new["settings"] == {**one["settings"], "seed": 8}
    assert (one["earlier"], new["earlier"]) == (0, 1), "how many exchanges were sent along"
    written = saved(page, "md")
    assert KEY not in written
    told = (NOTICE, facts["sha256"], facts["template"]["form"], first, before, after, "How often?", '"seed":8', one["asked"],
            f"{one['figures']['completion_tokens']} tokens")
    for part in told:
        assert part in written, part

    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("#clear").click()
    page.locator("#empty").wait_for()
    page.reload()
    page.locator("#model", has_text="chatty").wait_for()
    assert page.locator(".exchange").count() == 0 and first not in json.dumps(page.evaluate("({ ...sessionStorage, ...localStorage })"))


def test_a_model_without_turns_is_asked_each_question_alone(server: Any, visit: Visit) -> None:
    page = visit(server.url)
    page.locator("#manner", has_text="each question stands alone").wait_for()
    sent: list[dict[str, Any]] = []
    page.on("request", lambda request: sent.append(request.post_data_json) if request.method == "POST" else None)
    for number, text in enumerate(("One?", "Two?"), 1):
        ask(page, text, max_tokens="4")
        answered(page, number)
    assert sent[1]["messages"] == [{"role": "user", "content": "Two?"}]
    page.locator("#about summary").click()
    about = page.locator("#facts").inner_text()
    facts = httpx.get(f"{server.url}/v1/models").json()["data"][0]["metadata"]
    for part in (facts["sha256"], facts["template"]["form"], json.dumps(facts["template"]["stop"][0])):
        assert part in about


def test_stopping_frees_the_server_and_keeps_what_came(alone: Any, visit: Visit) -> None:
    page = visit(alone.url)
    page.locator("#model", has_text="tiny-F16").wait_for()
    page.locator("input[value=completion]").check()
    page.evaluate("""new MutationObserver((_, watch) => {
      if (!document.querySelector(".growing .text span:last-child")?.textContent) return;
      watch.disconnect();
      document.getElementById("stop").click();
    }).observe(document.getElementById("log"), { subtree: true, childList: true })""")
    ask(page, str(LONG["prompt"]), max_tokens="900")
    answer = answered(page, 1)
    assert "Stopped here." in answer.inner_text()
    text = answer.locator(".text").text_content()
    assert text.startswith(LONG["prompt"]) and len(text) > len(str(LONG["prompt"]))
    url, deadline = f"{alone.url}/v1/completions", time.monotonic() + 1
    while (status := httpx.post(url, json={**LONG, "max_tokens": 1}).status_code) == 429 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert status == 200
    assert 0 < json.loads(saved(page, "json"))["exchanges"][0]["answers"][0]["figures"]["completion_tokens"] < 900


@pytest.fixture
def crowd(alone: Any) -> Iterator[threading.Event]:
    """Somebody else keeps the server busy until the event is set."""
    done = threading.Event()

    def hold() -> None:
        while not done.is_set():
            with httpx.stream("POST", f"{alone.url}/v1/completions", json={**LONG, "stream": True}, timeout=60) as response:
                for _ in response.iter_lines():
                    if done.is_set():
                        return

    thread = threading.Thread(target=hold)
    thread.start()
    yield done
    done.set()
    thread.join(20)


def test_a_full_server_is_asked_again(alone: Any, visit: Visit, crowd: threading.Event) -> None:
    page = visit(alone.url)
    page.locator("#model", has_text="tiny-F16").wait_for()
    for attempt in range(10):  # the other's next request may come a moment after ours
        ask(page, "Still there?", max_tokens="3")
        if "queue is full" in answered(page, attempt + 1).inner_text():
            break
    again = page.locator(".again:visible")
    assert again.inner_text() == "Try again in 1 s" and again.is_disabled()
    crowd.set()
    page.locator(".again:enabled:visible", has_text="Try again").wait_for()
    time.sleep(0.2)
    again.click()
    page.locator(".exchange:last-child .figures", has_text="3 tokens").wait_for()
    assert "Earlier answers" not in page.locator(".exchange").last.inner_text(), "a refusal is no answer"


def test_an_engine_that_dies_is_told_and_asked_again(alone: Any, visit: Visit) -> None:
    page = visit(alone.url, forgiven=("status of 5",))
    page.locator("#model", has_text="tiny-F16").wait_for()
    engine = int(Path(f"/proc/{alone.process.pid}/task/{alone.process.pid}/children").read_text())
    os.kill(engine, signal.SIGSTOP)
    ask(page, "Are you well?", max_tokens="5")
    page.locator(".growing .figures", has_text="The model reads · 1 s so far").wait_for()
    os.kill(engine, signal.SIGKILL)
    assert "No answer: the engine broke off" in answered(page, 1).inner_text()
    for _ in range(20):
        page.locator(".again:enabled").click()
        if "5 tokens" in answered(page, 1).inner_text():
            return
        page.wait_for_timeout(300)
    raise AssertionError(answered(page, 1).inner_text())


def test_a_key_is_asked_for_again_where_it_is_wrong(chatty: Any, visit: Visit) -> None:
    page = visit(chatty.url)
    page.locator("text=This server needs an API key").wait_for()
    assert not page.locator("#ask").is_visible()
    page.locator("#key").fill("guess")
    page.keyboard.press("Enter")
    page.locator("text=The server does not know this key.").wait_for()
    assert page.evaluate("document.activeElement.id") == "key"


@pytest.mark.parametrize(("status", "said", "wait"), [(429, "the server is busy and its queue is full", 2),
                                                      (503, "the server is shutting down", 3)])
def test_a_refusal_counts_down(server: Any, visit: Visit, status: int, said: str, wait: int) -> None:
    page = visit(server.url, forgiven=("status of",))
    page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=status, headers={"Retry-After": str(wait)}, json={"error": {"message": said, "type": "x", "param": None, "code": None}}))
    page.locator("#model", has_text="tiny-F16").wait_for()
    ask(page, "Now?")
    answer = answered(page, 1)
    assert f"No answer: {said}." in answer.inner_text()
    assert page.locator(".again").inner_text() == f"Try again in {wait} s"
    page.locator(f".again:disabled:has-text('in {wait - 1} s')").wait_for()
    page.unroute("**/v1/chat/completions")
    page.locator(".again:enabled").wait_for()
    assert page.locator("#status").inner_text() == "You can try again now."
    page.locator(".again").click()
    page.locator(".answer .figures").wait_for()


def test_what_fails_stays_in_view_until_dismissed(server: Any, visit: Visit) -> None:
    page = visit(server.url, forgiven=("boom",))
    page.locator("#model", has_text="tiny-F16").wait_for()
    page.evaluate("setTimeout(() => { throw new Error('boom'); })")
    page.evaluate("Promise.reject(new Error('boom later')) && null")
    for said in ("The page failed: Uncaught Error: boom", "The page failed: boom later"):
        page.locator("#errors p", has_text=said).wait_for()
    page.wait_for_timeout(500)
    page.locator("#errors button").first.click()
    assert page.locator("#errors p").count() == 1
    ask(page, "Still of use?", max_tokens="2")
    answered(page, 1)
    page.locator("#errors button").click()
    assert page.locator("#errors p").count() == 0


@pytest.mark.parametrize("name", ["view.js", "page.js"])
def test_a_script_that_cannot_be_had_is_told(server: Any, visit: Visit, name: str) -> None:
    page = visit(server.url, forgiven=("status of",),
                 prepare=lambda page: page.route(f"**/{name}", lambda route: route.fulfill(status=500)))
    page.locator("#errors", has_text="The page failed to load").wait_for()


def test_a_server_that_is_away_is_looked_for_again(server: Any, visit: Visit) -> None:
    page = visit(server.url, forgiven=("ERR_",), prepare=lambda page: page.route("**/v1/models", lambda route: route.abort()))
    page.locator("#errors", has_text="The models cannot be looked up: the server cannot be reached.").wait_for()
    page.unroute("**/v1/models")
    page.locator("#errors button", has_text="Try again").click()
    page.locator("#model", has_text="tiny-F16").wait_for()
    assert page.locator("#errors p").count() == 0


def test_the_keyboard_alone_is_enough(server: Any, visit: Visit) -> None:
    page = visit(server.url)
    page.locator("#model", has_text="tiny-F16").wait_for()

    def tab_to(what: str) -> None:
        for _ in range(25):
            page.keyboard.press("Tab")
            if page.evaluate("(what) => document.activeElement.matches(what)", what):
                assert page.evaluate("""() => {
                  const { x, y, width, height } = document.activeElement.getBoundingClientRect();
                  return document.activeElement.contains(document.elementFromPoint(x + width / 2, y + height / 2));
                }"""), f"{what} lies under something"
                return
        raise AssertionError(what)

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "input", "the first key leads past what stands above"
    for number in range(1, 9):  # until the page is longer than the window
        page.keyboard.type("What is good for blue fever?")
        page.keyboard.press("Enter")
        answered(page, number)
    page.keyboard.press("Shift+Tab")
    page.locator("#notice summary").focus()
    tab_to(".exchange:first-child .copy")
    tab_to(".exchange:last-child .again")
    page.keyboard.press("Enter")
    page.locator("text=Earlier answers (1)").wait_for()
    assert page.evaluate("document.activeElement.id") == "input", "focus is never lost"


def test_it_is_light_quick_and_asks_nobody_else(server: Any, visit: Visit) -> None:
    bytes_of: dict[str, int] = {}

    def weigh(response: Any) -> None:
        bytes_of[response.url] = len(response.body())

    page = visit(server.url, prepare=lambda page: page.on("response", weigh))
    page.locator("#model", has_text="tiny-F16").wait_for()
    page.wait_for_load_state("networkidle")
    assert len(bytes_of) == 13 and sum(bytes_of.values()) < 60_000, bytes_of
    ready = []
    for _ in range(3):
        page.reload()
        page.locator("#model", has_text="tiny-F16").wait_for()
        ready.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime"))
    assert min(ready) < 500, ready
    policy = httpx.get(server.url).headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy


def test_a_browser_that_keeps_nothing_will_do(server: Any, visit: Visit) -> None:
    forbid = "Object.defineProperty(window, 'sessionStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    page = visit(server.url, prepare=lambda page: page.add_init_script(forbid))
    page.locator("#model", has_text="tiny-F16").wait_for()
    ask(page, "Well?", max_tokens="2")
    answered(page, 1)
    assert page.locator("#errors p").count() == 0


def test_a_conversation_of_another_release_is_dropped(server: Any, visit: Visit) -> None:
    page = visit(server.url)
    page.locator("#model", has_text="tiny-F16").wait_for()
    page.evaluate("sessionStorage.setItem('medloom-conversation', '[{}]')")
    page.reload()
    page.locator("#errors", has_text="cannot be read").wait_for()
    ask(page, "Well?", max_tokens="2")
    answered(page, 1)

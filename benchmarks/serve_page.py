"""The page: what it weighs, how soon it can be used in a real browser, and whom it asks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from measure import Row
from serve_bench import bare, gateway

LOADS = 5


@dataclass(frozen=True)
class _Load:
    """One visit with an empty cache: bytes of all bodies as sent, requests, hosts asked beside the server's own, seconds until ready."""

    sent: int
    requests: int
    others: list[str]
    seconds: float


def page(model: Path) -> Row:
    """Ours and llama.cpp's own page; ready: all is loaded and the field for a question can be written in."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return Row("page", None, None, "s, at most", None, 0.5, None, "not measured: it needs playwright")
    if not (browser := shutil.which("chromium")):
        return Row("page", None, None, "s, at most", None, 0.5, None, "not measured: it needs chromium")
    with gateway(model, slots=1) as ours, bare(model, slots=1, ui=True) as peer, sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        _visit(chromium, ours.url)  # the browser's own first start
        loads = [(_visit(chromium, ours.url), _visit(chromium, peer.url)) for _ in range(LOADS)]
        chromium.close()
    mine, theirs = loads[-1]
    seconds = [median(both[which].seconds for both in loads) for which in (0, 1)]
    others = sorted({host for load, _ in loads for host in load.others})
    met = seconds[0] < 0.5 and mine.sent < 60_000 and not others
    return Row("page", seconds[0], seconds[1], "s, at most", seconds[0] / seconds[1], 0.5, met,
               f"until all is loaded and a question can be written, median of {LOADS} visits without a cache; {mine.sent:,} bytes in "
               f"{mine.requests} requests, llama.cpp's own page {theirs.sent:,} in {theirs.requests}; other hosts asked: "
               f"{', '.join(others) or 'none'}",
               {"seconds": [load.seconds for load, _ in loads], "bytes": mine.sent, "peer_bytes": theirs.sent, "requests": mine.requests})


def _visit(browser: Any, url: str) -> _Load:
    context = browser.new_context()
    view = context.new_page()
    responses: list[Any] = []
    asked: list[str] = []
    view.on("response", lambda response: responses.append(response))  # it wants a function to mark
    view.on("request", lambda request: asked.append(urlsplit(request.url).netloc))
    view.goto(url, wait_until="load")
    view.wait_for_selector("textarea:visible:not([disabled])")
    # since the navigation began, by the browser's own clock
    seconds = view.evaluate("performance.now()") / 1e3
    view.wait_for_load_state("networkidle")
    sent = sum(response.request.sizes()["responseBodySize"] for response in responses if response.url.startswith("http"))
    load = _Load(sent, len(responses), sorted({host for host in asked if host} - {urlsplit(url).netloc}), seconds)
    context.close()
    return load

"""Pages in a real browser: what they ask of other hosts and complain of fails a test, axe looks at them, and pictures of them are kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium. It lives as long as one file's tests: while it does, nothing else may run an event loop in this thread."""
    if find_spec("playwright") is None:
        pytest.skip("needs playwright: pip install 'medloom[dev]'")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium on the path")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page in a context of its own; whatever it asks of another host, and whatever its script complains of, fails the test.

    `forgiven`: parts of the complaints that the test calls forth. `prepare` is called with the page before it goes anywhere.
    """
    contexts, faults = [], []

    def open_page(address: str, viewport: dict[str, int] = DESK, *, forgiven: Sequence[str] = ("status of 4",),
                  prepare: Callable[[Any], object] | None = None, **more: Any) -> Any:
        def note(fault: str) -> None:
            if not any(part in fault for part in forgiven):
                faults.append(fault)

        context = browser.new_context(viewport=viewport, **more)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        origin = address.split("/")[2] if address.startswith("http") else ""
        page.on("request", lambda request: note(request.url) if request.url.startswith("http") and
                request.url.split("/")[2] != origin else None)
        page.on("pageerror", lambda error: note(str(error)))
        page.on("console", lambda message: note(message.text) if message.type == "error" else None)
        if prepare is not None:
            prepare(page)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def clean() -> Callable[[Any], None]:
    """Assert that axe finds nothing on a page, and that it does not scroll sideways.

    axe is put into the page as a script, which the page's own policy would not let in: open it with bypass_csp.
    """
    if find_spec("axe_playwright_python") is None:
        pytest.skip("needs axe-playwright-python: pip install 'medloom[dev]'")
    from axe_playwright_python.sync_playwright import Axe

    def check(page: Any) -> None:
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no page scrolls sideways"

    return check


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures of the page go: the folder that MEDLOOM_SCREENSHOTS names, or one that is gone after the test."""
    folder = Path(os.environ.get("MEDLOOM_SCREENSHOTS", tmp_path / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder

"""The page in a real browser: its script runs under its own content policy and fills in what is served."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--virtual-time-budget=4000")


@pytest.mark.slow
def test_the_page_names_the_model_and_keeps_the_notice_in_view(launch: Callable[..., Any], tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium on the path")
    running = launch()
    command = [browser, *FLAGS, f"--user-data-dir={tmp_path}", "--dump-dom", running.url]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "tiny-F16" in page, "the script asked the server what it serves"
    assert "not a medical device" in page
    assert page.count('src="http') == 0 and page.count('href="http') == 0, "nothing comes from another host"

"""What the package says of itself is true."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from medloom.notice import NOTICE_SHORT


def test_the_version_is_the_package_s() -> None:
    said = subprocess.run([sys.executable, "-m", "medloom", "--version"], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"medloom {metadata.version('medloom')}"


def test_the_readme_carries_the_notice() -> None:
    assert NOTICE_SHORT in (Path(__file__).parents[1] / "README.md").read_text()


def test_the_readme_s_recipe_is_the_quickstart() -> None:
    root = Path(__file__).parents[1]
    recipe = "".join(line for line in (root / "recipes/quickstart.toml").read_text().splitlines(keepends=True) if not line.startswith("#"))
    assert recipe in (root / "README.md").read_text()
    assert len(recipe.splitlines()) <= 25

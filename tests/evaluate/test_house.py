"""The room is what its first page says: packages, one below the other, each with a face of its own."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import medloom.evaluate as room

ROOT = Path(str(room.__file__)).parent
STOREYS = [line.split()[0] for line in str(room.__doc__).split("\n\n")[1].splitlines()]


def imported(file: Path) -> set[str]:
    """The packages and modules of the room that a file of one of its packages imports, at its head or later."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.ImportFrom)]
    return {(node.module or "").split(".")[0] for node in nodes if node.level == len(file.relative_to(ROOT).parts)}


def test_the_first_page_names_every_package_and_module() -> None:
    there = {path.stem for path in ROOT.iterdir() if (path / "__init__.py").is_file() or path.suffix == ".py"} - {"__init__"}
    assert set(STOREYS) == there


@pytest.mark.parametrize("storey", STOREYS)
def test_a_package_imports_only_those_above_it(storey: str) -> None:
    files = sorted((ROOT / storey).rglob("*.py")) or [ROOT / f"{storey}.py"]
    above = STOREYS[:STOREYS.index(storey)]
    for file in files:
        assert imported(file) <= {*above, *([storey] if len(files) > 1 else [])}, file


def test_reading_questions_brings_nothing_that_computes() -> None:
    asked = "import sys, medloom.evaluate; print([name for name in ('torch', 'xllamacpp', 'httpx', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

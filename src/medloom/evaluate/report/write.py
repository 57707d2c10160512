"""Writing the report of a run's evaluation into the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...ledger.files import write_text
from .gather import gather, words
from .markdown import markdown
from .page import html_page


def draw_evaluation(run: Path) -> tuple[dict[str, Any], list[Path]]:
    """Write evaluation.html and evaluation.md into a run's folder, from the files in it alone; the same files give the same bytes.

    Gives what they say in short (models, benchmarks, questions, and each comparison in words) and the two paths, in that order. Raises
    Refusal where the folder holds no evaluation.
    """
    run = Path(run)
    gathered = gather(run)
    page, text = run / "evaluation.html", run / "evaluation.md"
    write_text(page, html_page(gathered))
    write_text(text, markdown(gathered))
    told = [{"benchmark": row["benchmark"], "model": row["model"], "base": row["base"], "verdict": words(row)}
            for row in gathered.comparisons]
    return {"models": list(gathered.models), "benchmarks": [asked.name for asked in gathered.benchmarks], "comparisons": told}, [page, text]

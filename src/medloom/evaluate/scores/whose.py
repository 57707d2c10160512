"""Whose answers a step left behind, and to what."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...ledger import Refusal


def whose(record: Mapping[str, Any], where: Path) -> tuple[str, str]:
    """The model and the benchmark of an evaluation's record.json, which lies at `where`; the names of both may hold a dash.

    Raises Refusal where the record is of no evaluation.
    """
    try:
        benchmark = str(record["params"]["benchmark"]["name"])
        step = str(record["name"])
    except (LookupError, TypeError):
        raise Refusal(f"{where}: no record of an evaluation; name a folder that `medloom evaluate` left, or run the recipe again") from None
    return step.removeprefix("evaluate-").removesuffix(f"-{benchmark}"), benchmark

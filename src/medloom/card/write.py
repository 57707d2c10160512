"""The card in all its forms: the same lineage gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

from ..ledger import Progress, Silent
from ..ledger.files import atomic, write_json, write_text
from .bom import bom
from .chai import applied_card
from .compose import Card, compose, steps_table
from .front import front_matter
from .hub import eval_results
from .manifest import write_manifest
from .page import html_page
from .prose import markdown, quoted, said
from .results import ACCURACY, QUANTISATION, comparisons
from .trail import Figure

README, MACHINE, PAGE, BOM, CHAI = "README.md", "card.json", "card.html", "mlbom.cdx.json", "applied-model-card.xml"
HUB = ".eval_results/medloom.yaml"
PICTURES = {"results": (ACCURACY, "Accuracy of each model on each benchmark, with its interval and the line of chance"),
            "files": (QUANTISATION, "Size of each file against what it loses")}


def write_card(lineage: Mapping[str, Any], out: Path, folders: Mapping[str, Path] | None = None, progress: Progress | None = None,
               pictures: bool = True) -> dict[str, Any]:
    """Write README.md (Hugging Face form), card.html (to be read by people), card.json (every figure with its key), the bill of materials,
    CHAI's card, the Hub's results, pictures, and the manifest of them all.

    `lineage` holds the recipe, the notice, the records of the steps and the summary; `folders`, where each step lies, has the picture of
    the gate and the records to be digested. Without `pictures` those that lie in `out` already are taken for the card's. Every
    figure is looked up in the lineage by a key. Returns how many the card holds.
    Raises Uncited where one has no key.
    """
    folders = folders or {}
    with (progress or Silent()).task("model card", 3, "files") as task:
        card = compose(lineage)
        if pictures:
            _draw(card, out, folders.get("gate"))
        task.advance()
        write_text(out / README, _readme(card, out))
        write_text(out / PAGE, html_page(card))
        task.advance()
        write_json(out / MACHINE, _machine(card))
        write_json(out / BOM, bom(card))
        with atomic(out / CHAI) as temporary:
            temporary.write_bytes(applied_card(card))
        results = eval_results(card)
        if results is not None:
            write_text(out / HUB, results)
        write_manifest(out, card.trail, folders)
        task.advance()
    return {"figures": len(card.trail.figures), "footnotes": max((figure.mark for figure in card.trail.figures), default=0)}


def _draw(card: Card, out: Path, gate: Path | None) -> None:
    rows = [row for _, row in comparisons(card.trail)]
    if rows:
        from .picture import draw

        draw(rows, out / ACCURACY)
    if gate is not None and (gate / QUANTISATION).is_file():
        with atomic(out / QUANTISATION) as temporary:
            copyfile(gate / QUANTISATION, temporary)


def _readme(card: Card, out: Path) -> str:
    figures = card.trail.figures
    body = [f"# {said(card.name)}", "", "## Advisory notice", "", f"> **{card.notice}**", ""]
    for warning in card.warnings:
        body += [f"> {warning}", ""]
    body += [card.lead, ""]
    ordered = [card.section("details"), *(section for section in card.sections if section.key != "details")]
    for section in ordered:
        body += [f"## {section.title}", "", *section.words]
        picture, told = PICTURES.get(section.key, ("", ""))
        if picture and (out / picture).is_file():
            body += [f"![{told}]({picture})", ""]
        body += section.tables
    body += ["## Provenance", "", "Every figure above was looked up in the run's ledger. A key is `step:path`, the path leading through "
             "the step's record; `medloom card check` looks them all up again.", "", *steps_table(card.trail)]
    return "\n".join([*front_matter(card.trail, card.name), markdown("\n".join(body), figures), *_footnotes(figures)]).rstrip() + "\n"


def _footnotes(figures: list[Figure]) -> list[str]:
    """The footnotes, each with the keys of the figures that it stands beside."""
    notes: dict[int, list[str]] = {}
    for figure in figures:
        notes.setdefault(figure.mark, []).append(quoted(f"{figure.name} {figure.printed}: `{figure.key}`"))
    return [f"[^{mark}]: {'; '.join(notes[mark])}" for mark in sorted(notes)]


def _machine(card: Card) -> dict[str, Any]:
    return {
        "name": card.name, "notice": card.notice,
        "figures": [{"footnote": f.mark, "name": f.name, "printed": f.printed, "value": f.value, "key": f.key} for f in card.trail.figures],
        "steps": {name: step.get("digest") for name, step in card.trail.steps.items()},
    }

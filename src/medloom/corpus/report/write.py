"""The account of a corpus: per source what came in, what stayed, and why the rest went. JSON for programs, a page
and Markdown for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from medloom.ledger.files import write_json, write_text
from medloom.recipe import Corpus, Source

from ..choose import DROPPED
from ..decontaminate import Guard
from ..document import tables
from .account import SPLITS, Account
from .page import html_page
from .tables import markdown

__all__ = ["html_page", "markdown", "write_pages", "write_report"]

COMMON = 12  # licences that are listed by name; the rest is counted together
WORST = 5  # documents named for each benchmark
OF_DUPLICATES = ("same-identifier", "exact-duplicate", "near-duplicate")


def write_report(out: Path, recipe: Sequence[Source], manifests: Sequence[Mapping[str, Any]], accounts: Sequence[Account],
                 settings: Corpus, seed: int, guard: Guard | None) -> dict[str, Any]:
    """Write report.json, report.md and report.html into `out`; the figures for the ledger are returned."""
    total = Account.sum(account.table() for account in accounts)
    sources = [_source(source, manifest, account) for source, manifest, account in zip(recipe, manifests, accounts, strict=True)]
    dropped = sum((Counter(source["dropped"]) for source in sources), Counter[str]())
    report = {
        "records": sum(source["records"] for source in sources), "dropped": dict(sorted(dropped.items())),
        **{split: {"documents": total.documents[split], "characters": total.characters[split]} for split in SPLITS},
        "rules": {**settings.what(), "seed": seed}, "sources": sources, "benchmarks": _benchmarks(guard, total, out),
        "duplicates": {**{reason: total.dropped[reason] for reason in OF_DUPLICATES},
                       "pairs": {source.name: dict(sorted(account.kept_for.items()))
                                 for source, account in zip(recipe, accounts, strict=True) if account.kept_for}},
    }
    write_json(out / "report.json", report)
    write_pages(report, out / "report.html", out / "report.md")
    return {name: value for name, value in report.items() if name != "rules"}


def _source(source: Source, manifest: Mapping[str, Any], account: Account) -> dict[str, Any]:
    reading = Counter[str](manifest["dropped"])
    licences = dict(sorted(account.licences.most_common(), key=lambda pair: (-pair[1], pair[0]))[:COMMON])
    others = account.licences.total() - sum(licences.values())
    return {
        "name": source.name, "domain": source.domain, "format": source.format, "files": manifest["files"], "bytes": manifest["bytes"],
        "records": manifest["documents"] + reading.total(), "dropped": dict(sorted((reading + account.dropped).items())),
        **{split: {"documents": account.documents[split], "characters": account.characters[split]} for split in SPLITS},
        "licences": {**licences, **({"others": others} if others else {})}, "languages": dict(sorted(account.languages.items())),
        "years": dict(sorted(account.years.items())), "lengths": dict(sorted(account.lengths.items(), key=lambda pair: int(pair[0]))),
    }


def _benchmarks(guard: Guard | None, total: Account, out: Path) -> dict[str, Any]:
    if guard is None:
        return {}
    touched = Counter(name.partition(":")[0] for name in total.touched)
    worst: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((out / DROPPED).glob("part-*.parquet")) if total.by_overlap else ():
        for table in tables(path, ["id", "reason", "detail"]):
            for row in table.filter(pc.equal(table["reason"], "benchmark-overlap")).to_pylist():
                question, _, overlap = row["detail"].rpartition(" ")
                worst.setdefault(question.partition(":")[0], []).append(
                    {"question": question.partition(":")[2], "document": row["id"], "overlap": float(overlap)})
    return {name: {"questions": count, "guarded": guard.guarded[name], "questions_touched": touched[name],
                   "documents_dropped": total.by_pmid[name] + total.by_overlap[name], "by_pmid": total.by_pmid[name],
                   "by_overlap": total.by_overlap[name],
                   "worst": sorted(worst.get(name, ()), key=lambda row: (-row["overlap"], row["question"], row["document"]))[:WORST]}
            for name, count in sorted(guard.questions.items())}


def write_pages(report: Mapping[str, Any], page: Path, text: Path) -> None:
    """Write a report for people: as HTML, which needs nothing beside it, and as Markdown."""
    write_text(page, html_page(report))
    write_text(text, markdown(report))

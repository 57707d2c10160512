"""The account of a corpus: per source what came in, what stayed, and why the rest went. JSON for programs, Markdown and HTML for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloom.ledger.files import write_json, write_text
from medloom.recipe import Corpus, Source

from .report_page import html_page
from .report_tables import markdown

__all__ = ["SourceAccount", "html_page", "markdown", "write_pages", "write_report"]

COMMON = 12  # licences that are listed by name; the rest is counted together
COUNTS = ("dropped", "documents", "characters", "licences", "languages", "years", "lengths", "benchmarks")


@dataclass(slots=True)
class SourceAccount:
    """One source's books, or a part of them: counts only, so that the books of shards add up to those of the source.

    `years` counts documents that stay by decade ("1970"), `lengths` by characters (the key is the power of two at or below).
    """

    name: str
    domain: str
    format: str = ""
    files: int = 0
    bytes: int = 0
    records: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    years: Counter[str] = field(default_factory=Counter)
    lengths: Counter[str] = field(default_factory=Counter)
    benchmarks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of_manifest(cls, source: Source, manifest: Mapping[str, Any]) -> SourceAccount:
        """Opened with what reading the source gave."""
        files = manifest["files"]
        dropped = sum((Counter(file["dropped"]) for file in files), Counter[str]())
        return cls(source.name, source.domain, source.format, len(files), sum(file["bytes"] for file in files),
                   sum(file["documents"] for file in files) + dropped.total(), dropped)

    def keep(self, row: Mapping[str, Any], split: str) -> None:
        """Count a document that stays, in `split` train or valid."""
        length, year = len(row["text"]), row["year"]
        self.documents[split] += 1
        self.characters[split] += length
        self.licences[row["licence"] or "unknown"] += 1
        self.languages[row["language"] or "unknown"] += 1
        self.years["unknown" if year is None else str(year // 10 * 10)] += 1
        self.lengths[str(1 << length.bit_length() >> 1)] += 1

    def drop(self, reason: str, detail: str | None) -> None:
        """Count a document that goes."""
        self.dropped[reason] += 1
        if reason.startswith("benchmark") and detail:
            self.benchmarks[detail.partition(":")[0]] += 1

    def merge(self, other: SourceAccount) -> None:
        """Add the books of another part of the same source; the order of parts does not matter."""
        if other.name != self.name:
            raise ValueError(f"the books of {other.name} do not belong into those of {self.name}")
        self.files += other.files
        self.bytes += other.bytes
        self.records += other.records
        for name in COUNTS:
            getattr(self, name).update(getattr(other, name))

    def table(self) -> dict[str, Any]:
        """The books as JSON; of licences the commonest by name."""
        licences = dict(sorted(self.licences.items(), key=lambda pair: (-pair[1], pair[0]))[:COMMON])
        others = self.licences.total() - sum(licences.values())
        if others:
            licences["others"] = licences.get("others", 0) + others
        return {
            "name": self.name, "domain": self.domain, "format": self.format, "files": self.files, "bytes": self.bytes,
            "records": self.records, "dropped": dict(sorted(self.dropped.items())),
            **{split: {"documents": self.documents[split], "characters": self.characters[split]} for split in ("train", "valid")},
            "licences": licences, "languages": dict(sorted(self.languages.items())), "years": dict(sorted(self.years.items())),
            "lengths": dict(sorted(self.lengths.items(), key=lambda pair: int(pair[0]))),
        }


def write_report(out: Path, accounts: Sequence[SourceAccount], settings: Corpus, seed: int, questions: Mapping[str, int],
                 more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write report.json and its pages into `out`; the figures for the ledger are returned.

    `questions` counts those of each benchmark that was guarded against; `more` holds further entries of the report (duplicates, a
    fuller account of the benchmarks), which replace what is made here.
    """
    hits: Counter[str] = sum((account.benchmarks for account in accounts), Counter())
    totals = {split: {"documents": sum(a.documents[split] for a in accounts), "characters": sum(a.characters[split] for a in accounts)}
              for split in ("train", "valid")}
    reasons: Counter[str] = sum((account.dropped for account in accounts), Counter())
    report = {
        "records": sum(account.records for account in accounts), "dropped": dict(sorted(reasons.items())), **totals,
        "rules": {"languages": list(settings.languages), "licences": list(settings.licences) if settings.licences is not None else None,
                  "min_characters": settings.min_characters, "near_duplicates": settings.near_duplicates,
                  "decontaminate": settings.decontaminate, "validation": settings.validation,
                  "validation_documents": settings.validation_documents, "seed": seed},
        "sources": [account.table() for account in accounts],
        "benchmarks": {name: {"questions": count, "documents_dropped": hits[name]} for name, count in sorted(questions.items())},
        **(more or {}),
    }
    write_json(out / "report.json", report)
    write_pages(report, out)
    return {name: value for name, value in report.items() if name != "rules"}


def write_pages(report: Mapping[str, Any], out: Path) -> None:
    """Write a report for people: report.md and report.html, which needs nothing beside it."""
    write_text(out / "report.md", markdown(report))
    write_text(out / "report.html", html_page(report))

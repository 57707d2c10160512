"""The account of a corpus: per source what came in, what stayed, and why the rest went. JSON for programs, Markdown for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medloom.ledger.files import write_json, write_text
from medloom.recipe import Corpus, Source

COMMON = 12  # licences that are listed by name; the rest is counted together


@dataclass(slots=True)
class SourceAccount:
    """One source's books."""

    name: str
    domain: str
    files: int
    records: int
    dropped: Counter[str] = field(default_factory=Counter)
    documents: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    benchmarks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of_manifest(cls, source: Source, manifest: Mapping[str, Any]) -> SourceAccount:
        """Opened with what reading the source gave."""
        files = manifest["files"]
        dropped = sum((Counter(file["dropped"]) for file in files), Counter[str]())
        return cls(source.name, source.domain, len(files), sum(file["documents"] for file in files) + dropped.total(), dropped)

    def keep(self, row: Mapping[str, Any], split: str) -> None:
        """Count a document that stays, in `split` train or valid."""
        self.documents[split] += 1
        self.characters[split] += len(row["text"])
        self.licences[row["licence"] or "unknown"] += 1
        self.languages[row["language"] or "unknown"] += 1

    def drop(self, reason: str, detail: str | None) -> None:
        """Count a document that goes."""
        self.dropped[reason] += 1
        if reason.startswith("benchmark") and detail:
            self.benchmarks[detail.partition(":")[0]] += 1

    def table(self) -> dict[str, Any]:
        """The books as JSON."""
        licences = dict(sorted(self.licences.most_common(), key=lambda pair: (-pair[1], pair[0]))[:COMMON])
        others = self.licences.total() - sum(licences.values())
        return {
            "name": self.name, "domain": self.domain, "files": self.files, "records": self.records,
            "dropped": dict(sorted(self.dropped.items())),
            **{split: {"documents": self.documents[split], "characters": self.characters[split]} for split in ("train", "valid")},
            "licences": {**licences, **({"others": others} if others else {})}, "languages": dict(sorted(self.languages.items())),
        }


def write_report(out: Path, accounts: Sequence[SourceAccount], settings: Corpus, seed: int, questions: Mapping[str, int]) -> dict[str, Any]:
    """Write report.json and report.md into `out`; the figures for the ledger are returned."""
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
    }
    write_json(out / "report.json", report)
    write_text(out / "report.md", _markdown(report))
    return {name: value for name, value in report.items() if name != "rules"}


def _markdown(report: Mapping[str, Any]) -> str:
    lines = ["# The corpus", "", "| source | domain | files | records | train | valid | characters kept | left out |",
             "|---|---|--:|--:|--:|--:|--:|--:|"]
    for source in report["sources"]:
        characters = source["train"]["characters"] + source["valid"]["characters"]
        lines.append(f"| {source['name']} | {source['domain']} | {source['files']:,} | {source['records']:,} "
                     f"| {source['train']['documents']:,} | {source['valid']['documents']:,} | {characters:,} "
                     f"| {sum(source['dropped'].values()):,} |")
    lines += ["", "## What was left out, and why", "", "| source | reason | records |", "|---|---|--:|"]
    lines += [f"| {source['name']} | {reason} | {count:,} |" for source in report["sources"] for reason, count in source["dropped"].items()]
    if report["benchmarks"]:
        lines += ["", "## Benchmarks guarded against", "", "| benchmark | questions | documents left out |", "|---|--:|--:|"]
        lines += [f"| {name} | {entry['questions']:,} | {entry['documents_dropped']:,} |" for name, entry in report["benchmarks"].items()]
    lines += ["", "## Licences of what stayed", "", "| source | licence | documents |", "|---|---|--:|"]
    lines += [f"| {source['name']} | {name.replace('|', '/')} | {count:,} |"
              for source in report["sources"] for name, count in source["licences"].items()]
    return "\n".join(lines) + "\n"

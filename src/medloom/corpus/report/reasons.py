"""Why a record can be left out, in plain words: which step of the corpus leaves it out, and what its reason means."""

from __future__ import annotations

from dataclasses import dataclass

STEPS = {"reading": "was read", "filters": "passed the filters", "benchmarks": "in no benchmark", "duplicates": "no duplicate",
         "other": "no other reason"}
"""The steps that leave records out, in their order, each with what holds of a record that it lets through."""


@dataclass(frozen=True, slots=True)
class Group:
    """Reasons that a person sees as one: `step` is a key of STEPS."""

    key: str
    title: str
    step: str


NO_TEXT = Group("no-text", "no text in it", "reading")
FOREIGN = Group("foreign", "of another kind", "reading")
DAMAGED = Group("damaged", "damaged", "reading")
SUPERSEDED = Group("superseded", "replaced or withdrawn", "reading")
FILTERED = Group("filtered", "filtered out", "filters")
BENCHMARK = Group("benchmark", "in a benchmark", "benchmarks")
DUPLICATE = Group("duplicate", "duplicate", "duplicates")
OTHER = Group("other", "other reasons", "other")
GROUPS = (NO_TEXT, FOREIGN, DAMAGED, SUPERSEDED, FILTERED, BENCHMARK, DUPLICATE, OTHER)

REASONS: dict[str, tuple[Group, str]] = {
    "no-abstract": (NO_TEXT, "The citation has no abstract, only a title."),
    "no-text": (NO_TEXT, "None of the fields that may hold a text holds one."),
    "no-article": (FOREIGN, "The XML file holds something else than an article."),
    "no-main-text": (NO_TEXT, "The page is menus and links; no main text was found in it."),
    "no-text-layer": (NO_TEXT, "The PDF holds pictures of pages, which would have to go through text recognition first."),
    "no-guideline": (FOREIGN, "The XML file holds neither a guideline's fields nor an article."),
    "several-articles": (FOREIGN, "The XML file holds several articles; each needs a file of its own."),
    "empty": (NO_TEXT, "Nothing was left of the text once it was cleaned."),
    "empty-file": (NO_TEXT, "The file has no bytes."),
    "no-record": (FOREIGN, "The file holds nothing of the kind that its source's format names."),
    "rule-drop-if": (FOREIGN, "A short page with a phrase by which its source's rules know what is no guideline."),
    "rule-min-lines": (NO_TEXT, "Fewer lines than its source's rules ask for."),
    "rule-min-long-lines": (NO_TEXT, "Fewer lines of running text than its source's rules ask for."),
    "rule-nothing-left": (NO_TEXT, "Its source's rules cut all of the text."),
    "error-page": (NO_TEXT, "The page is a web server's error message or a wall before the content."),
    "book-record": (FOREIGN, "The record describes a book or a chapter, not an article."),
    "unsupported-suffix": (FOREIGN, "Files of this kind are not read for this source's format; the name's ending tells the kind."),
    "broken-record": (DAMAGED, "The record breaks the rules of its format; its neighbours were read."),
    "broken-xml": (DAMAGED, "The file is not well-formed XML."),
    "truncated-file": (DAMAGED, "The file ends too early, as after a broken download; what came before was read."),
    "damaged-file": (DAMAGED, "The file could not be unpacked; what came before the damage was read."),
    "unreadable-file": (DAMAGED, "The file could not be opened, or is locked with a password."),
    "older-version": (SUPERSEDED, "A newer version of the same record is there."),
    "deleted-citation": (SUPERSEDED, "The publisher of the records has withdrawn it."),
    "licence": (FILTERED, "The licence is not among those that the recipe allows, or is unknown."),
    "too-short": (FILTERED, "The text has fewer characters than the recipe asks for."),
    "language": (FILTERED, "The text is in a language that the recipe does not ask for."),
    "repetition": (FILTERED, "Too much of the text says the same thing again and again."),
    "benchmark-pmid": (BENCHMARK, "A benchmark's question was made from this very publication (same PubMed number)."),
    "benchmark-overlap": (BENCHMARK, "The text holds so much of a benchmark's question, word for word, that it would give it away."),
    "same-identifier": (DUPLICATE, "Another document with the same DOI, PubMed or PMC number was kept, as a paper is for its abstract."),
    "exact-duplicate": (DUPLICATE, "Another document with the same words was kept."),
    "near-duplicate": (DUPLICATE, "Another document with nearly the same words was kept."),
}


def group_of(reason: str) -> Group:
    """The group of a reason; OTHER for one that is not known here."""
    return REASONS[reason][0] if reason in REASONS else OTHER


def explain(reason: str) -> str:
    """One line in plain words; empty for a reason that is not known here."""
    return REASONS[reason][1] if reason in REASONS else ""

"""The recipe's corpus: sources, rules, mixture, and how the work is done."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .part import Name, Part, Positive, Share
from .rules import Rules


class Holding(Part):
    """What a source is known to hold before it is here: documents and tokens, for `medloom corpus mixture`."""

    documents: Positive
    tokens: Positive


class Source(Part):
    """Where documents come from, and how much of it is read.

    `share` is of all training tokens, `tokens` a budget; a source with neither enters whole, `repeat` times an epoch. A share of 0 keeps
    a source for held-out text alone. `validation` overrides the corpus's share of documents to hold out.
    """

    name: Name
    format: Literal["medline", "jats", "s2orc", "guidelines", "jsonl", "parquet", "text"]
    path: str
    domain: Literal["medical", "general"] = "medical"
    licence: str | None = None
    share: Annotated[float, Field(ge=0, lt=1)] | None = None
    tokens: Positive | None = None
    repeat: float = Field(default=1.0, gt=0)
    validation: Annotated[float, Field(ge=0, lt=1)] | None = None
    holds: Holding | None = None
    rules: Rules | None = None

    @model_validator(mode="after")
    def _one_measure(self) -> Source:
        measures = {"share": self.share is not None, "tokens": self.tokens is not None, "repeat": self.repeat != 1}
        given = [name for name, is_given in measures.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"gives {' and '.join(given)}: how much of a source is read has one measure")
        return self


class Cluster(Part):
    """Where the corpus's shards run when `corpus.engine` is ray or slurm. `address` is a Ray cluster's ("auto" finds the one that this
    machine belongs to; without one Ray runs on this machine); the others are a Slurm task's. Finished shards are looked for every
    `poll_seconds`; where none came for `quiet_seconds`, Slurm is asked whether it still has the tasks."""

    address: str | None = None
    partition: str | None = None
    account: str | None = None
    minutes: Positive = 120
    memory_mb: Positive = 4000
    poll_seconds: float = Field(default=2.0, gt=0)
    quiet_seconds: float = Field(default=60.0, gt=0)


class Corpus(Part):
    """From files to packed tokens.

    `markup = "meditron"` writes references, figures, tables and formulas between the original's marks; `special_tokens = "meditron"` makes
    its seventeen tokens of them, closes documents with <EOD> and opens them with none. `max_repetition` is the share of a text's words
    that may stand in a run of ten for a second time. `validation` is the share of each source's documents that is held out, of
    each domain at most `validation_documents`. `upsample = "publication-type"` reads a document 1 + score times, by what MEDLINE says it
    is. `passport_mb` is the most that the contamination passport may take. `workers`, `engine`, `cluster` and `memory_mb` (of the
    global steps) say how the work is done and leave the result alone.
    """

    sources: tuple[Source, ...] = Field(min_length=1)
    languages: tuple[str, ...] = Field(default=("en",), min_length=1)
    licences: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    min_characters: int = Field(default=50, ge=0)
    max_repetition: Share | None = 0.5
    markup: Literal["plain", "meditron"] = "plain"
    references: bool = True
    special_tokens: Literal["none", "meditron"] = "none"
    near_duplicates: bool = True
    decontaminate: Share | None = 0.8
    validation: Annotated[float, Field(ge=0, lt=1)] = 0.03
    validation_documents: Positive = 200
    upsample: Literal["none", "publication-type"] = "none"
    passport_mb: float = Field(default=64.0, gt=0)
    workers: Positive | None = None
    engine: Literal["processes", "ray", "slurm"] = "processes"
    cluster: Cluster = Cluster()
    memory_mb: Positive = 2000

    def what(self) -> dict[str, Any]:
        """What of the settings decides which documents are kept and how they read: not their sources, nor how the work is done."""
        others = {"sources", "workers", "engine", "cluster", "memory_mb", "upsample", "passport_mb", "special_tokens"}
        return self.model_dump(mode="json", exclude=others)

    @model_validator(mode="after")
    def _mixes(self) -> Corpus:
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError("two sources carry the same name; names must differ")
        total = sum(source.share or 0 for source in self.sources)
        if total > 1 + 1e-9:
            raise ValueError(f"the shares of the sources add up to {total:.3g}, more than 1")
        if all(source.share is not None for source in self.sources) and abs(total - 1) > 1e-6:
            raise ValueError(f"every source has a share, and they add up to {total:.3g} instead of 1")
        return self

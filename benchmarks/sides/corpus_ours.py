"""Our side: each work is given paths, makes ready, and returns what is measured."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides.clock import run

BATCH = 1024  # documents at a time, a row group of the corpus


def medline(path: str) -> Callable[[], Any]:
    """MEDLINE XML to rows of the document schema."""
    from medloom.corpus.document import Document, Origin
    from medloom.corpus.readers.medline import read_medline

    def work() -> dict[str, int]:
        faults: list[tuple[str, str]] = []
        documents = characters = 0
        for item in read_medline(Path(path), Origin("abstracts", "medical", Path(path).name), faults):
            document = getattr(item, "document", item)
            if isinstance(document, Document):
                document.row()
                documents += 1
                characters += len(document.text)
        assert not faults, faults
        return {"documents": documents, "characters": characters}

    return work


def jats(folder: str) -> Callable[[], Any]:
    """JATS files to rows of the document schema."""
    from medloom.corpus.document import Document, Origin
    from medloom.corpus.readers.jats import read_jats

    def work() -> dict[str, int]:
        documents = characters = 0
        for path in sorted(Path(folder).iterdir()):
            document = read_jats(path.read_bytes(), Origin("papers", "medical", path.name))
            if isinstance(document, Document):
                document.row()
                documents += 1
                characters += len(document.text)
        return {"documents": documents, "characters": characters}

    return work


def near_duplicates(folder: str, out: str) -> Callable[[], Any]:
    """Parquet shards to the ids removed, by way of what `build_corpus` calls: an index of each shard, and the choice among all."""
    from medloom.corpus.choose import choose
    from medloom.corpus.document import rows
    from medloom.corpus.examine import Examination, examine
    from medloom.ledger import Silent
    from medloom.recipe import Corpus, Source

    for name in ("duckdb", "rensa", "scipy.sparse.csgraph"):
        importlib.import_module(name)
    sources = (Source(name="abstracts", format="medline", path=folder),)
    settings = Corpus(sources=sources, workers=1, decontaminate=None, max_repetition=None, min_characters=0)
    shards = sorted(Path(folder).glob("*.parquet"))
    tasks = [Examination(shard, number, 0, settings, (), 1, Path(out) / f"index-{number:05d}.parquet")
             for number, shard in enumerate(shards)]

    def work() -> dict[str, Any]:
        for task in tasks:
            examine(task)
        choose([task.index for task in tasks], sources, settings, Path(out) / "fates.parquet", Path(out) / "database", Silent())
        fates = iter(rows(Path(out) / "fates.parquet", ["reason"]))
        removed = [row["id"] for shard in shards for row, fate in zip(rows(shard, ["id"]), fates, strict=False) if fate["reason"]]
        return {"removed": removed}

    return work


def tokenise(texts: str, tokenizer: str, out: str) -> Callable[[], Any]:
    """Texts in memory (JSON lines of `text`) to a Megatron token store `out/ours.bin` and `.idx`."""
    from medloom.model import TokenStoreWriter, load_tokenizer

    loaded = load_tokenizer(Path(tokenizer))
    loaded.encode("Warm up.")
    held = [json.loads(line)["text"] for line in Path(texts).read_text(encoding="utf-8").splitlines()]

    def work() -> dict[str, int]:
        tokens = 0
        with TokenStoreWriter(Path(out) / "ours", loaded.vocab_size) as writer:
            for start in range(0, len(held), BATCH):
                for ids in loaded.encode_documents(held[start : start + BATCH]):
                    writer.add(ids)
                    tokens += len(ids)
        return {"tokens": tokens}

    return work


def pdf(folder: str) -> Callable[[], Any]:
    """PDFs to documents."""
    import pypdfium2

    from medloom.corpus.document import Document, Origin
    from medloom.corpus.readers.pdf import read_pdf

    paths = sorted(Path(folder).glob("*.pdf"))
    pages = sum(len(pypdfium2.PdfDocument(path)) for path in paths)

    def work() -> dict[str, int]:
        characters = 0
        for path in paths:
            document = read_pdf(path.read_bytes(), Origin("guidelines", "medical", path.name))
            assert isinstance(document, Document), document
            characters += len(document.text)
        return {"pages": pages, "characters": characters}

    return work


def global_step(folder: str, out: str) -> Callable[[], Any]:
    """The choice among all documents, from their indexes, and the mixture of as many; the peak memory is what counts."""
    import numpy as np

    from medloom.corpus.choose import choose
    from medloom.corpus.document import tables
    from medloom.corpus.mixture import Stock, mix
    from medloom.ledger import Silent
    from medloom.recipe import Corpus, Source

    made = json.loads((Path(folder) / "sources.json").read_text())
    sources = tuple(Source.model_validate(source) for source in made)
    settings = Corpus(sources=sources, workers=1)
    indexes = sorted(Path(folder).glob("index-*.parquet"))

    def work() -> dict[str, int]:
        choose(indexes, sources, settings, Path(out) / "fates.parquet", Path(out) / "database", Silent())
        documents = dropped = 0
        for table in tables(Path(out) / "fates.parquet", ["reason"]):
            documents, dropped = documents + len(table), dropped + len(table) - table["reason"].null_count
        rng = np.random.default_rng(1)
        stock = Stock(rng.integers(0, 2**63, documents, np.uint64), rng.integers(0, len(sources), documents).astype(np.int16),
                      rng.integers(100, 1000, documents), np.ones(documents, np.float32))
        mix(stock, sources, tokens=None, epochs=1.0, seed=1)
        return {"documents": documents, "dropped": dropped}

    return work


if __name__ == "__main__":
    run({work.__name__: work for work in (medline, jats, near_duplicates, tokenise, pdf, global_step)})

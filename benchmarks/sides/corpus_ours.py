"""Our side: each work is given paths, makes ready, and returns what is measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides.clock import run

BATCH = 1024  # documents at a time, a row group of the corpus


def medline(path: str) -> Callable[[], Any]:
    """MEDLINE XML to rows of the document schema."""
    from medloom.corpus.document import Document, Origin
    from medloom.corpus.medline import read_medline

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
    from medloom.corpus.jats import read_jats

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


def our_near_duplicates(shards: list[Path]) -> list[str]:
    """Ids that near-duplicate search removes, from Parquet shards of the document schema in the order of rank."""
    import numpy as np
    import pyarrow.parquet as pq

    from medloom.corpus.deduplicate import band_keys
    from medloom.corpus.deduplicate import near_duplicates as first_of_each_set
    from medloom.corpus.ngrams import word_numbers, words

    ids: list[str] = []
    bands = []
    for shard in shards:
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(BATCH, columns=["id", "text"]):
                ids += batch["id"].to_pylist()
                bands.append(band_keys([word_numbers(words(text)) for text in batch["text"].to_pylist()]))
    first = first_of_each_set(np.concatenate(bands))
    return [ids[place] for place in np.flatnonzero(first != np.arange(len(ids)))]


def near_duplicates(folder: str) -> Callable[[], Any]:
    """Parquet shards to the ids removed."""
    for name in ("medloom.corpus.deduplicate", "pyarrow.parquet", "rensa", "scipy.sparse.csgraph"):
        importlib.import_module(name)
    shards = sorted(Path(folder).glob("*.parquet"))
    return lambda: {"removed": our_near_duplicates(shards)}


def tokenise(texts: str, tokenizer: str, out: str) -> Callable[[], Any]:
    """Texts in memory (JSON lines of `text`) to a Megatron token store `out/ours.bin` and `.idx`."""
    import json

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
    from medloom.corpus.pdf import read_pdf

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


def our_global_step(bands: Path) -> int:
    """From the bands of all documents (Parquet: rows in the order of rank, a column `bands`) to the number of duplicates among them."""
    import numpy as np
    import pyarrow.parquet as pq

    from medloom.corpus.deduplicate import near_duplicates as first_of_each_set

    column = pq.read_table(bands, columns=["bands"])["bands"].combine_chunks()
    first = first_of_each_set(column.flatten().to_numpy().reshape(len(column), -1))
    return int((first != np.arange(len(first))).sum())


def global_step(bands: str) -> Callable[[], Any]:
    """The step over all documents; its peak memory is what counts."""
    return lambda: {"duplicates": our_global_step(Path(bands))}


if __name__ == "__main__":
    run({work.__name__: work for work in (medline, jats, near_duplicates, tokenise, pdf, global_step)})

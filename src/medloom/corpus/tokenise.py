"""From the corpus to tokens on disk, and the order in which they are trained on."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medloom.ledger import Progress, Refusal
from medloom.ledger.files import atomic, sha256_file, write_json
from medloom.recipe import Corpus, Source

from .engine import run_shards
from .mixture import Stock, mix

if TYPE_CHECKING:
    from medloom.model import Tokenizer  # which brings torch: seconds, in every process of a pool that only reads

PIECE = 16_384  # tokens: a book is drawn and shuffled in pieces, or one would outweigh a share and fill thousands of steps alone
DOCUMENTS = pa.schema([("id", pa.string()), ("source", pa.string()), ("domain", pa.string()), ("piece", pa.int32()), ("start", pa.int64()),
                       ("length", pa.int64())])


@dataclass(frozen=True, slots=True)
class Chunk:
    """One row group of the corpus, and where its tokens go."""

    corpus: Path
    group: int
    model: Path
    digest: str
    prefix: Path


def tokenise_corpus(corpus: Path, model: Path, settings: Corpus, sources: Sequence[Source], seed: int, tokens: int | None, epochs: float,
                    out: Path, progress: Progress, state: Path) -> dict[str, Any]:
    """Encode `corpus/train.parquet` with the tokenizer of a model folder and lay down the order of training.

    Writes `out/train.bin` and `.idx` (Megatron's form; each document opened and closed as the tokenizer does), `out/documents.parquet`
    (schema DOCUMENTS, a row per document of the store; a text beyond PIECE tokens is several, numbered by `piece`, of which the
    first is opened and the last closed), `out/order.npy` (int64 numbers of documents in training order, see `mixture.mix`) and
    `out/mixture.json`. Finished chunks wait in `state`. Raises Refusal where there is no corpus or no tokenizer.
    """
    from medloom.model import TokenStore, TokenStoreWriter, load_tokenizer

    path = corpus / "train.parquet"
    if not path.is_file():
        raise Refusal(f"{corpus}: no train.parquet here; build the corpus first: medloom corpus RECIPE")
    tokenizer = load_tokenizer(model)
    with pq.ParquetFile(path) as file:
        groups = file.num_row_groups
    digest = f"{sha256_file(path)} {tokenizer.digest} {PIECE}"
    chunks = [Chunk(path, group, model, digest, state / f"tokens-{group:06d}") for group in range(groups)]
    started = time.perf_counter()
    done = run_shards(encode_chunk, chunks, workers=settings.workers, size=4 * path.stat().st_size, progress=progress, name="tokenise")
    seconds = time.perf_counter() - started

    out.mkdir(parents=True, exist_ok=True)
    with TokenStoreWriter(out / "train", tokenizer.vocab_size) as writer:
        for chunk in chunks:
            writer.append(TokenStore.open(chunk.prefix))
    lengths = np.concatenate([np.asarray(part["length"], np.int64) for part in done] or [np.zeros(0, np.int64)])
    columns = {name: [value for part in done for value in part[name]] for name in ("id", "source", "domain", "piece")}
    starts = np.cumsum(lengths) - lengths
    table = pa.table({**columns, "start": starts, "length": lengths}, schema=DOCUMENTS)
    with atomic(out / "documents.parquet") as temporary:
        pq.write_table(table, temporary, compression="zstd")

    names = [f"{name}\0{piece}" if piece else name for name, piece in zip(columns["id"], columns["piece"], strict=True)]
    order, account = mix(Stock(names, columns["source"], lengths), {source.name: source.share for source in sources},
                         tokens=tokens, epochs=epochs, seed=seed)
    with atomic(out / "order.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, order)
    write_json(out / "mixture.json", account)
    size = sum(part["bytes"] for part in done)
    return {"tokens_in_stock": int(lengths.sum()), "documents_in_stock": len(set(columns["id"])),
            "bytes_per_token": size / max(int(lengths.sum()), 1), "mixture": account, "wall_seconds": seconds,
            "tokens_per_second": int(lengths.sum()) / seconds}


@lru_cache(maxsize=1)
def _tokenizer(model: Path) -> Tokenizer:
    from medloom.model import load_tokenizer

    return load_tokenizer(model)


def encode_chunk(chunk: Chunk) -> dict[str, Any]:
    """Encode one row group into a token store of its own and return its rows, column by column, which are also written, last."""
    from medloom.model import TokenStoreWriter

    record = chunk.prefix.with_suffix(".json")
    if record.exists():
        known: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if known["digest"] == chunk.digest:
            return known
    with pq.ParquetFile(chunk.corpus) as file:
        table = file.read_row_group(chunk.group, columns=["id", "source", "domain", "text"]).to_pydict()
    tokenizer = _tokenizer(chunk.model)
    result: dict[str, Any] = {"digest": chunk.digest, "bytes": sum(len(text.encode()) for text in table["text"]), "id": [], "source": [],
                              "domain": [], "piece": [], "length": []}
    with TokenStoreWriter(chunk.prefix, tokenizer.vocab_size) as writer:
        documents = tokenizer.encode_documents(table["text"])
        for name, source, domain, ids in zip(table["id"], table["source"], table["domain"], documents, strict=True):
            for piece, start in enumerate(range(0, len(ids), PIECE)):
                part = ids[start : start + PIECE]
                writer.add(part)
                row = {"id": name, "source": source, "domain": domain, "piece": piece, "length": len(part)}
                for column, value in row.items():
                    result[column].append(value)
    write_json(record, result)
    return result

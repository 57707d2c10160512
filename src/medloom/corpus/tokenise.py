"""From the corpus to tokens on disk, the order in which they are trained on, and the passport of what is read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from medloom.ledger import Progress, Refusal
from medloom.ledger.files import atomic, sha256_json, write_json
from medloom.recipe import Corpus, Source

from .document import ShardWriter, tables
from .engine import run_shards
from .heldout import write_heldout
from .mixture import Stock, mix
from .order import name_keys
from .passport import write_passport
from .publication_types import NEVER, score

if TYPE_CHECKING:
    from medloom.model import Tokenizer

VERSION = 2
PIECE = 16_384  # tokens: a book is drawn and shuffled in pieces, or one would outweigh a share and fill thousands of steps alone
DOCUMENTS = pa.schema([("id", pa.string()), ("source", pa.string()), ("domain", pa.string()), ("licence", pa.string()),
                       ("sha256", pa.string()), ("piece", pa.int32()), ("start", pa.int64()), ("length", pa.int64()),
                       ("key", pa.uint64()), ("score", pa.float32())])


@dataclass(frozen=True)
class Encoding:
    """One shard of the corpus, the tokenizer, and where its tokens go."""

    part: Path
    model: Path
    tokenizer: str
    prefix: Path

    @property
    def record(self) -> Path:
        """The record of the shard."""
        return self.prefix.with_suffix(".json")

    @property
    def documents(self) -> Path:
        """The shard's rows of schema DOCUMENTS, `start` counted from its own first token."""
        return self.prefix.with_suffix(".parquet")

    @property
    def digest(self) -> str:
        """The tokenizer and what is encoded."""
        return sha256_json([VERSION, self.part.name, self.part.stat().st_size, self.tokenizer, PIECE])


def tokenise_corpus(corpus: Path, model: Path, settings: Corpus, sources: Sequence[Source], seed: int, tokens: int | None, epochs: float,
                    out: Path, progress: Progress, state: Path) -> dict[str, Any]:
    """Encode `corpus/train` with the tokenizer of a model folder and lay down the order of training.

    Writes `out/train.bin` and `.idx` (Megatron's form; each document opened and closed as the tokenizer does), `out/documents.parquet`
    (schema DOCUMENTS, a row per document of the store; a text beyond PIECE tokens is several, numbered by `piece`, of which the
    first is opened and the last closed), `out/order.npy` (int64 numbers of documents in training order, see `mixture.mix`),
    `out/mixture.json`, `out/passport.parquet` (the sketch of all that the order reads) and a store `out/heldout/DOMAIN` of each domain's
    held-out documents; with `settings.special_tokens` also `out/tokenizer`, the model's tokenizer with those added, which the tokens
    are of. Finished shards wait in `state`. Raises Refusal where there is no corpus or no tokenizer.
    """
    from medloom.model import MEDITRON_TOKENS, TokenStore, TokenStoreWriter, extend_tokenizer, load_tokenizer

    parts = sorted((corpus / "train").glob("part-*.parquet"))
    if not parts:
        raise Refusal(f"{corpus}: no train/part-*.parquet here; build the corpus first: medloom corpus RECIPE")
    out.mkdir(parents=True, exist_ok=True)
    if settings.special_tokens == "meditron":
        extend_tokenizer(model, MEDITRON_TOKENS, out / "tokenizer", document_end="<EOD>", adds_bos=False)
        model = out / "tokenizer"
    tokenizer = load_tokenizer(model)
    shards = [Encoding(part, model, tokenizer.digest, state / f"tokens-{part.stem.removeprefix('part-')}") for part in parts]
    started = time.perf_counter()
    packed = 4 * sum(part.stat().st_size for part in parts)
    records = run_shards(encode, shards, settings, size=packed, progress=progress, name="tokenise", stage="tokens")
    seconds = time.perf_counter() - started

    with TokenStoreWriter(out / "train", tokenizer.vocab_size) as store, ShardWriter(out / "documents.parquet", DOCUMENTS) as documents:
        start = 0
        for shard, record in zip(shards, records, strict=True):
            store.append(TokenStore.open(shard.prefix))
            for table in tables(shard.documents):
                place = table.schema.get_field_index("start")
                documents.add_table(table.set_column(place, "start", pa.array(table["start"].to_numpy() + start)))
            start += record["tokens"]

    stock = _stock(out / "documents.parquet", sources, settings)
    order, account = mix(stock, sources, tokens=tokens, epochs=epochs, seed=seed)
    with atomic(out / "order.npy") as temporary, temporary.open("wb") as stream:
        np.save(stream, order)
    write_json(out / "mixture.json", {"tokenizer": tokenizer.digest, **account})
    size, length = sum(record["bytes"] for record in records), int(stock.lengths.sum())
    read = np.zeros(len(stock.keys), bool)
    read[order] = True
    rows = [(shard.part, shard.documents, record["rows"]) for shard, record in zip(shards, records, strict=True)]
    bytes_read = int(size * int(stock.lengths[read].sum()) / max(length, 1))
    heldout = write_heldout(corpus, tokenizer, seed, out / "heldout")
    passport = write_passport(rows, read, bytes_read, settings, out, state, progress)
    return {"tokens_in_stock": length, "documents_in_stock": sum(record["documents"] for record in records),
            "bytes_per_token": size / max(length, 1), "mixture": account, "passport": passport, "heldout_tokens": heldout,
            "wall_seconds": seconds, "cpu_seconds": sum(record["cpu_seconds"] for record in records), "tokens_per_second": length / seconds}


def _stock(documents: Path, sources: Sequence[Source], settings: Corpus) -> Stock:
    """What the documents of a store are to the mixture: 22 bytes a document in memory."""
    names = pa.array([source.name for source in sources])
    columns: dict[str, list[Any]] = {name: [] for name in ("key", "source", "length", "score")}
    for table in tables(documents, list(columns)):
        for name, found in columns.items():
            values = pa.compute.index_in(table[name], names).cast(pa.int16()) if name == "source" else table[name]
            found.append(values.to_numpy())
    keys, of_source, lengths, scores = (np.concatenate(found) if found else np.zeros(0) for found in columns.values())
    copies = np.where(scores == NEVER, 0, 1 + scores) if settings.upsample == "publication-type" else np.ones(len(keys))
    return Stock(keys.astype(np.uint64), of_source.astype(np.int16), lengths.astype(np.int64), copies.astype(np.float32))


@lru_cache(maxsize=1)
def _tokenizer(model: Path) -> Tokenizer:
    from medloom.model import load_tokenizer

    return load_tokenizer(model)


def encode(shard: Encoding) -> Mapping[str, Any]:
    """Encode one shard into a token store of its own, with its rows of DOCUMENTS beside it."""
    from medloom.model import TokenStoreWriter

    tokenizer = _tokenizer(shard.model)
    size = count = start = 0
    with TokenStoreWriter(shard.prefix, tokenizer.vocab_size) as store, ShardWriter(shard.documents, DOCUMENTS) as documents:
        for table in tables(shard.part, ["id", "source", "domain", "licence", "sha256", "categories", "text"]):
            texts = table["text"].to_pylist()
            count, size = count + len(texts), size + sum(len(text.encode()) for text in texts)
            for row, ids in zip(table.drop_columns("text").to_pylist(), tokenizer.encode_documents(texts), strict=True):
                row["score"] = score(row.pop("categories") or ())
                for piece, place in enumerate(range(0, len(ids), PIECE)):
                    part = ids[place : place + PIECE]
                    store.add(part)
                    key = name_keys([f"{row['id']}\0{piece}" if piece else row["id"]])[0]
                    documents.add({**row, "piece": piece, "start": start, "length": len(part), "key": int(key)})
                    start += len(part)
    return {"documents": count, "rows": documents.rows, "tokens": start, "bytes": size}

"""Choosing among all documents at once: the same work under two identifiers, duplicates, and what is held out.

A document's rank is its place in the order (source's place in the recipe, id), so that which of several stays does not depend on
which file was read first. All of it is SQL over the indexes that `examine` left, in bounded memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from medloom.ledger import Progress
from medloom.recipe import Corpus, Source

from .database import blocks, database, scan
from .deduplicate import first_of_linked
from .document import ShardWriter
from .examine import INDEX

FATES = pa.schema([("shard", pa.int32()), ("row", pa.int64()), ("fate", pa.string()), ("reason", pa.string()), ("detail", pa.string()),
                   ("language", pa.string()), ("kept_source", pa.int32())])
TRAIN, VALID, DROPPED = "train", "valid", "dropped"
BATCH = 50_000


def choose(indexes: Sequence[Path], sources: Sequence[Source], settings: Corpus, out: Path, scratch: Path, progress: Progress) -> None:
    """Write `out` (schema FATES, ordered by shard and row): what becomes of every document of the indexes, and why.

    In this order: what `examine` found; one id, PMID, PMCID, DOI or corpus id twice (`same-identifier`); equal words
    (`exact-duplicate`); MinHash (`near-duplicate`). `detail` names the document that stays and `kept_source` its source. Raises Refusal
    where `settings.memory_mb` is too little.
    """
    with database(scratch, settings) as connection, progress.task("choose documents", total=5, unit="rules") as task:
        _load(connection, indexes, sources)
        task.advance()
        _same_identifier(connection)
        task.advance()
        _exact(connection)
        task.advance()
        if settings.near_duplicates:
            _near(connection)
        task.advance()
        _hold_out(connection, sources, settings)
        _write(connection, out)
        task.advance()


def _load(connection: Any, indexes: Sequence[Path], sources: Sequence[Source]) -> None:
    """Table `works`: a row per document, in order of rank. `kept` will be the rank of the document that stays in its stead."""
    connection.register("indexes", scan(indexes, INDEX))
    traits = pa.table({"source": pa.array(range(len(sources)), pa.int32()), "domain": [source.domain for source in sources],
                       "abstract": [source.format == "medline" for source in sources]})
    connection.register("sources", traits)
    connection.execute("""
        create table works as
        select row_number() over (order by source, id, shard, row) as rank, source, shard, row, id, pmid, pmcid, doi, corpus_id,
               language, reason, detail, split, text_key, abstract, domain, null::bigint as kept
        from indexes join sources using (source) order by rank""")


def _same_identifier(connection: Any) -> None:
    """One id twice is a double anywhere. A shared PMID, PMCID, DOI or corpus id is one across sources, unless the PMIDs differ: journals
    give one DOI to a whole supplement of abstracts. A full text stays before an abstract, else the lower rank."""
    rule = "kept.source <> double.source and (kept.pmid is null or double.pmid is null or kept.pmid = double.pmid)"
    pairs = []
    for key in ("id", "pmid", "pmcid", "doi", "corpus_id"):
        shared = f"(select {key} from works where reason is null and {key} is not null group by {key} having count(*) > 1)"
        alive = f"(select * from works where reason is null and {key} in {shared})"
        pairs.append(f"""select double.rank as double, kept.rank as kept, kept.abstract as abstract
                         from {alive} as double join {alive} as kept using ({key})
                         where (kept.abstract, kept.rank) < (double.abstract, double.rank) {'' if key == 'id' else f'and {rule}'}""")
    connection.execute(f"""create temp table found as
        select double as rank, arg_min(kept, (abstract, kept)) as kept from ({' union all '.join(pairs)}) group by double""")
    _mark(connection, "same-identifier")


def _exact(connection: Any) -> None:
    connection.execute("""create temp table found as
        with twice as (select text_key, min(rank) as kept from works where reason is null group by text_key having count(*) > 1)
        select rank, twice.kept from works join twice using (text_key) where reason is null and rank <> twice.kept""")
    _mark(connection, "exact-duplicate")


def _near(connection: Any) -> None:
    connection.execute("""create temp table bands as
        select works.rank, unnest(indexes.bands) as band from indexes join works using (shard, row) where works.reason is null""")
    links = connection.execute("""
        with shared as (select band, min(rank) as first from bands group by band having count(*) > 1)
        select distinct bands.rank, shared.first from bands join shared using (band) where bands.rank <> shared.first""").fetchnumpy()
    connection.execute("drop table bands")
    members, firsts = first_of_linked(links["first"], links["rank"])
    connection.register("linked", pa.table({"rank": members, "kept": firsts}))
    connection.execute("create temp table found as from linked")
    connection.unregister("linked")
    _mark(connection, "near-duplicate")


def _mark(connection: Any, reason: str) -> None:
    """Give those `found` their reason; each rule names only what no rule before it named."""
    connection.execute(f"update works set reason = '{reason}', kept = found.kept from found where works.rank = found.rank")
    connection.execute("drop table found")


def _hold_out(connection: Any, sources: Sequence[Source], settings: Corpus) -> None:
    """Table `held`: of each source its share for validation, of each domain at most `settings.validation_documents`, by hash.

    A domain of two documents or more has at least one held out, unless all its sources' shares are 0.
    """
    shares = pa.table({"source": pa.array(range(len(sources)), pa.int32()),
                       "share": [settings.validation if source.validation is None else source.validation for source in sources]})
    connection.register("shares", shares)
    connection.execute(f"""
        create temp table held as
        with placed as (
            select rank, domain, split, share, row_number() over (partition by source order by split, rank) as place,
                   count(*) over (partition by source) as of_source, count(*) over (partition by domain) as of_domain,
                   row_number() over (partition by domain, share > 0 order by split, rank) as of_all
            from works join shares using (source) where reason is null),
        chosen as (select rank, row_number() over (partition by domain order by split, rank) as turn from placed
                   where place <= round(share * of_source) or (of_all = 1 and share > 0 and of_domain > 1))
        select rank from chosen where turn <= {settings.validation_documents}""")


def _write(connection: Any, out: Path) -> None:
    result = connection.sql(f"""
        select works.shard, works.row, works.language, works.reason, coalesce(works.detail, stays.id) as detail,
               stays.source as kept_source,
               case when works.reason is not null then '{DROPPED}' when held.rank is not null then '{VALID}' else '{TRAIN}' end as fate
        from works left join works as stays on works.kept = stays.rank left join held on held.rank = works.rank
        order by works.shard, works.row""")
    with ShardWriter(out, FATES) as writer:
        for block in blocks(result, BATCH):
            writer.add_table(block.select(FATES.names))

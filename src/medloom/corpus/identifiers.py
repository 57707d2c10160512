"""The same work under one identifier: an abstract whose paper is here too, a paper that two sources hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def doubles_by_identifier(documents: pa.Table, formats: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(doubles, kept): the rows to drop and, for each, the row that stays in its stead.

    `documents` lie in order of rank and have the columns source, id, pmid, pmcid, doi; `formats` is that of each source. One id twice is a
    double anywhere. A shared PMID, PMCID or DOI is one across sources, unless the PMIDs differ: journals give one DOI to a
    whole supplement of abstracts. A full text stays before an abstract, else the lower rank.
    """
    import duckdb

    abstracts = [number for number, form in enumerate(formats) if form == "medline"]
    table = documents.select(["source", "id", "pmid", "pmcid", "doi"]).append_column("rank", pa.array(np.arange(len(documents))))
    is_abstract = pa.array(np.isin(documents["source"].to_numpy(), abstracts))
    table = table.append_column("abstract", is_abstract)
    rule = "kept.source <> double.source and (kept.pmid is null or double.pmid is null or kept.pmid = double.pmid)"
    pairs = [
        f"""select double.rank as double, kept.rank as kept, kept.abstract as abstract from works as double join works as kept using ({key})
            where (kept.abstract, kept.rank) < (double.abstract, double.rank) {'' if key == 'id' else f'and {rule}'}"""
        for key in ("id", "pmid", "pmcid", "doi")
    ]
    with duckdb.connect() as connection:
        connection.register("works", table)
        found = connection.execute(
            f"select double, arg_min(kept, (abstract, kept)) as kept from ({' union all '.join(pairs)}) group by double order by double"
        ).fetchnumpy()
    return np.asarray(found["double"], np.int64), np.asarray(found["kept"], np.int64)

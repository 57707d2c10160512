"""Records that are documents already: JSON lines and Parquet, by the field names of dolma, RedPajama, FineWeb and the guidelines set.

Fields are looked for in the record and then in its `metadata` or `meta` (a table, or JSON in a string).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .clean import clean, one_line
from .document import Document, Drop, Origin
from .files import lines

TEXT = ("text", "clean_text", "raw_content", "content")
IDENTIFIER = ("id", "doc_id", "uuid", "url")
FIELDS: dict[str, tuple[str, ...]] = {
    "title": ("title",), "language": ("language", "lang"), "licence": ("licence", "license"), "licence_url": ("licence_url", "license_url"),
    "doi": ("doi",), "pmid": ("pmid",), "pmcid": ("pmcid",), "year": ("year", "publication_year", "published", "publication_date"),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


def read_json_lines(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[Document | Drop]:
    """A file of JSON lines. A line that is no JSON object is a Drop."""
    for number, line in enumerate(lines(path, faults), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # bad JSON or UTF-8, a number of thousands of digits, endless nesting
            yield origin.drop("broken-record", f"line {number}: {str(error)[:200]}", f"{origin.key}#{number}")
            continue
        yield read_record(record, number, origin)


def read_parquet(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[Document | Drop]:
    """A Parquet file, a batch of rows in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield read_record(record, number, origin)
    except (pa.ArrowException, OSError) as error:
        faults.append(("damaged-file", str(error).splitlines()[0]))


def read_record(record: Any, number: int, origin: Origin) -> Document | Drop:
    """A document from a record; `number` is its place in the file, counted from 1, and its id where it brings none."""
    key = f"{origin.key}#{number}"
    if not isinstance(record, Mapping):
        return origin.drop("broken-record", f"not an object but {type(record).__name__}", key)
    more = record.get("metadata") or record.get("meta") or {}
    if isinstance(more, str):
        try:
            more = json.loads(more)
        except (ValueError, RecursionError):
            more = {}
    places = [record, more] if isinstance(more, Mapping) else [record]
    identifier = next((record[field] for field in IDENTIFIER if record.get(field) not in (None, "")), None)
    if identifier is not None:
        key = f"{origin.source}:{identifier}"
    text = next((record[field] for field in TEXT if isinstance(record.get(field), str)), None)
    if text is None:
        return origin.drop("no-text", f"none of the fields {', '.join(TEXT)} holds a text", key)
    if any(isinstance(value, str) and _SURROGATE.search(value) for value in (key, *(v for place in places for v in place.values()))):
        return origin.drop("broken-record", "holds half of a surrogate pair, which is no character", _SURROGATE.sub("?", key))
    values = {ours: next((_words(place[field]) for place in places for field in theirs if _words(place.get(field))), None)
              for ours, theirs in FIELDS.items()}
    text = clean(text)
    if not text:
        return origin.drop("empty", id=key)
    year = _YEAR.search(values["year"] or "")
    language = (values["language"] or "").lower().split("-")[0].split("_")[0]
    pmcid = (values["pmcid"] or "").upper().removeprefix("PMC")
    return origin.document(
        key, text, title=values["title"], licence=values["licence"] or origin.licence, licence_url=values["licence_url"],
        language=language if re.fullmatch(r"[a-z]{2}", language) else None, year=int(year[0]) if year else None,
        doi=(values["doi"] or "").lower() or None, pmid=values["pmid"], pmcid=f"PMC{pmcid}" if pmcid else None)


def _words(value: Any) -> str | None:
    return one_line(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None

"""Records that are documents already: JSON lines and Parquet, by the field names of those who publish such sets.

Dolma, RedPajama 1 and 2, FineWeb, StarCoder, the guidelines that Meditron released, and Semantic Scholar's abstracts. A field is looked
for in the record, then in its `metadata` or `meta` (a table, or one written out in a string), then among its external identifiers.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from ..document import Document, Drop, Origin
from .clean import clean, one_line
from .files import lines, suffix
from .licence import name_licence

TEXT = ("text", "clean_text", "raw_content", "content", "abstract", "raw_text")
IDENTIFIER = ("id", "doc_id", "uuid", "hexsha", "url")
FIELDS: dict[str, tuple[str, ...]] = {
    "title": ("title",), "language": ("language", "lang"), "licence_url": ("licence_url", "license_url"),
    "year": ("year", "publication_year", "published", "publication_date", "publicationdate"),
}
LICENCES = ("licence", "license", "licences", "licenses", "max_stars_repo_licenses")
IDENTIFIERS: dict[str, tuple[str, ...]] = {
    "doi": ("doi",), "pmid": ("pmid", "pubmed", "pubmed_id"), "pmcid": ("pmcid", "pmc_id", "pubmedcentral"),
    "corpus_id": ("corpus_id", "corpusid"),
}
_IDENTIFIERS = {name for names in IDENTIFIERS.values() for name in names}
SURROGATE = re.compile("[\ud800-\udfff]")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")
_RUN_TOGETHER = re.compile(r"CC(BY)(NC)?(SA|ND)?", re.IGNORECASE)  # how Semantic Scholar writes Creative Commons' names


def json_records(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[tuple[int, Any]]:
    """(number, record) for each record of a file of JSON lines, counted from 1; a line that is no JSON is a Drop in its record's place.

    A .json file whose first line ends amid a value is one value over many lines, which is held in memory whole (some ten times its
    size on disk): an object is the only record, the elements of a list are one each.
    """
    stream = enumerate(lines(path, faults), start=1)
    for number, line in stream:
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # bad JSON or UTF-8, a number of thousands of digits, endless nesting
            goes_on = isinstance(error, json.JSONDecodeError) and error.pos >= len(error.doc.rstrip())
            if goes_on and number == 1 and suffix(path.name) == ".json":
                yield from _one_value(chain([line], (more for _, more in stream)), origin, faults)
            else:
                yield number, origin.drop("broken-record", f"line {number}: {str(error)[:200]}", f"{origin.key}#{number}")
            continue
        if isinstance(record, list) and suffix(path.name) == ".json":
            yield from enumerate(record, start=number)
        else:
            yield number, record


def _one_value(pieces: Iterator[bytes], origin: Origin, faults: list[tuple[str, str]]) -> Iterator[tuple[int, Any]]:
    data = b"\n".join(pieces)
    if faults:  # cut off or damaged: the file is named already
        return
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        yield 1, origin.drop("broken-record", f"no JSON lines, nor one value over many: {str(error)[:200]}")
        return
    yield from enumerate(value if isinstance(value, list) else [value], start=1)


def read_json_lines(path: Path, origin: Origin, faults: list[tuple[str, str]]) -> Iterator[Document | Drop]:
    """A file of JSON lines, or one JSON list or object. What is no JSON object is a Drop."""
    for number, record in json_records(path, origin, faults):
        yield record if isinstance(record, Drop) else read_record(record, number, origin)


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
    places = [record, table(record.get("metadata") or record.get("meta"))]
    known = identifiers(*places)
    identifier = next((record[field] for field in IDENTIFIER if record.get(field) not in (None, "")), None)
    if identifier is not None:
        key = f"{origin.source}:{identifier}"
    elif known["corpus_id"]:
        key = f"s2:{known['corpus_id']}"
    texts = [(field, record[field]) for field in TEXT if isinstance(record.get(field), str)]
    if not texts:
        return origin.drop("no-text", f"none of the fields {', '.join(TEXT)} holds a text", key)
    field, text = next((pair for pair in texts if pair[1].strip()), texts[0])
    values = {ours: next((_words(place[name]) for place in places for name in theirs if _words(place.get(name))), None)
              for ours, theirs in FIELDS.items()}
    text = clean(text)
    if not text:
        return origin.drop("empty", id=key)
    if field == "abstract" and values["title"]:
        text = f"{values['title']}\n\n{text}"
    stated = (*places, table(record.get("openaccessinfo")))
    licence, url = next((found for place in stated for name in LICENCES if (found := read_licence(place.get(name)))[0]), (None, None))
    url = values["licence_url"] or url
    try:
        "".join(value or "" for value in (key, text, values["title"], licence, url, *known.values())).encode()
    except UnicodeEncodeError:
        return origin.drop("broken-record", "holds half of a surrogate pair, which is no character", SURROGATE.sub("?", key))
    return origin.document(key, text, title=values["title"], licence=licence or origin.licence, licence_url=url,
                           language=_language(values["language"]), year=year(values["year"]), **known)


def table(value: Any) -> Mapping[str, Any]:
    """A table that may be written out in a string; empty where it is none."""
    value = written_out(value)
    return value if isinstance(value, Mapping) else {}


def written_out(value: Any) -> Any:
    """The list or table that a string holds as JSON or as Python writes it, None where it holds none. Anything but a string is itself."""
    if not isinstance(value, str):
        return value
    if value.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None


def identifiers(*places: Mapping[str, Any]) -> dict[str, str | None]:
    """doi, pmid, pmcid and corpus_id by whatever names the places, or the external identifiers in them, have them under."""
    found: dict[str, str] = {}
    for place in places:
        outside = table(place.get("openaccessinfo"))
        for names in (place, table(place.get("externalids")), table(outside.get("externalids")), table(place.get("identifiers"))):
            for name, value in names.items():
                if (known := str(name).lower()) in _IDENTIFIERS and (words := _words(value)):
                    found.setdefault(known, words)
    first = {ours: next((found[name] for name in theirs if name in found), "") for ours, theirs in IDENTIFIERS.items()}
    pmcid = first["pmcid"].upper().removeprefix("PMC")
    return {"doi": first["doi"].lower().removeprefix("https://doi.org/") or None, "pmid": first["pmid"] or None,
            "pmcid": f"PMC{pmcid}" if pmcid else None, "corpus_id": first["corpus_id"] or None}


def read_licence(value: Any) -> tuple[str | None, str | None]:
    """(name, address) of a licence given as a name, an address, a table of either, or a list: of several, all hold."""
    if isinstance(value, Mapping):
        name = next((value[key] for key in ("spdx_id", "id", "name", "title", "type", "license") if _words(value.get(key))), None)
        url = next((value[key] for key in ("url", "href") if _words(value.get(key))), None)
        return (read_licence(name)[0] or read_licence(url)[0], _words(url))
    if isinstance(value, list | tuple):
        found = [read_licence(one) for one in value]
        return " AND ".join(dict.fromkeys(name for name, _ in found if name)) or None, next((url for _, url in found if url), None)
    words = _words(value)
    if words is None:
        return None, None
    if "://" in words:
        return name_licence(words, "") or words, words
    parts = _RUN_TOGETHER.fullmatch(words)
    return "-".join(["CC", *(part.upper() for part in parts.groups() if part)]) if parts else words, None


def year(value: Any) -> int | None:
    """The year of a date in whatever form."""
    found = _YEAR.search(str(value or ""))
    return int(found[0]) if found else None


def _language(value: str | None) -> str | None:
    """A two-letter code, less its country. "Go" and "Hy" are programming languages: a code is in one case."""
    code = re.split("[-_]", value or "")[0]
    return code.lower() if re.fullmatch("[a-z]{2}|[A-Z]{2}", code) else None


def _words(value: Any) -> str | None:
    return one_line(str(value)) if isinstance(value, str | int) and not isinstance(value, bool) else None

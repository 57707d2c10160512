"""Records as others publish them: each set's own field names are read, and what is no record is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.readers.generic import read_json_lines, read_licence, read_parquet, read_record

ORIGIN = Origin("replay", "general", "part.jsonl", "ODC-BY")


def document(record: dict[str, Any]) -> Document:
    found = read_record(record, 3, ORIGIN)
    assert isinstance(found, Document), found
    return found


def read(path: Path) -> list[Document | Drop]:
    faults: list[tuple[str, str]] = []
    found = list(read_json_lines(path, Origin("replay", "general", path.name), faults))
    assert not faults
    return found


def test_dolma() -> None:
    found = document({"id": "http://x.org/a", "text": "Words.", "source": "common-crawl", "added": "2023-04-07", "created": "2020-03-29",
                      "metadata": {"language": "en", "language_score": 0.9, "title": "A page", "length": 6}})
    assert (found.id, found.text, found.title, found.language, found.licence, found.year) == (
        "replay:http://x.org/a", "Words.", "A page", "en", "ODC-BY", None)


def test_redpajama() -> None:
    first = document({"text": "Words.", "meta": {"url": "http://x.org", "language": "en", "timestamp": "2021"}})
    as_python_wrote_it = document({"text": "Words.", "meta": "{'title': \"Marsh's law\", 'language': 'en'}"})
    second = document({"raw_content": "Words.", "doc_id": "2023-06/0000/en_head.json.gz/7", "meta": '{"language": "en", "title": "A"}',
                       "quality_signals": "{}"})
    assert first.id == "replay:part.jsonl#3" and first.language == "en"
    assert as_python_wrote_it.title == "Marsh's law"
    assert (second.id, second.text, second.title) == ("replay:2023-06/0000/en_head.json.gz/7", "Words.", "A")


def test_fineweb() -> None:
    found = document({"text": "Words.", "id": "<urn:uuid:39147604>", "dump": "CC-MAIN-2013-20", "url": "http://x.org/2011/a",
                      "date": "2013-05-18T05:48:54Z", "file_path": "s3://b/c", "language": "en", "language_score": 0.82, "token_count": 2})
    assert (found.id, found.language, found.year) == ("replay:<urn:uuid:39147604>", "en", None), "a crawl's date is not the text's"


def test_starcoder() -> None:
    source = "def f(x):\n    return x < 3 and x > 1"
    found = document({"content": source, "id": "55", "max_stars_repo_name": "a/b", "max_stars_repo_path": "f.py", "max_stars_count": None,
                      "max_stars_repo_licenses": ["MIT", "Apache-2.0"]})
    assert (found.text, found.licence) == (source, "MIT AND Apache-2.0")
    found = document({"content": source, "hexsha": "ab", "lang": "Go", "ext": "go", "max_stars_repo_licenses": ["MIT"]})
    assert (found.id, found.language, found.licence) == ("replay:ab", None, "MIT"), "Go is no language that people speak"


def test_the_released_guidelines() -> None:
    record = {"id": "e2a0", "source": "cma", "title": "Otitis", "clean_text": "# Otitis\n\n- or wait", "raw_text": "<p>Otitis", "url": None,
              "overview": None}
    found = document(record)
    assert (found.id, found.text, found.title) == ("replay:e2a0", "# Otitis\n\n- or wait", "Otitis")
    assert document({**record, "clean_text": " "}).text == "<p>Otitis", "what was not cleaned is better than nothing"


def test_abstracts_of_semantic_scholar() -> None:
    record = {"corpusid": 148, "openaccessinfo": {"externalids": {"MAG": "1", "DOI": "10.1/A", "PubMedCentral": 99, "PubMed": None},
                                                  "license": "CCBYNCND", "url": "https://x.org/a.pdf", "status": "GREEN"},
              "abstract": "Velpin lowers fever."}
    found = document(record)
    assert (found.id, found.corpus_id, found.doi, found.pmcid, found.pmid) == ("s2:148", "148", "10.1/a", "PMC99", None)
    assert (found.text, found.licence) == ("Velpin lowers fever.", "CC-BY-NC-ND")
    joined = {**record, "title": "On velpin", "year": 2019, "externalids": {"PubMed": "7", "CorpusId": "148"}}
    found = document(joined)
    assert (found.text, found.pmid, found.year) == ("On velpin\n\nVelpin lowers fever.", "7", 2019)
    renamed = {name: value for name, value in record.items() if name != "abstract"} | {"text": "Velpin lowers fever."}
    assert document(renamed).text == "Velpin lowers fever.", "as the original writes them"


@pytest.mark.parametrize(("value", "name", "url"), [
    ("CC0-1.0", "CC0-1.0", None), (["mit"], "mit", None), ([], None, None), (None, None, None), (True, None, None),
    ({"name": "CC BY 4.0", "url": "https://creativecommons.org/licenses/by/4.0/"}, "CC BY 4.0",
     "https://creativecommons.org/licenses/by/4.0/"),
    ({"url": "https://creativecommons.org/licenses/by-sa/3.0/"}, "CC-BY-SA-3.0", "https://creativecommons.org/licenses/by-sa/3.0/"),
    ("https://creativecommons.org/publicdomain/zero/1.0/", "CC0-1.0", "https://creativecommons.org/publicdomain/zero/1.0/"),
    ("CCBY", "CC-BY", None), ("ccbyncsa", "CC-BY-NC-SA", None), ("publisher-specific-oa", "publisher-specific-oa", None),
])
def test_licences_in_every_form(value: Any, name: str | None, url: str | None) -> None:
    assert read_licence(value) == (name, url)


def test_a_json_file_may_be_lines_a_list_or_one_object(tmp_path: Path) -> None:
    records = [{"id": str(n), "text": f"Words {n}."} for n in range(3)]
    forms = {"lines.json": "\n".join(map(json.dumps, records)), "list.json": json.dumps(records),
             "indented.json": json.dumps(records, indent=1)}
    for name, content in forms.items():
        (tmp_path / name).write_text(content)
        assert [one.id for one in read(tmp_path / name)] == ["replay:0", "replay:1", "replay:2"], name
    (tmp_path / "one.json").write_text(json.dumps(records[0], indent=2))
    assert [one.id for one in read(tmp_path / "one.json")] == ["replay:0"]


def test_a_broken_json_file_is_named_and_broken_lines_fall_alone(tmp_path: Path) -> None:
    good = '{"id": "a", "text": "Words."}'
    (tmp_path / "cut.json").write_text('[\n {"id": "a",\n')
    (tmp_path / "lines.json").write_text(f'{{"id": "broken", "text": "Wo\n{good}\n')
    (tmp_path / "lines.jsonl").write_text(f"[\n{good}\n[{good}]\n")
    found = {path.name: [(one.id, one.reason if isinstance(one, Drop) else "") for one in read(path)] for path in tmp_path.iterdir()}
    assert found == {"cut.json": [("replay:cut.json", "broken-record")],
                     "lines.json": [("replay:lines.json#1", "broken-record"), ("replay:a", "")],
                     "lines.jsonl": [("replay:lines.jsonl#1", "broken-record"), ("replay:a", ""),
                                     ("replay:lines.jsonl#3", "broken-record")]}


def test_parquet(tmp_path: Path) -> None:
    rows = [{"text": "Words.", "id": "a", "metadata": {"language": "en", "license": "MIT"}},
            {"text": None, "id": "b", "metadata": {"language": None, "license": None}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "part.parquet")
    faults: list[tuple[str, str]] = []
    first, second = read_parquet(tmp_path / "part.parquet", ORIGIN, faults)
    assert isinstance(first, Document) and (first.id, first.language, first.licence) == ("replay:a", "en", "MIT")
    assert isinstance(second, Drop) and (second.id, second.reason) == ("replay:b", "no-text")
    (tmp_path / "part.parquet").write_bytes(b"PAR1 and no more")
    assert list(read_parquet(tmp_path / "part.parquet", ORIGIN, faults)) == [] and faults[0][0] == "damaged-file"


def test_half_a_character_anywhere_is_named() -> None:
    for record in ({"text": "half \ud800"}, {"text": "a", "title": "\ud800"}, {"text": "a", "externalids": {"DOI": "\udfff"}},
                   {"text": "a", "license": ["\ud800"]}, {"id": "\ud800", "text": "a"}):
        found = read_record(record, 1, ORIGIN)
        assert isinstance(found, Drop) and found.reason == "broken-record"
        f"{found.id}{found.detail}".encode()


def test_real_web_documents(shared: Path) -> None:
    found = read(shared / "corpus/general/cc_en_head-0091.jsonl")
    lines = [json.loads(line) for line in (shared / "corpus/general/cc_en_head-0091.jsonl").read_text().splitlines()]
    assert len(found) == len(lines) == 10
    for one, line in zip(found, lines, strict=True):
        assert isinstance(one, Document) and one.title and one.language == "en" and one.id == f"replay:{line['id']}"
        assert one.text.split() == re.sub("(?m)^[·•] *|\x10", lambda m: "- " * (m[0] != "\x10"), line["text"]).split(), "no word is touched"

"""Input that gives no document ends in a sentence that says so; a bad record falls alone."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from medloom.corpus import build_corpus, read_source
from medloom.ledger import Refusal, Silent
from medloom.recipe import Corpus, Source

ENGLISH = b'{"text": "The patient was given water and slept well through the whole night."}\n'


def read(tmp_path: Path, content: bytes, **rules: object) -> tuple[Source, Corpus, Path]:
    source = Source(name="notes", format="jsonl", path="notes.jsonl")
    settings = Corpus.model_validate({"sources": [source.model_dump()], "workers": 1, **rules})
    (tmp_path / "notes.jsonl").write_bytes(content)
    for folder in ("read", "state", "corpus"):
        (tmp_path / folder).mkdir()
    read_source(source, tmp_path / "notes.jsonl", settings, tmp_path / "read", Silent(), tmp_path / "state")
    return source, settings, tmp_path / "read"


def test_a_bad_record_falls_alone(tmp_path: Path) -> None:
    good = json.dumps({"id": "good", "text": "The patient was given water and slept well through the whole night."}).encode()
    bad = [b'{"text": "half a pair \\ud800 in a sentence that is long enough to be kept"}', b'{"text": ' + b"9" * 5000 + b"}",
           b"[" * 3000, b"{"]
    read(tmp_path, b"\n".join([good, *bad]) + b"\n")
    kept = parquet.read_table(tmp_path / "read/part-00000.parquet")["id"].to_pylist()
    assert kept == ["notes:good"]
    reasons = parquet.read_table(tmp_path / "read/dropped.parquet")["reason"].to_pylist()
    assert reasons == ["broken-record"] * 4


@pytest.mark.parametrize(("content", "rules", "says"), [
    (b"", {}, "no document is left"),
    (ENGLISH, {"min_characters": 10**6}, "most fell to 'too-short'"),
    (ENGLISH, {"languages": ["fr"]}, "most fell to 'language'"),
])
def test_a_corpus_of_nothing_is_refused_with_the_reason(content: bytes, rules: dict[str, object], says: str, tmp_path: Path) -> None:
    source, settings, folder = read(tmp_path, content, **rules)
    with pytest.raises(Refusal, match=says):
        build_corpus({"notes": folder}, (source,), settings, [], 1, tmp_path / "corpus", Silent(), tmp_path / "state")

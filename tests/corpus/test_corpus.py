"""The whole room on a small corpus: what stays, what goes and why, the same bytes however it is run."""

from __future__ import annotations

import json
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from medloom.corpus import build_corpus, read, read_source, tokenise_corpus
from medloom.corpus.document import SCHEMA
from medloom.ledger import Refusal, Silent
from medloom.model.tokenizer import load_tokenizer
from medloom.model.tokens import TokenStore
from medloom.recipe import Corpus, Source

from .conftest import prose


def read_all(settings: Corpus, out: Path) -> dict[str, Path]:
    for source in settings.sources:
        read_source(source, Path(source.path), settings, out / source.name, Silent(), out / "state" / source.name)
    return {source.name: out / source.name for source in settings.sources}


def build(settings: Corpus, out: Path, benchmarks: list[Path] | None = None, seed: int = 1) -> dict[str, object]:
    return build_corpus(read_all(settings, out), settings.sources, settings, benchmarks or [], seed, out / "corpus", Silent(),
                        out / "state/corpus")


def dropped(folder: Path) -> dict[str, str]:
    parts = [folder / "dropped.parquet"] if (folder / "dropped.parquet").exists() else sorted((folder / "dropped").glob("*.parquet"))
    return {row["id"]: row["reason"] for path in parts for row in pq.read_table(path).to_pylist()}


def kept(folder: Path) -> dict[str, dict[str, object]]:
    paths = [*folder.glob("train/*.parquet"), *folder.glob("valid/*/*.parquet")]
    return {row["id"]: row for path in paths for row in pq.read_table(path).to_pylist()}


def digests(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.rglob("*")) if path.is_file() and "state" not in path.relative_to(folder).parts}


def test_reading_keeps_books(settings: Corpus, tmp_path: Path) -> None:
    folders = read_all(settings, tmp_path / "out")
    assert dropped(folders["abstracts"]) == {"pmid:1": "older-version", "pmid:2": "older-version", "pmid:4": "deleted-citation",
                                             "abstracts:pubmed03.xml": "empty-file"}
    parts = [pq.read_table(path) for path in sorted(folders["abstracts"].glob("part-*.parquet"))]
    assert all(part.schema.equals(SCHEMA) for part in parts)
    documents = [row for part in parts for row in part.to_pylist()]
    texts = {row["id"]: row["text"] for row in documents}
    assert len(documents) == len(texts) == 41
    assert prose(101) in texts["pmid:1"] and prose(102) in texts["pmid:2"], "the later file, and before it the higher version, wins"
    assert all(sha256(row["text"].encode()).hexdigest() == row["sha256"] for row in documents)
    files = pq.read_table(folders["abstracts"] / "files.parquet").to_pylist()
    assert [(file["path"], file["documents"], file["dropped"]) for file in files] == [
        ("pubmed01.xml", 39, 3), ("pubmed02.xml.gz", 2, 1), ("pubmed03.xml", 0, 1)]
    assert all(sha256((Path(settings.sources[0].path) / file["path"]).read_bytes()).hexdigest() == file["sha256"] for file in files)
    manifest = json.loads((folders["abstracts"] / "manifest.json").read_text())
    assert manifest["documents"] == 41
    assert manifest["dropped"] == {"deleted-citation": 1, "empty-file": 1, "older-version": 3}
    assert dropped(folders["papers"]) == {"papers:b.nxml": "broken-xml"}
    assert dropped(folders["guides"]) == {"guides:logo.png": "unsupported-suffix"}
    assert dropped(folders["web"]) == {"web:a.jsonl#31": "broken-record", "web:none": "no-text"}


def test_building_drops_what_it_should_and_nothing_else(settings: Corpus, tmp_path: Path) -> None:
    figures = build(settings, tmp_path / "out")
    corpus = tmp_path / "out/corpus"
    assert dropped(corpus) == {"pmid:41": "same-identifier", "pmid:42": "near-duplicate", "guides:one.md": "exact-duplicate",
                               "guides:german.txt": "language", "guides:short.txt": "too-short"}
    documents = kept(corpus)
    assert "doi:10.1/paper" in documents and documents["guides:copy.txt"]["licence"] == "MIT"
    assert "* Dose <5 mg/kg; if age > 3 y\n* or WAIT" in str(documents["guides:copy.txt"]["text"])
    assert documents["guides:copy.txt"]["language"] == "en", "detected where nobody declared it"
    assert documents["web:r3"]["licence"] == "CC0-1.0" and documents["web:r3"]["title"] == "R 3"
    report = json.loads((corpus / "report.json").read_text())
    for source in report["sources"]:
        assert source["records"] == source["train"]["documents"] + source["valid"]["documents"] + sum(source["dropped"].values())
    assert figures["valid"]["documents"] == 4 + 3  # type: ignore[index]
    assert {path.name for path in corpus.glob("valid/*")} == {"medical", "general"}
    assert "| guides | language | 1 |" in (corpus / "report.md").read_text()


def test_rules_name_their_reason(settings: Corpus, tmp_path: Path) -> None:
    questions = tmp_path / "exam.jsonl"
    common = "Which of the following is the most likely diagnosis here"
    items = [{"id": "q1", "question": common, "context": prose(5), "pmid": None},
             {"id": "q2", "question": common, "context": None, "pmid": "7"}]
    questions.write_text("\n".join(json.dumps({"options": None, "answer": 0, **item}) for item in items))
    strict = settings.model_copy(update={"licences": ("CC0-1.0", "mit"), "near_duplicates": False})
    build(strict, tmp_path / "strict")
    assert Counter(dropped(tmp_path / "strict/corpus").values())["licence"] == 42
    build(settings, tmp_path / "out", [questions])
    reasons = dropped(tmp_path / "out/corpus")
    assert reasons["pmid:5"] == "benchmark-overlap" and reasons["pmid:7"] == "benchmark-pmid"
    assert sum(reason.startswith("benchmark") for reason in reasons.values()) == 2
    report = json.loads((tmp_path / "out/corpus/report.json").read_text())
    assert report["benchmarks"] == {"exam": {"questions": 2, "guarded": 2, "questions_touched": 2, "documents_dropped": 2, "by_pmid": 1,
                                             "by_overlap": 1, "worst": [{"question": "q1", "document": "pmid:5", "overlap": 1.0}]}}


def test_the_bytes_do_not_depend_on_workers_and_interruptions(settings: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "SMALLEST_GROUP", 1000)  # every file its own shard
    build(settings.model_copy(update={"workers": 1}), tmp_path / "one")
    for number, victim in enumerate(["part-00000.json", "part-00001.parquet", "part-00001.json"]):
        # As a kill would leave it: a shard without its manifest, or one half-written under a temporary name.
        state = tmp_path / "one/state/abstracts"
        (state / victim).rename(state / f".{victim}.{number}.tmp")
    build(settings.model_copy(update={"workers": 1}), tmp_path / "one")
    build(settings.model_copy(update={"workers": 2}), tmp_path / "two")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_the_seed_decides_the_split_and_not_what_stays(settings: Corpus, tmp_path: Path) -> None:
    build(settings, tmp_path / "one")
    build(settings, tmp_path / "other", seed=2)
    assert digests(tmp_path / "other")["corpus/train/part-00000.parquet"] != digests(tmp_path / "one")["corpus/train/part-00000.parquet"]
    assert set(kept(tmp_path / "other/corpus")) == set(kept(tmp_path / "one/corpus"))


@pytest.mark.parametrize(("form", "path", "words"), [
    ("medline", "nowhere", "no such file or folder"), ("jats", "guides", "no file that format 'jats' reads"),
    ("text", "web/*.txt", "no file that")])
def test_a_path_with_nothing_to_read_is_refused(tree: Path, settings: Corpus, tmp_path: Path, form: str, path: str, words: str) -> None:
    source = Source.model_validate({"name": "x", "format": form, "path": path})
    with pytest.raises(Refusal, match=words):
        read_source(source, tree / path, settings, tmp_path / "out", Silent(), tmp_path / "state")


def test_a_glob_means_the_files_that_match(tree: Path, settings: Corpus, tmp_path: Path) -> None:
    source = Source(name="x", format="medline", path="medline/*.gz")
    figures = read_source(source, tree / "medline/*.gz", settings, tmp_path / "out", Silent(), tmp_path / "state")
    assert (figures["files"], figures["documents"]) == (1, 2)


def test_tokens_and_their_order(settings: Corpus, shared: Path, tmp_path: Path) -> None:
    model = shared / "tokenizers/llama2"
    build(settings, tmp_path / "out")
    corpus = tmp_path / "out/corpus"

    def tokenise(out: Path, workers: int, tokens: int | None = None, epochs: float = 2.0) -> dict[str, object]:
        part = settings.model_copy(update={"workers": workers})
        return tokenise_corpus(corpus, model, part, settings.sources, 1, tokens, epochs, out, Silent(), out / "state")

    tokenise(tmp_path / "a", 1)
    tokenise(tmp_path / "b", 2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    store, order = TokenStore.open(tmp_path / "a/train"), np.load(tmp_path / "a/order.npy")
    rows = pq.read_table(tmp_path / "a/documents.parquet").to_pylist()
    assert [row["start"] for row in rows] == store.offsets[:-1].tolist() and [row["length"] for row in rows] == store.lengths.tolist()
    tokenizer = load_tokenizer(model)
    assert store[0][0] == tokenizer.bos_id and store[0][-1] == tokenizer.eos_id
    assert tokenizer.decode(store[0].tolist()) == kept(corpus)[rows[0]["id"]]["text"]

    counts = np.bincount(order, minlength=len(rows))
    assert all(counts[n] == 2 for n, row in enumerate(rows) if row["source"] != "web"), "whole sources enter once an epoch"
    mixture = json.loads((tmp_path / "a/mixture.json").read_text())
    web = next(source for source in mixture["sources"] if source["name"] == "web")
    longest = max(row["length"] for row in rows if row["source"] == "web")
    assert abs(web["tokens"] - 0.25 * mixture["tokens_asked"]) <= longest / 2
    seen = counts[[row["source"] == "web" for row in rows]]
    assert seen.max() - seen.min() <= 1, "no document again before all were used"
    half = order[: len(order) // 2]
    share = sum(rows[n]["length"] for n in half if rows[n]["source"] == "web") / sum(rows[n]["length"] for n in half)
    assert abs(share - 0.25) < 0.05, "the mixture holds at any time"

    tokenise(tmp_path / "c", 1, tokens=1000)
    few = json.loads((tmp_path / "c/mixture.json").read_text())
    assert abs(few["tokens"] - 1000) < 2 * max(row["length"] for row in rows)

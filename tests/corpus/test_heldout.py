"""Held-out documents as tokens: all of them where there are few, the same few wherever there are many, none that is trained on."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from medloom.corpus import heldout, tokenise_corpus
from medloom.corpus.heldout import write_heldout
from medloom.ledger import Silent
from medloom.model import TokenStore, load_tokenizer
from medloom.recipe import Corpus

from .conftest import prose
from .test_corpus import build

SEEDLING = Path(__file__).parents[2] / "src/medloom/demo/seedling"


def texts(prefix: Path) -> list[str]:
    tokenizer, store = load_tokenizer(SEEDLING), TokenStore.open(prefix)
    return [tokenizer.decode(store[number].tolist()).strip() for number in range(len(store))]


def test_every_domain_is_held_out_whole_and_apart(settings: Corpus, tmp_path: Path) -> None:
    build(settings, tmp_path / "out")
    corpus, out = tmp_path / "out/corpus", tmp_path / "tokens"
    figures = tokenise_corpus(corpus, SEEDLING, settings, settings.sources, 1, None, 1.0, out, Silent(), tmp_path / "state")
    trained = set(texts(out / "train"))
    domains = {folder.name: pq.read_table(folder)["text"].to_pylist() for folder in (corpus / "valid").iterdir()}
    assert set(figures["heldout_tokens"]) == set(domains) == {"medical", "general"}
    for domain, documents in domains.items():
        held = texts(out / "heldout" / domain)
        assert sorted(held) == sorted(text.strip() for text in documents) and held != sorted(held)
        assert not trained & set(held)
        assert figures["heldout_tokens"][domain] == TokenStore.open(out / "heldout" / domain).offsets[-1]


def test_of_many_the_first_by_hash_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    tokenizer = load_tokenizer(SEEDLING)
    monkeypatch.setattr(heldout, "TOKENS", 2000)
    monkeypatch.setattr(heldout, "CHARACTERS", 16_000)
    monkeypatch.setattr(heldout, "LONGEST", 300)
    documents = [{"id": f"d{n}", "text": prose(n, 400 if n % 5 == 0 else 60)} for n in range(100)]

    def held(name: str, rows: list[dict[str, str]]) -> list[str]:
        parts = tmp_path / name / "valid/medical"
        parts.mkdir(parents=True)
        for number, part in enumerate((rows[:3], rows[3:])):
            pq.write_table(pa.Table.from_pylist(part), parts / f"part-{number:05d}.parquet", row_group_size=10)
        count = write_heldout(tmp_path / name, tokenizer, 1, tmp_path / name / "out")["medical"]
        store = TokenStore.open(tmp_path / name / "out/medical")
        assert 1700 < count == store.offsets[-1] <= 2000 and store.lengths.max() == 300
        return texts(tmp_path / name / "out/medical")

    first = held("a", documents)
    assert held("b", documents[::-1]) == first, "where a document lay does not matter"
    assert held("c", [row for row in documents if any(text in row["text"] for text in first)]) == first, "nor do those that were not chosen"

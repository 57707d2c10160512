"""The command's faces of the corpus: forecast, report, token, contamination, special tokens; on the real forms of their input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medloom.corpus import forecast
from medloom.ledger import Refusal
from medloom.model import MEDITRON_TOKENS, TokenStore, load_tokenizer
from medloom.recipe import read_recipe

from .conftest import prose

RECIPES = Path(__file__).parents[2] / "recipes"
SEEDLING = Path(__file__).parents[2] / "src/medloom/demo/seedling"


def medloom(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "medloom", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose corpus has been built, and `exam.jsonl`, of whose questions the first five stand in the corpus."""
    root = tmp_path_factory.mktemp("faces")
    (root / "notes").mkdir()
    for number in range(40):
        (root / f"notes/{number:02d}.txt").write_text(f"# Note {number}\n\n{prose(number, 200)}")
    asked = [prose(number, 200) for number in (1, 2, 3, 4, 5)] + [prose(number, 60) for number in range(900, 920)]
    (root / "exam.jsonl").write_text("\n".join(json.dumps({"id": f"q{n}", "question": text}) for n, text in enumerate(asked)))
    (root / "r.toml").write_text('name = "r"\n[base]\npath = "seedling"\n[corpus]\nvalidation = 0\n[[corpus.sources]]\nname = "notes"\n'
                                 'format = "text"\npath = "notes"\n[pretrain]\nepochs = 2.0\n')
    medloom("corpus", root / "r.toml", "--out", root / "run", "--workers", 1, "--quiet")
    return root


def test_the_recipe_of_meditron_makes_the_papers_table() -> None:
    """Chen et al. 2023, table 1: documents and tokens to train on and held out, by source."""
    rows = {row.name: row for row in forecast(read_recipe(RECIPES / "meditron-7b.toml"))}
    published = {"guidelines": (41e3, 2_284, 107e6, 6e6), "pubmed-abstracts": (15.7e6, 487e3, 5.48e9, 170e6),
                 "pubmed-papers": (4.9e6, 142e3, 40.7e9, 1.23e9), "replay": (494e3, 0, 420e6, 0)}
    assert rows.keys() == published.keys()
    for name, numbers in published.items():
        row = rows[name]
        made = (row.train_documents, row.valid_documents, row.train_tokens, row.valid_tokens)
        assert made == pytest.approx(numbers, rel=0.07), name
    assert sum(row.train_tokens for row in rows.values()) == pytest.approx(46.7e9, rel=0.001)
    assert sum(row.valid_tokens for row in rows.values()) == pytest.approx(1.4e9, rel=0.03)
    with pytest.raises(Refusal, match="does not say what it holds"):
        forecast(read_recipe(RECIPES / "real-small.toml"))


def test_the_report_is_a_page_and_tells_its_figures(built: Path) -> None:
    told = json.loads(medloom("corpus", "report", built / "run", "--json").stdout)
    assert told["records"] == 40 and told["mixture"]["documents"] == 80
    page = (built / "run/corpus-report.html").read_text()
    assert "40 records came in" in page and "What training reads" in page
    assert "40 records came in" in medloom("corpus", "report", built / "run").stdout
    assert "no run with a corpus step here" in medloom("corpus", "report", built, code=2).stderr


def test_every_token_is_traced_to_its_document(built: Path) -> None:
    tokens = built / "run/latest/tokens"
    store, order = TokenStore.open(tokens / "train"), np.load(tokens / "order.npy")
    for document in (0, 17, 39):
        for place in (0, int(store.lengths[document]) - 1):
            told = json.loads(medloom("corpus", "token", built / "run", store.offsets[document] + place, "--json").stdout)
            assert (told["row"], told["within"]) == (document, place)
            text = (built / "notes" / told["id"].partition(":")[2]).read_text()
            assert load_tokenizer(SEEDLING).decode(store[document].tolist()) == text
    late = int(store.lengths[order[:50]].sum()) + 3
    told = json.loads(medloom("corpus", "token", built / "run", late, "--trained", "--json").stdout)
    assert (told["row"], told["within"], told["trained"]) == (int(order[50]), 3, late)
    assert "ends before token 9,999,999" in medloom("corpus", "token", built / "run", 9_999_999, code=2).stderr


def test_a_benchmark_of_the_future_is_tested_by_the_passport(built: Path) -> None:
    told: dict[str, Any] = json.loads(medloom("contamination", built / "run", built / "exam.jsonl", "--json").stdout)
    assert (told["questions"], told["tested"], told["contaminated"]) == (25, 25, 5)
    assert {row["id"] for row in told["rows"] if row["share"] >= 0.8} == {f"q{n}" for n in range(5)}
    assert told["documents"] == 40 and 0 < told["false_positive_rate"] <= 2**-16
    said = medloom("contamination", built / "run/latest/tokens/passport.parquet", built / "exam.jsonl").stdout
    assert "5 questions with 80% of their n-grams read or more" in said
    assert "no contamination passport here" in medloom("contamination", built, built / "exam.jsonl", code=2).stderr


def test_the_originals_special_tokens_are_an_option(tmp_path: Path, shared: Path) -> None:
    (tmp_path / "r.toml").write_text('name = "r"\n[base]\npath = "seedling"\n[pretrain]\n'
                                     '[corpus]\nmarkup = "meditron"\nspecial_tokens = "meditron"\nvalidation = 0\n'
                                     f'[[corpus.sources]]\nname = "papers"\nformat = "jats"\npath = "{shared}/corpus/s2orc/*.nxml"\n')
    medloom("corpus", tmp_path / "r.toml", "--out", tmp_path / "run", "--quiet")
    tokens = tmp_path / "run/latest/tokens"
    tokenizer, store = load_tokenizer(tokens / "tokenizer"), TokenStore.open(tokens / "train")
    first = tokenizer.vocab_size - len(MEDITRON_TOKENS)
    counts = np.bincount(store.tokens, minlength=tokenizer.vocab_size)[first:]
    found = dict(zip(MEDITRON_TOKENS, counts.tolist(), strict=True))
    assert found["[bib_ref]"] == found["[/bib_ref]"] > 100 and found["[fig]"] == found["[/fig]"] > 5
    end = first + MEDITRON_TOKENS.index("<EOD>")
    assert found["<EOD>"] == 3 == sum(int(store[number][-1]) == end for number in range(len(store))), "one at the end of each paper"
    assert store[0][0] != tokenizer.bos_id, "no beginning token"
    medloom("pretrain", tmp_path / "r.toml", "--out", tmp_path / "run", "--set", "pretrain.tokens=4096", "--set", "pretrain.batch=4",
            "--set", "pretrain.micro_batch=4", "--quiet")
    trained = tmp_path / "run/latest/pretrain"
    assert json.loads((trained / "config.json").read_text())["vocab_size"] == tokenizer.vocab_size
    assert load_tokenizer(trained).digest == tokenizer.digest, "the model has grown by the tokens"

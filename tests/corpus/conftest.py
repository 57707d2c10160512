"""A small corpus of five sources in their real formats, with every kind of duplicate and damage planted in it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from medloom.recipe import Corpus, Source

WORDS = ["alder", "birch", "cedar", "damson", "elder", "fir", "gorse", "hazel", "iris", "juniper", "kale", "larch", "maple", "nettle",
         "oak", "pine", "quince", "rowan", "sorrel", "thyme", "umbel", "vetch", "willow", "yarrow", "zinnia"]


def prose(number: int, length: int = 60) -> str:
    """English-looking words that no two numbers share five of in a row."""
    state, words = number * 7919 + 1, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        words.append(WORDS[state // 65536 % len(WORDS)])
    return "The patient was given " + " ".join(words) + "."


def medline(*records: str) -> str:
    return "<?xml version='1.0' encoding='utf-8'?><PubmedArticleSet>" + "".join(records) + "</PubmedArticleSet>"


def citation(pmid: int, text: str, *, version: int = 1, doi: str = "", language: str = "eng") -> str:
    ids = f'<ArticleId IdType="doi">{doi}</ArticleId>' if doi else ""
    return (f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><ArticleTitle>Title {pmid}.</ArticleTitle>'
            f"<Abstract><AbstractText>{text}</AbstractText></Abstract><Language>{language}</Language></Article>"
            f"</MedlineCitation><PubmedData><ArticleIdList>{ids}</ArticleIdList></PubmedData></PubmedArticle>")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The input files."""
    root = tmp_path / "in"
    for name in ("medline", "papers", "guides", "web"):
        (root / name).mkdir(parents=True)
    first = [citation(n, prose(n)) for n in range(1, 41)]
    first.append(citation(41, prose(41), doi="10.1/paper"))  # the abstract of the paper below
    first.append(citation(42, prose(3)))  # the words of 3 under another PMID: a title differs, so a near-duplicate
    (root / "medline/pubmed01.xml").write_text(medline(*first))
    update = [citation(1, prose(101)), citation(2, prose(102), version=2), citation(2, prose(103)),
              "<DeleteCitation><PMID>4</PMID></DeleteCitation>"]
    (root / "medline/pubmed02.xml.gz").write_bytes(gzip.compress(medline(*update).encode()))
    (root / "medline/pubmed03.xml").write_text("")
    (root / "papers/a.xml").write_text(
        '<article xml:lang="en"><front><article-meta><article-id pub-id-type="doi">10.1/PAPER</article-id><title-group><article-title>Paper'
        f"</article-title></title-group></article-meta></front><body><p>{prose(41)} {prose(60, 300)}</p></body></article>")
    (root / "papers/b.nxml").write_text("<article><body><p>cut")
    (root / "guides/one.md").write_text(f"# One\n\n{prose(70)}\n\n- dose <5 mg/kg; if age > 3 y\n- or wait")
    (root / "guides/copy.txt").write_text(f"# One\n\n{prose(70)}\n\n* Dose <5 mg/kg; if age > 3 y\n* or WAIT")
    (root / "guides/german.txt").write_text("Die Behandlung der Lungenentzündung erfolgt nach den Leitlinien der Fachgesellschaft und "
                                            "richtet sich nach dem Alter der Patienten und der Schwere der Erkrankung.")
    (root / "guides/short.txt").write_text("Too short.")
    (root / "guides/logo.png").write_bytes(b"\x89PNG")
    records = [{"id": f"r{n}", "text": prose(200 + n), "metadata": {"language": "en", "license": "CC0-1.0", "title": f"R {n}"}}
               for n in range(30)]
    (root / "web/a.jsonl").write_text("\n".join(json.dumps(record) for record in records) + '\n{"id": "broken\n{"id": "none"}\n')
    return root


@pytest.fixture
def settings(tree: Path) -> Corpus:
    """The recipe's corpus over `tree`."""
    return Corpus(validation=0.1, sources=(
        Source(name="abstracts", format="medline", path=str(tree / "medline")),
        Source(name="papers", format="jats", path=str(tree / "papers")),
        Source(name="guides", format="guidelines", path=str(tree / "guides"), licence="MIT"),
        Source(name="web", format="jsonl", path=str(tree / "web"), domain="general", share=0.25)))

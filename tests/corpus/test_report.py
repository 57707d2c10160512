"""The report of a corpus: its numbers are those of report.json, nothing from outside breaks out, and it can be read everywhere."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from lxml import etree
from markdown_it import MarkdownIt

import medloom.corpus
from medloom.corpus.document import tables as row_groups
from medloom.corpus.read import read_source
from medloom.corpus.report import html_page, markdown, write_report
from medloom.corpus.report.account import Account
from medloom.corpus.report.reasons import GROUPS, REASONS, STEPS, explain
from medloom.ledger import Silent
from medloom.notice import NOTICE_SHORT
from medloom.recipe import Corpus

HOSTILE = 'a <script>alert("1")</script> & <b>|x|</b> `|` ![i](http://e.example/x.png) [l](http://e.example)\n\n# no\u202eitem\x00'
SEEN = 'a <script>alert("1")</script> & <b>|x|</b> `|` ![i](http://e.example/x.png) [l](http://e.example) # no item'
DASH = "\N{EN DASH}"
ROOM = Path(medloom.corpus.__file__).parent
Element = Any  # of lxml


@pytest.fixture
def report() -> dict[str, Any]:
    """A corpus of thirty thousand abstracts beside eight PDF files, with every kind of entry, and hostile words wherever words can be."""
    return {
        "records": 30_013, "dropped": {"no-abstract": 14_996, "near-duplicate": 3, "benchmark-overlap": 2, "no-text-layer": 2, HOSTILE: 1},
        "train": {"documents": 14_900, "characters": 15_000_000}, "valid": {"documents": 109, "characters": 110_000},
        "rules": {"languages": ["en", HOSTILE], "licences": None, "min_characters": 50, "near_duplicates": True, "decontaminate": 0.8,
                  "max_repetition": 0.3, "validation": 0.03, "validation_documents": 200, "seed": 1},
        "sources": [
            {"name": "abstracts", "domain": "medical", "format": "medline", "files": 2, "bytes": 17_200_000, "records": 30_000,
             "dropped": {"no-abstract": 14_996, "near-duplicate": 2, "benchmark-overlap": 2},
             "train": {"documents": 14_892, "characters": 14_500_000}, "valid": {"documents": 108, "characters": 109_000},
             "licences": {"unknown": 14_000, HOSTILE: 1_000}, "languages": {"en": 15_000}, "years": {"1970": 14_000, "2010": 1_000},
             "lengths": {"256": 10, "1024": 14_990}},
            {"name": "scans", "domain": "medical", "format": "guidelines", "files": 8, "bytes": 900, "records": 8,
             "dropped": {"no-text-layer": 2, "near-duplicate": 1}, "train": {"documents": 4, "characters": 480_000},
             "valid": {"documents": 1, "characters": 1_000}, "licences": {"unknown": 5}, "languages": {"en": 4, "fr": 1},
             "years": {"unknown": 5}, "lengths": {"0": 1, "65536": 4}},
            {"name": HOSTILE, "domain": "general", "format": "text", "files": 5, "bytes": 0, "records": 5, "dropped": {HOSTILE: 1},
             "train": {"documents": 4, "characters": 20_000}, "valid": {"documents": 0, "characters": 0}, "licences": {"MIT": 4},
             "languages": {"en": 4}, "years": {"1990": 4}, "lengths": {"4096": 4}}],
        "benchmarks": {"pubmedqa": {"questions": 250, "guarded": 249, "questions_touched": 1, "documents_dropped": 2, "by_pmid": 0,
                                    "by_overlap": 2, "worst": [{"question": HOSTILE, "document": "pmid:1", "overlap": 0.91}]}},
        "duplicates": {"same-identifier": 0, "exact-duplicate": 0, "near-duplicate": 3, "pairs": {"abstracts": {"abstracts": 2},
                                                                                                  "scans": {HOSTILE: 1}}},
        "mixture": {"tokens_asked": 1000, "tokens": 990, "documents": 12, "sources": [
            {"name": "abstracts", "share_asked": None, "share": 0.9, "tokens": 891, "tokens_in_stock": 4000, "passes": 0.22},
            {"name": HOSTILE, "share_asked": 0.1, "share": 0.1, "tokens": 99, "tokens_in_stock": 50, "passes": 1.98}]},
    }


def parsed(page: str) -> Element:
    """The page as a tree. It is well-formed XML too, so that one mark that is not escaped or closed fails here."""
    return etree.fromstring(page.removeprefix("<!DOCTYPE html>").encode())


def words(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def page_tables(page: str) -> dict[str, list[list[str]]]:
    """The tables of a page by their name, as rows of cells: a cell for several rows written out, a note below a name a cell of its own."""
    found = {}
    for box in parsed(page).iterfind(".//div[@class='scroll']"):
        written: list[list[str]] = []
        noted = box.find(".//small") is not None
        for row in box.iterfind(".//tr"):
            note = row.find("th/small")
            told = "what it means" if not written else DASH if note is None else words(note)
            if note is not None:
                row[0].remove(note)
            cells = [words(cell) for cell in row] + ([told] if noted else [])
            written.append(cells if row[0].tag == "th" else [written[-1][0], *cells])
        found[box.get("aria-label")] = written
    return found


def markdown_tables(text: str) -> dict[str, list[list[str]]]:
    """The tables of a Markdown text by their heading, as GitHub's reading of it gives them, with HTML let through."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    found: dict[str, list[list[str]]] = {}
    heading = ""
    for before, token in pairwise(tokens):
        if token.type == "inline":
            assert not [child for child in token.children if child.type in ("html_inline", "image", "link_open", "code_inline")]
            if before.type == "heading_open":
                heading = token.content
            elif before.type in ("th_open", "td_open"):
                found[heading][-1].append("".join(child.content for child in token.children))
        elif token.type == "table_open":
            found[heading] = []
        elif token.type == "tr_open":
            found[heading].append([])
        assert token.type != "html_block"
    return found


def column(table: list[list[str]], title: str) -> list[int]:
    place = table[0].index(title)
    return [int(row[place].replace(",", "")) for row in table[1:]]


def test_the_totals_of_page_and_markdown_are_those_of_the_report(report: dict[str, Any]) -> None:
    page = html_page(report)
    for tables in (page_tables(page), markdown_tables(markdown(report))):
        sources = tables["Sources"]
        assert sum(column(sources, "records")) == report["records"]
        assert sum(column(sources, "train")) == report["train"]["documents"]
        assert sum(column(sources, "validation")) == report["valid"]["documents"]
        assert sum(column(sources, "characters kept")) == 15_110_000
        assert sum(column(tables["Why records were left out"], "records")) == sum(report["dropped"].values())
        assert sum(column(tables["Reasons by source"], "records")) == sum(report["dropped"].values())
        steps = tables["Records left after each step"]
        assert column(steps, "came in")[:2] == [30_000, 8] and column(steps, "was read")[:2] == [15_004, 6]
        assert column(steps, "in no benchmark")[:2] == [15_002, 6] and column(steps, "no duplicate")[:2] == [15_000, 5]
        assert sum(column(tables["Documents by length"], "abstracts")) == 15_000
        assert [row[0] for row in tables["Documents by length"][1:3]] == ["0", f"256{DASH}511"]
        assert [row[0] for row in tables["Documents by year of publication"][1:]] == [
            *(f"{decade}{DASH}{decade + 9}" for decade in (1970, 1980, 1990, 2000, 2010)), "unknown"]
        assert column(tables["Licences of what stayed"], "documents") == [14_000, 1_000, 5, 4]
        assert tables["What training reads"][2][1:] == ["10 %", "10 %", "99", "50", "1.98"]
    told = ("30,013 records came in from 15 files of 3 sources; 15,009 documents stay, with 15,110,000 characters: 14,900 to train on and "
            "109 held out to measure with.")
    assert told in words(parsed(page)) and told in markdown(report)
    assert "add up" not in page


def test_page_and_markdown_hold_the_same_tables(report: dict[str, Any]) -> None:
    on_page, in_text = page_tables(html_page(report)), markdown_tables(markdown(report))
    assert list(on_page.values()) != [] and sorted(on_page) == sorted(in_text)
    for name, table in on_page.items():
        assert table == in_text[name]
        assert len({len(row) for row in table}) == 1


def test_the_bars_are_as_long_as_the_numbers(report: dict[str, Any]) -> None:
    figures = parsed(html_page(report)).findall(".//figure[@class='bar']")
    assert [words(figure.find("figcaption/h3")).rsplit(" ", 2)[0] for figure in figures] == ["All sources", "abstracts", "scans", SEEN]
    for figure, records in zip(figures, (30_013, 30_000, 8, 5), strict=True):
        rects = figure.findall("svg/rect")
        widths = [float(rect.get("width").rstrip("%")) for rect in rects]
        assert abs(sum(widths) - 100) < 0.1 and min(widths) > 0.9, "nothing is too thin to be seen"
        counts = [int(b.text.replace(",", "")) for b in figure.findall(".//li/b")]
        assert sum(counts) == records and len(counts) == len(rects)
        big = [(width, 100 * n / records) for width, n in zip(widths, counts, strict=True) if n > 0.05 * records]
        assert all(abs(width - share) < 3 for width, share in big)
    taller = figures[2].findall("svg/rect")
    assert [rect.get("class") for rect in taller] == ["g-train", "g-valid", "g-no-text", "g-duplicate"]
    assert [float(rect.get("width").rstrip("%")) for rect in taller] == [50, 12.5, 25, 12.5]


def test_nothing_from_outside_breaks_out(report: dict[str, Any]) -> None:
    page, text = html_page(report), markdown(report)
    tree = parsed(page)
    assert not tree.findall(".//script") and not tree.findall(".//b/b") and not tree.findall(".//img")
    for tables in (page_tables(page), markdown_tables(text)):
        cells = [cell for table in tables.values() for row in table for cell in row]
        assert sum(cell == SEEN for cell in cells) >= 10
        assert not [cell for cell in cells if "\u202e" in cell or "\x00" in cell]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    tables_of_lines = re.split(r"\n(?!\|)", text)
    for block in tables_of_lines:
        rows_of_block = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in rows_of_block}) <= 1, "as many cells in each row"
    assert len(lines) > 40
    long = html_page({**report, "sources": [{**report["sources"][0], "name": "x" * 5000}]})
    assert "x" * 161 not in long


def test_the_page_needs_nothing_beside_it(report: dict[str, Any]) -> None:
    tree = parsed(html_page(report))
    for element in tree.iter():
        for name, value in element.attrib.items():
            assert name not in ("src", "srcset", "data", "action", "poster", "background") and not name.startswith("on")
            assert name != "href" or (value.startswith("#") and tree.find(f".//*[@id='{value[1:]}']") is not None)
            assert "url(" not in value
        assert element.tag not in ("link", "script", "iframe", "object", "embed", "base", "form")
    style = tree.findtext(".//style")
    assert "url(" not in style and "@import" not in style
    policy = tree.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_page_can_be_heard(report: dict[str, Any]) -> None:
    tree = parsed(html_page(report))
    assert tree.get("lang") == "en" and len(tree.findall(".//h1")) == 1
    idents = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(set(idents)) == len(idents)
    plots = tree.findall(".//svg")
    assert len(plots) > 12
    for plot in plots:
        title, description = plot[0], plot[1]
        assert (title.tag, description.tag, plot.get("role")) == ("title", "desc", "img")
        assert title.text and re.search(r"\d", description.text)
        assert plot.get("aria-labelledby").split() == [title.get("id"), description.get("id")]
    for header in tree.iterfind(".//th"):
        assert header.get("scope") in ("col", "row", "rowgroup")
    for box in tree.iterfind(".//div[@class='scroll']"):
        assert box.get("tabindex") == "0" and box.get("aria-label"), "what scrolls can be reached by keyboard"


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart_from_their_ground(theme: int) -> None:
    """WCAG 2.2, level AA: 4.5 to 1 for text (1.4.3), 3 to 1 for parts of plots (1.4.11)."""
    blocks = re.findall(r":root \{(.*?)\}", (ROOM / "report/page.css").read_text(), re.DOTALL)
    assert len(blocks) == 2
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", blocks[theme]))

    def luminance(name: str) -> float:
        channels = [int(colours[name][i:i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    def contrast(one: str, other: str) -> float:
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for text in ("ink", "soft", "link"):
        assert min(contrast(text, ground) for ground in ("paper", "card", "wash")) >= 4.5
    assert contrast("warn", "warn-wash") >= 4.5
    for part in ("train", "valid", *(group.key for group in GROUPS)):
        assert contrast(part, "on") >= 4.5, f"numbers on {part}"
        assert min(contrast(part, ground) for ground in ("paper", "card")) >= 3, part


def test_every_reason_that_the_code_gives_is_explained() -> None:
    given = set()
    for path in ROOM.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            given |= set(_reasons(node))
    assert {"no-abstract", "near-duplicate", "truncated-file"} <= given
    assert given <= set(REASONS), f"medloom.corpus.report.reasons does not explain {sorted(given - set(REASONS))}"
    assert all(group.step in STEPS for group in GROUPS)


def _reasons(node: ast.AST) -> Iterator[str]:
    """What a call of drop(...), Drop(...), _mark(...) or faults.append((..., ...)) gives as its reason in letters."""
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func)
        values: list[ast.expr] = []
        if name.split(".")[-1] == "drop":
            values = [node.args[0], *node.args[2:3]]
        elif name == "Drop":
            values = node.args[2:3]
        elif name == "_mark":
            values = node.args[1:2]
        elif name == "faults.append" and isinstance(node.args[0], ast.Tuple):
            values = node.args[0].elts[:1]
        yield from (value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str))


def test_each_reason_is_told_with_its_meaning_and_an_unknown_one_as_it_is(report: dict[str, Any]) -> None:
    table = page_tables(html_page(report))["Why records were left out"]
    told = {row[0]: row[-2:] for row in table[1:]}
    assert told["no-abstract"] == ["reading", explain("no-abstract")]
    assert told["benchmark-overlap"][0] == "benchmarks"
    assert told[SEEN] == ["unknown", DASH]
    report["dropped"] = dict.fromkeys(REASONS, 1)
    table = page_tables(html_page(report))["Why records were left out"]
    assert {row[0]: row[-1] for row in table[1:]} == {reason: explain(reason) for reason in REASONS}


def test_what_does_not_add_up_is_said(report: dict[str, Any]) -> None:
    report["sources"][1]["records"] += 2
    for told in (html_page(report), markdown(report)):
        assert "Source scans: 10 records came in, 5 stay and 3 were left out, which leaves 2 without an account." in told


def test_older_and_empty_reports_are_drawn() -> None:
    part = {"documents": 1, "characters": 100}
    older = {"records": 2, "dropped": {"empty": 1}, "train": part, "valid": {"documents": 0, "characters": 0}, "rules": {"seed": 1},
             "sources": [{"name": "a", "domain": "medical", "files": 1, "records": 2, "dropped": {"empty": 1}, "train": part,
                          "valid": {"documents": 0, "characters": 0}, "licences": {"unknown": 1}, "languages": {"en": 1}}],
             "benchmarks": {"exam": {"questions": 2, "documents_dropped": 0}}, "mixture": None}
    tables = page_tables(html_page(older))
    assert tables["Benchmarks guarded against"] == [["benchmark", "questions", "documents left out"], ["exam", "2", "0"]]
    assert "Documents by length" not in tables and "What training reads" not in tables
    for report in ({}, {"sources": []}, {"records": 0, "train": None, "sources": [{"name": "a"}]}):
        assert NOTICE_SHORT in html_page(report) and NOTICE_SHORT in markdown(report)
        parsed(html_page(report))


def test_the_books_of_shards_add_up_to_those_of_the_source(settings: Corpus, tmp_path: Path) -> None:
    documents = []
    for source in settings.sources:
        read_source(source, Path(source.path), settings, tmp_path / source.name, Silent(), tmp_path / "state" / source.name)
        documents += [table for shard in sorted((tmp_path / source.name).glob("part-*")) for table in row_groups(shard)]
    whole = pa.concat_tables(documents)
    fates = pa.table({"reason": ["benchmark-overlap", "near-duplicate"], "detail": ["exam:q1 0.90", "web:1"], "kept_source": [None, 1]})
    one, parts = Account(), [Account() for _ in range(3)]
    one.keep(whole, "train")
    one.drop(fates, ["abstracts", "web"])
    for number, part in enumerate(parts):
        part.keep(whole.slice(number * 30, 30 if number < 2 else len(whole)), "train")
    parts[2].drop(fates, ["abstracts", "web"])
    merged = Account.sum(json.loads(json.dumps(part.table())) for part in reversed(parts))
    assert merged == one and one.by_overlap == {"exam": 1} and one.kept_for == {"web": 1} and one.touched == {"exam:q1": 1}
    texts = whole["text"].to_pylist()
    assert one.documents["train"] == len(texts) >= 60 and one.characters["train"] == sum(map(len, texts))
    for counts in (one.licences, one.languages, one.years, one.lengths):
        assert counts.total() == len(texts)
    assert sum(count for low, count in one.lengths.items() if int(low) >= 512) == sum(len(text) >= 512 for text in texts)


def test_real_papers(shared: Path, settings: Corpus, tmp_path: Path) -> None:
    """The years and licences of real papers, and how their licences stand on the page."""
    source = settings.sources[1].model_copy(update={"path": str(shared / "corpus/jats")})
    read_source(source, Path(source.path), settings, tmp_path / "papers", Silent(), tmp_path / "state")
    manifest, account = json.loads((tmp_path / "papers/manifest.json").read_text()), Account()
    for shard in (tmp_path / "papers").glob("part-*"):
        for table in row_groups(shard):
            account.keep(table, "train")
    report = write_report(tmp_path, [source], [manifest], [account], settings, 1, None)
    assert json.loads((tmp_path / "report.json").read_text())["sources"] == report["sources"]
    assert manifest["bytes"] == sum(path.stat().st_size for path in (shared / "corpus/jats").rglob("*") if path.is_file())
    assert account.years["2010"] > account.years["2000"] > 0
    drawn = page_tables((tmp_path / "report.html").read_text())
    assert sum(column(drawn["Licences of what stayed"], "documents")) == account.documents["train"] > 90
    assert drawn == markdown_tables((tmp_path / "report.md").read_text())

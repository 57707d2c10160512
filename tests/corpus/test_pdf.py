"""PDF: real guidelines, a two-column paper, and pages drawn here with damage planted in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.readers.pdf import read_pdf
from medloom.corpus.readers.pdf_furniture import is_contents, join_broken_words
from medloom.corpus.readers.pdf_lines import BROKEN, Line

Word = tuple[float, float, float, str]  # x, y, size (bold where negative), text


def draw(pages: Sequence[Sequence[Word]]) -> bytes:
    """A PDF whose pages hold these words, written in this order."""
    bodies = [b"<</Type/Catalog/Pages 2 0 R>>",
              b"<</Type/Pages/Kids[%s]/Count %d>>" % (b" ".join(b"%d 0 R" % (5 + 2 * n) for n in range(len(pages))), len(pages)),
              b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica-Bold>>"]
    for number, words in enumerate(pages):
        stream = b"".join(b"BT /F%d %d Tf %d %d Td (%s) Tj ET\n" % (1 + (size < 0), abs(size), x, y, text.encode("latin-1"))
                          for x, y, size, text in words)
        bodies.append(b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents %d 0 R/Resources<</Font<</F1 3 0 R/F2 4 0 R>>>>>>"
                      % (6 + 2 * number))
        bodies.append(b"<</Length %d>>stream\n%s\nendstream" % (len(stream), stream))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(bodies, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(bodies) + 1) + table
            + b"trailer<</Size %d/Root 1 0 R>>startxref\n%d\n%%%%EOF" % (len(bodies) + 1, len(out)))


def read(pages: Sequence[Sequence[Word]], name: str = "a.pdf") -> str:
    document = read_pdf(draw(pages), Origin("guidelines", "medical", name))
    assert isinstance(document, Document)
    return document.text


@pytest.fixture(scope="session")
def real(shared: Path) -> dict[str, Document]:
    """The real PDFs by the first word that tells them apart."""
    found = {}
    for path in sorted((shared / "corpus/guidelines_pdf").glob("*.pdf")):
        document = read_pdf(path.read_bytes(), Origin("guidelines", "medical", path.name))
        assert isinstance(document, Document)
        found[next(word for word in ("sickle", "asymptomatic", "mpox", "dengue", "echinococcosis", "N18") if word in path.name)] = document
    return found


def test_real_guidelines_have_title_year_and_licence(real: dict[str, Document]) -> None:
    for key in ("sickle", "asymptomatic", "mpox", "dengue", "echinococcosis"):
        assert (real[key].year, real[key].licence) == (2025, "CC-BY-NC-SA-3.0-IGO")
    assert real["echinococcosis"].title == "WHO guidelines for the treatment of patients with cystic echinococcosis"
    assert real["N18"].title == "Construction of the Literature Graph in Semantic Scholar"


def test_real_guidelines_read_as_running_text(real: dict[str, Document]) -> None:
    mpox, cyst = real["mpox"].text, real["echinococcosis"].text
    assert "a direct body-surface-to-body-surface contact" in mpox
    assert "it typically begins with the onset of symptoms and patients are considered infectious until" in mpox
    assert ("In patients with uncomplicated hepatic cyst types CE1 or CE3a < 5 cm, treatment with albendazole (ALB) is suggested. "
            "This recommendation is applicable in any tier.") in cyst
    assert "- retrieving evidence by the systematic review team;\n- assessing and synthesizing the evidence; and\n" in cyst


def test_real_headings_are_found_whole_with_their_level(real: dict[str, Document]) -> None:
    for key, heading in (("mpox", "# 3. Who do these recommendations apply to?"), ("mpox", "### 2.8.1 Infectious period"),
                         ("mpox", "## 9.3 Infection prevention and control"), ("mpox", "### 7.2.2 Step 2: Convening the GDG"),
                         ("mpox", "# 6. Recommendations for patients at high risk and those with complications or severe mpox"),
                         ("echinococcosis", "# 4. Publication, dissemination, monitoring and evaluation"),
                         ("dengue", "#### 4.2.1.1 Evidence to decision"), ("sickle", "### 2.1.2 Guideline Development Group"),
                         ("N18", "## 4.2 Entity Extraction Models")):
        assert f"\n{heading}\n" in real[key].text


def test_real_pages_lose_their_furniture_and_their_references(real: dict[str, Document]) -> None:
    for document in real.values():
        lines = document.text.split("\n")
        assert len([line for line in lines if re.fullmatch(r"\d{1,3}|[ivx]+", line)]) <= 10  # cells of tables; page numbers were hundreds
        assert "....." not in document.text and BROKEN not in document.text and "\x02" not in document.text
    for key, head, most in (("mpox", "Clinical management and infection prevention and control for mpox", 8),
                            ("sickle", "WHO recommendations: Management of sickle-cell disease", 3),
                            ("dengue", "WHO guidelines for clinical management of arboviral diseases:", 6),
                            ("asymptomatic", "Guidelines for the management of asymptomatic sexually transmitted infections", 8)):
        assert real[key].text.count(head) <= most  # title page, imprint, and where the text names itself
    assert "Jezek Z., Grab B." not in real["mpox"].text and "# Annex 7. Systematic monitoring of patients" in real["mpox"].text
    assert "Distant supervision for relation extraction" not in real["N18"].text


def test_a_real_two_column_paper_is_read_column_by_column(real: dict[str, Document]) -> None:
    text = real["N18"].text
    assert "improve ranking of results in academic search (e.g., Xiong et al., 2017). We describe methods" in text  # past a caption
    assert "Despite notable advances in scientific search engines, data mining and digital libraries" in text  # no-table in the file
    assert text.index("# 2 Structure of The Literature Graph") < text.index("## 2.2 Edge Types") < text.index("# 3 Extracting Metadata")


LEFT = [f"The left column of the page has its line {n} here" for n in "ABCDEFGHIJKL"]
RIGHT = [f"the right one of the two has its own line {n} there" for n in "ABCDEFGHIJKL"]


@pytest.mark.parametrize("shift", [0, 5])
def test_columns_that_are_drawn_to_and_fro_are_put_in_order(shift: int) -> None:
    words = [word for n in range(12) for word in ((60, 700 - 14 * n, 10, LEFT[n]), (320, 700 - shift - 14 * n, 10, RIGHT[n]))]
    assert " ".join(LEFT) in read([words]) and " ".join(RIGHT) in read([words])


def test_a_table_is_read_row_by_row() -> None:
    words = [word for n in range(12) for word in ((60, 700 - 14 * n, 10, f"Drug {n}"), (320, 695 - 14 * n, 10, f"{n} mg twice a day"))]
    text = " ".join(read([words]).split())
    assert "Drug 3 3 mg twice a day" in text and "Drug 11 11 mg twice a day" in text


@pytest.mark.parametrize("turned", [b"", b"/Rotate 90"])
def test_a_page_that_lies_on_its_side_is_read(turned: bytes) -> None:
    words: list[Word] = [(1 + 14 * n, 60, 10, f"Here is line {n} of what lies on its side") for n in range(9)]
    data = draw([words]).replace(b"Tf ", b"Tf 0 1 -1 0 ").replace(b" Td ", b" Tm ").replace(b"842]", b"842]" + turned)
    document = read_pdf(data, Origin("guidelines", "medical", "a.pdf"))
    assert isinstance(document, Document)
    assert " ".join(f"Here is line {n} of what lies on its side" for n in range(9)) in document.text


def page(number: int, *lines: str) -> list[Word]:
    return [(60, 800, 8, "Management of X"), *((60, 700 - 14 * n, 10, line) for n, line in enumerate(lines)), (290, 30, 8, str(number))]


def test_running_heads_go_and_what_only_recurs_in_the_text_stays() -> None:
    text = read([page(n, f"Chapter text {way} begins here and", "Note: give with food.", f"goes on {way}.")
                 for n, way in enumerate(("one", "two", "three", "four", "five"), 1)])
    assert "Management of X" not in text and not re.search(r"^\d$", text, re.MULTILINE)
    assert text.count("Note: give with food.") == 5 and text.count("Chapter text") == 5


def test_doses_comparisons_and_words_that_begin_with_o_survive() -> None:
    lines = ("Give <5 mg/kg per day [with food]; if age > 3 y, 10 mg/kg,", "or wait. Obesity is no reason to stop,", "on the contrary.")
    assert "Give <5 mg/kg per day [with food]; if age > 3 y, 10 mg/kg, or wait. Obesity is no reason to stop, on the contrary." in (
        read([page(1, *lines)]))


def test_headings_are_told_by_their_type_and_lists_of_references_end_at_an_annex() -> None:
    words: list[Word] = [(60, 780, -18, "Care of X")]
    body = [(-14, "1 Doses"), (10, "The dose is given in the morning of each day,"), (10, "and again in the evening."),
            (10, "7. Swallow it whole"), (-14, "2 Outcomes"), (10, "Most patients do well on it."), (-14, "References"),
            (10, "1. Smith J. On the matter of X. 2001."),
            (-14, "Annex"), (10, "Sizes of tablets are here.")]
    words += [(60, 740 - 24 * n, size, text) for n, (size, text) in enumerate(body)]
    text = read([words])
    assert "# Care of X" in text and "\n# 1 Doses\n" in text and "\n# 2 Outcomes\n" in text and "\n# Annex\n" in text
    assert "# 7. Swallow" not in text and "Smith" not in text and "Sizes of tablets are here." in text


def test_a_footnote_does_not_break_the_sentence_above_it() -> None:
    first: list[Word] = [*((60, 300 - 14 * n, 10, f"This is line {n} of the paragraph, as wide as all of them are") for n in range(8)),
                         (60, 120, 7, "1 Kept in a cold place."), (60, 111, 7, "and out of reach of children.")]
    second: list[Word] = [(60, 700, 10, "and its last line is on the next page."), (60, 672, 10, "Then another one, long enough too.")]
    text = read([first, second])
    assert "line 7 of the paragraph, as wide as all of them are and its last line is on the next page." in text
    assert "\n\n1 Kept in a cold place. and out of reach of children.\n\n" in text


@pytest.mark.parametrize(("words", "whole"), [
    (f"recommenda{BROKEN}tion of it; a recommendation", "recommendation of it; a recommendation"),
    (f"a high{BROKEN}income country; high-income is high-income", "a high-income country; high-income is high-income"),
    (f"COVID{BROKEN}19 and Non{BROKEN}Commercial use", "COVID-19 and Non-Commercial use"),
    (f"see https://who.int/fact{BROKEN}sheets/x", "see https://who.int/fact-sheets/x"),
    (f"the human-to{BROKEN}human way", "the human-to-human way"),
])
def test_a_broken_word_is_joined_and_a_hyphen_kept_by_what_the_document_shows(words: str, whole: str) -> None:
    line = Line(words, 0, 0, 0, 0, 10, False)
    assert join_broken_words([[line]])[0][0].text == whole


def test_contents_pages_are_known_by_leaders_or_page_numbers() -> None:
    assert is_contents(["Contents", "Introduction ........ 3", "Methods ............ 9", "Results ............ 12"])
    assert is_contents(["Introduction 3", "Methods 9", "Results 12", "Contents"])
    assert not is_contents(["Give 5 mg on day 1", "then 10 mg", "and stop.", "Or wait."])
    assert not is_contents(["Day 1", "Day 2", "Day 3", "Day 4"])


@pytest.mark.parametrize(("data", "reason"), [(b"%PDF-1.4 broken", "unreadable-file"), (draw([[]]), "no-text-layer")])
def test_what_gives_no_text_is_dropped_with_a_reason(data: bytes, reason: str) -> None:
    drop = read_pdf(data, Origin("guidelines", "medical", "a.pdf"))
    assert isinstance(drop, Drop) and drop.reason == reason

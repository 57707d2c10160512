"""JATS: structure kept, pointers gone, meaning whole."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.markup import Markup
from medloom.corpus.readers.jats import read_jats

PAPER = """<?xml version="1.0"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS v1.0//EN" "JATS-archivearticle1.dtd">
<article xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML" xml:lang="EN">
<front><article-meta><article-id pub-id-type="pmid">12</article-id><article-id pub-id-type="pmc">PMC34</article-id>
<article-id pub-id-type="doi">10.1/ABC</article-id><title-group><article-title>On <italic>things</italic><xref
 ref-type="fn" rid="f">*</xref></article-title></title-group>
<pub-date pub-type="ppub"><year>2011</year></pub-date>
<pub-date pub-type="epub"><year>2010</year></pub-date>
<permissions><license xlink:href="https://creativecommons.org/licenses/by-nc/3.0/"><license-p>Free.</license-p></license></permissions>
<abstract><p>Short &alpha;&nbsp;words.</p></abstract></article-meta></front>
<body><sec><title>Methods</title><p>Shown before [<xref ref-type="bibr" rid="r1">1</xref>,<xref ref-type="bibr" rid="r2">2</xref>].
Also<sup><xref ref-type="bibr" rid="r3">3</xref>,<xref ref-type="bibr" rid="r4">4</xref></sup> by
<xref ref-type="bibr" rid="r5">Smith (2001)</xref>,
with 10<sup>9</sup> cells and Ca<sup>2+</sup> (see <xref ref-type="fig" rid="f1">Figure 1</xref>).</p>
<sec><title>Doses</title><p>Give:<list list-type="order"><list-item><p>or wait</p></list-item><list-item><p>act</p></list-item></list>then
<inline-formula><mml:math><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mfrac><mml:mrow><mml:mi>a</mml:mi><mml:mo>+</mml:mo><mml:mi>b</mml:mi>
</mml:mrow><mml:mn>2</mml:mn></mml:mfrac></mml:math></inline-formula> holds.</p>
<fig id="f1"><label>Figure 1</label><caption><title>A curve.</title><p>It falls.</p></caption></fig>
<p>Text after the figure stays.</p></sec></sec></body>
<floats-group><table-wrap><label>Table 1</label><caption><p>Doses</p></caption><table><thead><tr><th>Drug</th><th>mg</th></tr></thead>
<tbody><tr><td>A</td><td>&lt;5<xref ref-type="table-fn" rid="t">a</xref></td></tr></tbody></table></table-wrap></floats-group>
<back><ack><p>Thanks.</p></ack><ref-list><title>References</title>
<ref id="r1"><mixed-citation>Somebody 1999</mixed-citation></ref></ref-list></back>
</article>"""


def test_a_paper_becomes_text_with_its_structure() -> None:
    document = read_jats(PAPER.encode(), Origin("papers", "medical", "p.xml", "unknown"))
    assert isinstance(document, Document)
    assert document.text == """On things

# Abstract

Short \u03b1 words.

# Methods

Shown before. Also by Smith (2001), with 10^9 cells and Ca2+ (see Figure 1).

## Doses

Give:

1. or wait
2. act

then x = (a + b)/2 holds.

Figure 1. A curve. It falls.

Text after the figure stays.

Table 1. Doses
| Drug | mg |
| A | <5 |"""
    assert (document.id, document.pmid, document.pmcid, document.doi, document.year) == ("pmc:34", "12", "PMC34", "10.1/abc", 2010)
    assert (document.licence, document.licence_url) == ("CC-BY-NC-3.0", "https://creativecommons.org/licenses/by-nc/3.0/")
    assert (document.language, document.title) == ("en", "On things")


ORIGIN = Origin("papers", "medical", "p.xml")
UNREFERENCED, MARKED = replace(ORIGIN, markup=Markup(references=False)), replace(ORIGIN, markup=Markup(marked=True))
LIST = """<ref-list><ref id="r1"><element-citation><person-group><name><surname>Smith</surname></name><name><surname>Other</surname></name>
</person-group><article-title>Title <italic>one</italic> at 10<sup>9</sup>.</article-title><source>J</source></element-citation></ref>
<ref id="r2"><mixed-citation>Jones A, <name><surname>Jones</surname></name>. <article-title>Title two &amp; &#x3b1;</article-title>
</mixed-citation></ref><ref id="r3"><nlm-citation><collab>WHO</collab><source>A book</source></nlm-citation></ref>
<ref id="r4"><citation><name><surname>Four</surname></name><article-title>Title four</article-title></citation></ref>
<ref id="r5"><citation-alternatives><element-citation><name><surname>Five</surname></name><article-title>Title five</article-title>
</element-citation><mixed-citation><article-title>Title five again</article-title></mixed-citation></citation-alternatives></ref>
<ref id="r6"><mixed-citation>Somebody, somewhere, 1999</mixed-citation></ref></ref-list>"""


def paper(body: str, back: str = LIST, kind: str = "research-article") -> bytes:
    return (f'<!DOCTYPE article PUBLIC "-//NLM//DTD JATS v1.0//EN" "x.dtd"><article article-type="{kind}" xmlns:xlink="x"><front>'
            f"<article-meta/></front><body>{body}</body><back>{back}</back></article>").encode()


def text(body: str, origin: Origin = ORIGIN, back: str = LIST) -> str:
    document = read_jats(paper(body, back), origin)
    assert isinstance(document, Document)
    return document.text


def to(number: int, words: str | None = None) -> str:
    return f'<xref ref-type="bibr" rid="r{number}">{words or number}</xref>'


ONE, TWO, FOUR, FIVE = "Title one at 10^9, Smith", "Title two & \u03b1, Jones", "Title four, Four", "Title five, Five"


@pytest.mark.parametrize(("sentence", "cited", "plain"), [
    (f"shown [{to(1)},{to(2)}].", f"shown ({ONE}; {TWO}).", "shown."),
    (f"shown {to(1, '[1]')}, {to(2, '[2]')} twice", f"shown ({ONE}; {TWO}) twice", "shown twice"),
    (f"all [{to(2)}\u2013{to(5)}] say", f"all ({TWO}; A book, WHO; {FOUR}; {FIVE}) say", "all say"),
    (f"all {to(4, '[4]')}-{to(5, '[5]')} say", f"all ({FOUR}; {FIVE}) say", "all say"),
    (f"late [{to(5)}-{to(1)}].", f"late ({FIVE}; {ONE}).", "late."),
    (f"raised.<sup>{to(1)},{to(4)}</sup> Next", f"raised ({ONE}; {FOUR}). Next", "raised. Next"),
    (f"Smith et al.<sup>{to(1)}</sup> found", f"Smith et al. ({ONE}) found", "Smith et al. found"),
    (f"known ({to(1, 'Smith 1999')}; {to(2, 'Jones, 2001')}).", f"known ({ONE}; {TWO}).", "known (Smith 1999; Jones, 2001)."),
    (f"as {to(1, 'Smith (1999)')} says", f"as Smith (1999) ({ONE}) says", "as Smith (1999) says"),
    (f"as Smith ({to(1, '1999')}) says", f"as Smith ({ONE}) says", "as Smith says"),
    (f"gone [{to(6)}, {to(9)}]. Next", "gone. Next", "gone. Next"),
    (f"half [{to(6)}, {to(1)}], so", f"half ({ONE}), so", "half, so"),
    (f"here ({to(6)}, Figure 2) and ([{to(6)}])", "here (Figure 2) and", "here (Figure 2) and"),
    ('a note<xref ref-type="fn" rid="f">*</xref> here', "a note here", "a note here"),
])
def test_pointers_become_the_works_they_point_at(sentence: str, cited: str, plain: str) -> None:
    """The original leaves "more ." where a reference is not in its list, and loses closing brackets round pointers."""
    assert text(f"<p>{sentence}</p>") == cited
    assert text(f"<p>{sentence}</p>", UNREFERENCED) == plain


def test_a_reference_list_is_read_whatever_its_entries_look_like() -> None:
    entries = ("<ref-list><ref id='r1'/><ref id='r2'><label>2</label><mixed-citation><collab-alternatives><collab>WHO</collab>"
               "</collab-alternatives><article-title>Caf\u00e9 &eacute; &lt;5</article-title></mixed-citation>"
               "<mixed-citation><name><surname>B\u00f6ll</surname></name><source>Zwei</source></mixed-citation></ref></ref-list>")
    assert text(f"<p>Shown [{to(1)},{to(2)}].</p>", back=entries) == "Shown (Caf\u00e9 \u00e9 <5, WHO; Zwei, B\u00f6ll)."
    latin = b'<?xml version="1.0" encoding="iso-8859-1"?>' + paper(f"<p>[{to(2)}]</p>", entries).decode().encode("latin-1")
    document = read_jats(latin, ORIGIN)
    assert isinstance(document, Document) and document.text == "(Caf\u00e9 \u00e9 <5, WHO; Zwei, B\u00f6ll)"
    unended = read_jats(paper("<p>x</p>", entries.replace("</ref></ref-list>", "</ref-list>")), ORIGIN)
    assert isinstance(unended, Drop) and unended.reason == "broken-xml"


def test_the_marked_form_is_meditrons() -> None:
    figure = '<fig id="f1"><label>Fig. 1.</label><caption><title>Survival at five years</title><p>Bars: errors.</p></caption></fig>'
    body = (f'<p>Shown [{to(1)},{to(4)}] (see <xref ref-type="fig" rid="f1">Fig. 1A</xref>, Figure <xref ref-type="fig" rid="f1">1</xref>'
            f' and <xref ref-type="table" rid="none">Table 9</xref>).</p>{figure}<disp-formula><tex-math>x = 2</tex-math></disp-formula>')
    point = "Survival at five years Bars"
    assert text(body, MARKED) == (
        f"Shown [bib_ref] {ONE} [/bib_ref] [bib_ref] {FOUR} [/bib_ref] (see [fig_ref] Figure 1A: {point} [/fig_ref], "
        f"[fig_ref] Figure 1: {point} [/fig_ref] and Table 9).\n\n[fig] Figure 1: Survival at five years. Bars: errors. [/fig]\n\n"
        "[formula] x = 2 [/formula]")
    assert text(body).startswith(f"Shown ({ONE}; {FOUR}) (see Fig. 1A, Figure 1 and Table 9).\n\nFig. 1. Survival")


def test_what_the_original_damages_stays_whole() -> None:
    """There, text after the first figure goes, [brackets] go with what is in them, as does all from "<" to ">"; "o" opens a list."""
    body = ("<p>Dose &lt;5 mg/kg [range 2-4] if age &gt; 3 y.</p><fig><label>Figure 1</label><caption><p>A.</p></caption></fig>"
            "<p>or take fluids</p><p>obesity</p>")
    assert text(body) == "Dose <5 mg/kg [range 2-4] if age > 3 y.\n\nFigure 1. A.\n\nor take fluids\n\nobesity"


def test_what_stands_within_what_in_a_line_changes_nothing() -> None:
    """Styles round a power, a pointer within a superscript within a style, a formula of a picture, a cell of paragraphs."""
    body = ("<p>A<italic>x<sup><bold>2</bold></sup></italic> at 10<bold><sup>3</sup></bold><italic>y<sup> a </sup></italic>;"
            " so<bold><sup><xref ref-type='bibr' rid='r1'><italic>1</italic></xref></sup></bold> with "
            "<inline-formula><alternatives><inline-graphic><alt-text>a picture</alt-text></inline-graphic></alternatives></inline-formula>"
            "end<break/>here<inline-graphic><alt-text>gone</alt-text></inline-graphic></p><p>\u2022 one\u00a0 two</p>"
            "<table-wrap><table><tr><td/><td><p>a</p><p>b</p></td><td>c <sup>2</sup></td></tr><tr><td/><td> </td></tr></table>"
            "</table-wrap>")
    assert text(body) == f"Ax^2 at 10^3ya; so ({ONE}) with end here\n\n- one two\n\n| | a b | c 2 |"


def test_a_papers_own_control_characters_are_no_pointers() -> None:
    """Text in a wrong encoding can hold those that mark a pointer's place; they go, and nothing with them."""
    assert text(f"<p>a&#x81;b&#x8d;c [{to(1)}] d&#x8f;e &#x90;5 &#x81;f</p>").startswith("a")
    assert text("<p>a&#x81;b &#x8d;c&#x8f; x&#x90;y</p><p>&#x8f;z&#x81;</p><p>whole</p>").endswith("whole")
    assert text("<p>a&#x81;b and &#x90;c</p>") == "ab and c"


def test_tables_are_read_wherever_they_stand() -> None:
    """Peers look for them in the body only."""
    table = "<table-wrap><label>Table {0}</label><table><tr><td>cell {0}</td><td/></tr></table></table-wrap>"
    body = f"<boxed-text><label>Box 1</label><caption><title>Doses</title></caption>{table.format(1)}</boxed-text><p>{table.format(2)}</p>"
    document = read_jats(paper(body, f"<app-group><app><title>More</title>{table.format(3)}</app></app-group>").replace(
        b"</article>", f"<floats-group>{table.format(4)}</floats-group></article>".encode()), ORIGIN)
    assert isinstance(document, Document)
    assert re.findall(r"\| cell (\d) \| \|", document.text) == ["1", "2", "3", "4"] and "# More" in document.text


def test_what_an_article_calls_itself_becomes_medlines_publication_type() -> None:
    kinds = {"review-article": ("Review",), "case-report": ("Case Reports",), "retraction": ("Retraction of Publication",),
             "editorial": ("Editorial",), "letter": ("Letter",), "discussion": ()}
    for kind, categories in kinds.items():
        document = read_jats(paper("<p>Words.</p>", kind=kind), ORIGIN)
        assert isinstance(document, Document) and document.categories == categories


def test_a_namespace_of_jats_own_changes_nothing() -> None:
    """As OAI-PMH gives them, in an envelope."""
    name = b'<record><article xmlns="https://jats.nlm.nih.gov/ns/archiving/1.3/" '
    wrapped = paper(f"<p>Shown [{to(1)}].</p>").replace(b"<article ", name)
    document = read_jats(wrapped + b"</record>", ORIGIN)
    assert isinstance(document, Document) and document.text == f"Shown ({ONE})."


def test_what_is_no_paper_is_dropped_with_a_reason() -> None:
    entities = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    bomb = f'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{entities}]>'
    for data, reason in [(b"<article><body><p>cut", "broken-xml"), (b"<html/>", "no-article"), (b"<article/>", "empty"),
                         (b"", "broken-xml"),
                         (paper("<p>caf\u00e9</p>").decode().encode("latin-1"), "broken-xml"), (PAPER[:1500].encode(), "broken-xml"),
                         (b"<set><article/><article/></set>", "several-articles"),
                         (f"{bomb}<article><body><p>&j;</p></body></article>".encode(), "broken-xml")]:
        drop = read_jats(data, Origin("papers", "medical", "p.xml"))
        assert isinstance(drop, Drop) and drop.reason == reason and drop.source_file == "p.xml"


def test_real_papers(shared: Path) -> None:
    for name, heading in [("journal.pone.0152459.xml", "# Methods"), ("1471-2180-11-174.nxml", "# Background")]:
        document = read_jats((shared / "corpus/jats" / name).read_bytes(), Origin("papers", "medical", name))
        assert isinstance(document, Document) and document.licence and document.doi and document.title
        assert heading in document.text and "\n| " in document.text and "[]" not in document.text and "\0" not in document.text


def test_real_pointers_resolve(shared: Path) -> None:
    """Of 10,217 pointers in the papers at hand, nearly all name an entry with a title; none leaves an empty bracket or a mark."""
    files = sorted((shared / "corpus/jats").iterdir())
    plain = "".join(document.text for path in files if isinstance(document := read_jats(path.read_bytes(), ORIGIN), Document))
    marked = "".join(document.text for path in files if isinstance(document := read_jats(path.read_bytes(), MARKED), Document))
    assert not re.search(r"[\0-\x08]|\(\)|\[\]| \. ", plain.replace(" | . |", ""))
    assert marked.count("[bib_ref]") == marked.count("[/bib_ref]") > 9_500
    assert marked.count("[fig_ref]") > 2_000 and marked.count("[fig] ") > 480 and marked.count("[table] ") > 180

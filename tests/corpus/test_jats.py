"""JATS: structure kept, pointers gone, meaning whole."""

from __future__ import annotations

from pathlib import Path

from medloom.corpus.document import Document, Drop, Origin
from medloom.corpus.jats import read_jats

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


def test_what_is_no_paper_is_dropped_with_a_reason() -> None:
    entities = "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(9))
    bomb = f'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{entities}]>'
    for data, reason in [(b"<article><body><p>cut", "broken-xml"), (b"<html/>", "no-article"), (b"<article/>", "empty"),
                         (f"{bomb}<article><body><p>&j;</p></body></article>".encode(), "broken-xml")]:
        drop = read_jats(data, Origin("papers", "medical", "p.xml"))
        assert isinstance(drop, Drop) and drop.reason == reason and drop.source_file == "p.xml"


def test_real_papers(shared: Path) -> None:
    for name, heading in [("journal.pone.0152459.xml", "# Methods"), ("1471-2180-11-174.nxml", "# Background")]:
        document = read_jats((shared / "corpus/jats" / name).read_bytes(), Origin("papers", "medical", name))
        assert isinstance(document, Document) and document.licence and document.doi and document.title
        assert heading in document.text and "\n| " in document.text and "[]" not in document.text and "\0" not in document.text

"""Abstracts as one file of MEDLINE XML, as NLM's baseline has them. Record numbers lie where PubMed has none."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .facts import Part
from .medical import ADVISORY, Sayings

FIRST_PMID = 900_000_001

_CITATION = """<PubmedArticle>
<MedlineCitation Status="MEDLINE" Owner="NLM">
<PMID Version="1">{pmid}</PMID>
<DateCompleted><Year>{year}</Year><Month>06</Month><Day>01</Day></DateCompleted>
<Article PubModel="Print">
<Journal><ISSN IssnType="Print">0000-0000</ISSN>
<JournalIssue CitedMedium="Print"><Volume>{volume}</Volume><Issue>1</Issue><PubDate><Year>{year}</Year></PubDate></JournalIssue>
<Title>The Invented Journal of Medicine</Title><ISOAbbreviation>Inv J Med</ISOAbbreviation></Journal>
<ArticleTitle>{title}</ArticleTitle>
<Pagination><MedlinePgn>{page}-{page}</MedlinePgn></Pagination>
<Abstract>
{sections}
</Abstract>
<Language>eng</Language>
<PublicationTypeList><PublicationType UI="D016428">Journal Article</PublicationType></PublicationTypeList>
</Article>
<MedlineJournalInfo><Country>Nowhere</Country><MedlineTA>Inv J Med</MedlineTA><NlmUniqueID>0000000</NlmUniqueID></MedlineJournalInfo>
<MeshHeadingList><MeshHeading><DescriptorName UI="D000000" MajorTopicYN="Y">{heading}</DescriptorName></MeshHeading></MeshHeadingList>
</MedlineCitation>
<PubmedData><PublicationStatus>ppublish</PublicationStatus>
<ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList></PubmedData>
</PubmedArticle>"""


def abstracts(part: Part, sayings: Sayings, rounds: int = 2) -> str:
    """`rounds` structured abstracts about each disease and drug, one that was withdrawn, and the list that takes it back."""
    citations: list[str] = []
    for turn in range(rounds):
        for subject in [*part.things["disease"], *part.things["drug"]]:
            facts, results, conclusions = sayings.facts(subject), sayings.findings(subject), sayings.findings(subject)
            half = len(facts) // 2
            sections = {"BACKGROUND": facts[:half], "RESULTS": facts[half:] + results, "CONCLUSIONS": conclusions}
            pmid = FIRST_PMID + len(citations)
            citations.append(_citation(pmid, f"{('A study', 'A review', 'A trial', 'A record')[turn % 4]} of {subject}", subject, sections))
    withdrawn = FIRST_PMID + len(citations)
    regret = {"RESULTS": ["There were no results, and this record was taken back by its journal."]}
    citations.append(_citation(withdrawn, "A withdrawn study of nothing", "Nothing", regret))
    body = "\n".join(citations)
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<!-- {ADVISORY} -->\n<PubmedArticleSet>\n{body}\n'
            f'<DeleteCitation><PMID Version="1">{withdrawn}</PMID></DeleteCitation>\n</PubmedArticleSet>\n')


def _citation(pmid: int, title: str, heading: str, sections: dict[str, list[str]]) -> str:
    told = "\n".join(f'<AbstractText Label="{label}" NlmCategory="{label}">{escape(" ".join(sentences))}</AbstractText>'
                     for label, sentences in sections.items() if sentences)
    number = pmid - FIRST_PMID
    return _CITATION.format(pmid=pmid, year=2001 + number % 20, volume=1 + number % 20, page=1 + number, title=escape(title + "."),
                            sections=told, heading=escape(heading))

"""MEDLINE: what the specification says of records, on small ones and on a real file."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

from medloom.corpus.document import Drop, Origin
from medloom.corpus.readers.medline import Deletion, Versioned, read_medline

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "http://dtd.nlm.nih.gov/x.dtd">\n<PubmedArticleSet>\n'


def record(pmid: int, abstract: str = "<AbstractText>Fine words.</AbstractText>", *, title: str = "A title.", language: str = "eng",
           version: int = 1, ids: str = "") -> str:
    languages = "".join(f"<Language>{code}</Language>" for code in language.split())
    return (f'<PubmedArticle><MedlineCitation><PMID Version="{version}">{pmid}</PMID><Article><Journal><JournalIssue><PubDate>'
            f"<MedlineDate>1998 Dec-1999 Jan</MedlineDate></PubDate></JournalIssue></Journal><ArticleTitle>{title}</ArticleTitle>"
            f"<Abstract>{abstract}<CopyrightInformation>Copyright X.</CopyrightInformation></Abstract>{languages}</Article>"
            f"</MedlineCitation><PubmedData><ArticleIdList>{ids}</ArticleIdList><ReferenceList><Reference><ArticleIdList>"
            '<ArticleId IdType="doi">10.1/of-a-reference</ArticleId></ArticleIdList></Reference></ReferenceList></PubmedData>'
            "</PubmedArticle>\n")


def read(path: Path) -> tuple[list[object], list[tuple[str, str]]]:
    faults: list[tuple[str, str]] = []
    return list(read_medline(path, Origin("abstracts", "medical", path.name), faults)), faults


def written(path: Path, *records: str) -> Path:
    path.write_text(HEAD + "".join(records) + "</PubmedArticleSet>", encoding="utf-8")
    return path


def test_a_record_keeps_labels_comparisons_and_identifiers(tmp_path: Path) -> None:
    abstract = ('<AbstractText Label="METHODS" NlmCategory="METHODS">Dose &lt;5 mg/kg in 10<sup>9</sup>/L; age &gt; 3 y, '
                'H<sub>2</sub>O.</AbstractText>'
                '<AbstractText Label="UNLABELLED">or <i>fluids</i> &alpha;&#8211;&#x3b2;.</AbstractText><AbstractText Label="RESULTS"/>')
    ids = '<ArticleId IdType="doi">10.1002/(SICI)1&lt;2::AID&gt;3</ArticleId><ArticleId IdType="pmc">PMC77</ArticleId>'
    one = record(5, abstract, title="[Über <i>Dinge</i>].", language="ger eng", ids=ids)
    [item], faults = read(written(tmp_path / "a.xml", one))
    assert isinstance(item, Versioned) and not faults
    document = item.document
    assert document.text == "Über Dinge.\n\nMETHODS: Dose <5 mg/kg in 10^9/L; age > 3 y, H2O.\n\nor fluids \u03b1\u2013\u03b2."
    assert (document.id, document.pmid, document.pmcid, document.doi) == ("pmid:5", "5", "PMC77", "10.1002/(sici)1<2::aid>3")
    assert (document.language, document.year, document.licence) == ("en", 1998, "Copyright X.")


def test_language_of_an_article_is_not_that_of_its_abstract(tmp_path: Path) -> None:
    [item], _ = read(written(tmp_path / "a.xml", record(5, language="ger")))
    assert isinstance(item, Versioned) and item.document.language is None


def test_categories_are_publication_types_and_the_check_tag_animals(tmp_path: Path) -> None:
    types = "<PublicationTypeList><PublicationType>Review</PublicationType><PublicationType UI='x'>Journal Article</PublicationType>"
    plain = record(5).replace("</Article>", f"{types}</PublicationTypeList></Article>")
    mesh = "<MeshHeadingList><MeshHeading><DescriptorName UI='D000818'>{}</DescriptorName></MeshHeading></MeshHeadingList>"
    animals = plain.replace("</MedlineCitation>", mesh.format("Animals") + "</MedlineCitation>")
    others = plain.replace("</MedlineCitation>", mesh.format("Animals, Wild") + "</MedlineCitation>")
    items, _ = read(written(tmp_path / "a.xml", plain, animals, others))
    assert [item.document.categories for item in items if isinstance(item, Versioned)] == [
        ("Review", "Journal Article"), ("Review", "Journal Article", "Animals"), ("Review", "Journal Article")]


def other_abstract(language: str, text: str) -> str:
    return f'<OtherAbstract Type="Publisher" Language="{language}"><AbstractText>{text}</AbstractText></OtherAbstract>'


def test_other_abstract_stands_in_where_there_is_no_abstract(tmp_path: Path) -> None:
    """Peers have no text for such a record."""
    bare = record(5, language="ger", title="[A translation].").replace("<Abstract><AbstractText>Fine words.</AbstractText>", "<Abstract>")
    bare = bare.replace("</Article>", "<VernacularTitle>Der Titel.</VernacularTitle></Article>")
    end = "</MedlineCitation>"
    german, both = other_abstract("ger", "Gute W\u00f6rter."), other_abstract("ger", "Gute.") + other_abstract("eng", "Good words.")
    items, _ = read(written(tmp_path / "a.xml", bare.replace(end, german + end), bare.replace(end, both + end),
                            record(6).replace(end, german + end), bare.replace(end, other_abstract("xxx", "?") + end), bare))
    found = [(item.document.text, item.document.language) if isinstance(item, Versioned) else item.reason for item in items
             if not isinstance(item, Deletion)]
    assert found == [("Der Titel.\n\nGute W\u00f6rter.", "de"), ("A translation.\n\nGood words.", "en"),
                     ("A title.\n\nFine words.", "en"), ("Der Titel.\n\n?", None), "no-abstract"]


def test_one_broken_record_costs_itself_only(tmp_path: Path) -> None:
    broken = record(2).replace("</ArticleTitle>", "")
    unended = record(3).replace("</PubmedArticle>", "")
    deletion = '<DeleteCitation><PMID Version="1">8</PMID><PMID Version="1">9</PMID></DeleteCitation>'
    items, _ = read(written(tmp_path / "a.xml", record(1), broken, unended, record(4, abstract=""), record(5), deletion))
    kinds = [item.document.id if isinstance(item, Versioned) else (item.id, item.reason) if isinstance(item, Drop) else item
             for item in items]
    assert kinds == ["pmid:1", ("pmid:2", "broken-record"), ("pmid:3", "broken-record"), ("pmid:4", "no-abstract"), "pmid:5",
                     Deletion(("8", "9"))]


def test_bytes_of_another_encoding_cost_their_record_only(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    latin = record(2, "<AbstractText>caf\u00e9</AbstractText>").encode("latin-1")
    path.write_bytes(HEAD.encode() + record(1).encode() + latin + record(3).encode() + b"</PubmedArticleSet>")
    items, faults = read(path)
    assert [item.reason if isinstance(item, Drop) else type(item) for item in items] == [Versioned, "broken-record", Versioned]
    assert not faults
    path.write_bytes((HEAD.replace("utf-8", "iso-8859-1")).encode() + latin + b"</PubmedArticleSet>")
    [item], _ = read(path)
    assert isinstance(item, Versioned) and item.document.text.endswith("caf\u00e9")


def test_a_file_that_ends_early_or_holds_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    whole = (HEAD + record(1) + record(2)).encode()
    for data, kinds, reason in [(whole, [Versioned, Versioned], "truncated-file"), (whole[:-300], [Versioned, Drop], "truncated-file"),
                                (b"", [], "no-record"), (b"<html><p>Not found</p></html>", [], "no-record")]:
        path.write_bytes(data)
        items, faults = read(path)
        assert [type(item) for item in items] == kinds and [fault for fault, _ in faults] == [reason]


def test_books_and_deletions_between_records_are_seen(tmp_path: Path) -> None:
    book = '<PubmedBookArticle><BookDocument><PMID Version="1">7</PMID></BookDocument></PubmedBookArticle>'
    deletion = '<DeleteCitation><PMID Version="1">8</PMID></DeleteCitation>'
    items, faults = read(written(tmp_path / "a.xml", book, record(1, version=3), deletion, record(2), book))
    assert [item if isinstance(item, Deletion) else item.version if isinstance(item, Versioned) else (item.id, item.reason)
            for item in items if isinstance(item, Drop | Deletion | Versioned)] == [
        ("pmid:7", "book-record"), 3, Deletion(("8",)), 1, ("pmid:7", "book-record")]
    assert not faults


def test_entities_of_a_hostile_record_are_not_resolved(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("not for the corpus")
    head = f'<!DOCTYPE PubmedArticleSet [<!ENTITY steal SYSTEM "{secret.as_uri()}">]><PubmedArticleSet>'
    path = tmp_path / "a.xml"
    path.write_text(head + record(1, "<AbstractText>see &steal; here</AbstractText>") + record(2) + "</PubmedArticleSet>")
    items, _ = read(path)
    assert [type(item) for item in items] == [Drop, Versioned]


def test_a_truncated_file_gives_what_could_be_read(tmp_path: Path) -> None:
    records = (record(n, f"<AbstractText>{n * 7919} words {n * 104729}</AbstractText>") for n in range(1, 400))
    whole = gzip.compress((HEAD + "".join(records)).encode())
    path = tmp_path / "a.xml.gz"
    path.write_bytes(whole[: len(whole) // 2])
    items, faults = read(path)
    assert sum(isinstance(item, Versioned) for item in items) > 100
    assert [reason for reason, _ in faults] == ["truncated-file"]


def test_a_real_baseline_file(shared: Path) -> None:
    items, faults = read(shared / "corpus/medline/pubmed21n1001.xml.gz")
    documents = [item.document for item in items if isinstance(item, Versioned)]
    assert Counter(type(item) for item in items) == {Versioned: 26, Drop: 11} and not faults
    assert all(document.language == "en" and document.doi and document.year in (2019, 2020) for document in documents)
    assert any("\n\nMETHODS: " in document.text for document in documents)


def test_no_abstract_of_a_real_file_is_lost(shared: Path) -> None:
    """Counted by their tags in the file's bytes: 30,000 citations, 14,832 with an Abstract, 39 more with an OtherAbstract only."""
    path = shared / "corpus/medline/pubmed20n0014.xml.gz"
    records = gzip.decompress(path.read_bytes()).split(b"<PubmedArticle>")[1:]
    items, faults = read(path)
    documents = [item.document for item in items if isinstance(item, Versioned)]
    assert len(items) == len(records) == 30_000 and not faults
    assert len(documents) == sum(b"<AbstractText" in record for record in records) == 14_871
    assert sum("Animals" in document.categories for document in documents) == sum(
        b">Animals</DescriptorName>" in record for record in records if b"<AbstractText" in record)
    assert all(document.categories for document in documents)

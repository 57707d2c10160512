"""Full papers as JATS XML: sections, a table, captions, references, a licence."""

from __future__ import annotations

import random
from collections.abc import Iterator
from xml.sax.saxutils import escape

from .facts import Part
from .guidelines import slug
from .medical import ADVISORY, Sayings

_ARTICLE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD v1.2 20190208//EN" "JATS-archivearticle1.dtd">
<!-- {advisory} -->
<article article-type="research-article" xml:lang="en" xmlns:xlink="http://www.w3.org/1999/xlink">
<front>
<journal-meta><journal-title-group><journal-title>The Invented Archive</journal-title></journal-title-group></journal-meta>
<article-meta>
<article-id pub-id-type="doi">10.0000/invented.{number:04d}</article-id>
<title-group><article-title>{title}</article-title></title-group>
<contrib-group><contrib contrib-type="author"><name><surname>Nobody</surname><given-names>Ann</given-names></name></contrib></contrib-group>
<pub-date pub-type="epub"><year>{year}</year></pub-date>
<permissions><license license-type="open-access" xlink:href="https://creativecommons.org/publicdomain/zero/1.0/">
<license-p>Dedicated to the public domain (CC0 1.0).</license-p></license></permissions>
<abstract><p>{abstract}</p></abstract>
</article-meta>
</front>
<body>
{sections}
<sec><title>Table</title><table-wrap id="t1"><label>Table 1</label><caption><p>What was recorded.</p></caption>
<table><thead><tr><th>Name</th><th>Point</th><th>Record</th></tr></thead><tbody>
{rows}
</tbody></table></table-wrap></sec>
</body>
<back><ref-list><title>References</title>
<ref id="r1"><mixed-citation>Nobody A. The invented journal of medicine. 2001;1:1.</mixed-citation></ref></ref-list></back>
</article>
"""


def papers(part: Part, sayings: Sayings, rng: random.Random, rounds: int = 2, together: int = 4) -> Iterator[tuple[str, str]]:
    """Papers about `together` things each, every disease and drug in `rounds` of them: (file name, content)."""
    number = 0
    for _ in range(rounds):
        subjects = [*part.things["disease"], *part.things["drug"]]
        rng.shuffle(subjects)
        for start in range(0, len(subjects), together):
            group = subjects[start:start + together]
            number += 1
            sections = "\n".join(f"<sec><title>{escape(subject)}</title><p>{escape(' '.join(sayings.everything(subject)))} "
                                 f'See <xref ref-type="table" rid="t1">Table 1</xref>.</p></sec>' for subject in group)
            rows = "\n".join(f"<tr><td>{escape(fact.subject)}</td><td>{escape(fact.relation.noun)}</td><td>{escape(fact.value)}</td></tr>"
                             for fact in part.facts if fact.subject in group)
            yield f"{number:03d}-{slug(group[0])}.xml", _ARTICLE.format(
                advisory=ADVISORY, number=number, title=escape("Records of " + ", ".join(group)), year=2001 + number % 20,
                abstract=escape(" ".join(sentence for subject in group for sentence in sayings.facts(subject)[:1])),
                sections=sections, rows=rows)

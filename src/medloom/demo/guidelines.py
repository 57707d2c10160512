"""Guidelines as they come from a clinic's web site and from its plain-text leaflets."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from .facts import Part
from .medical import ADVISORY, Sayings

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title} | Invented Clinic</title>
<meta name="license" content="https://creativecommons.org/publicdomain/zero/1.0/">
<style>body {{ font-family: serif; }} nav, footer {{ color: grey; }}</style>
</head>
<body>
<header><a href="/">Invented Clinic</a></header>
<nav><ul><li><a href="/">Home</a></li><li><a href="/guidelines">All guidelines</a></li><li><a href="/contact">Contact</a></li></ul></nav>
<main>
<article>
<h1>{title}</h1>
<h2>Summary</h2>
<p>{summary}</p>
<h2>Care</h2>
<p>{care}</p>
<h2>At a glance</h2>
<table>
<tr><th>Question</th><th>Answer</th></tr>
{rows}
</table>
</article>
</main>
<aside><h3>Related pages</h3><ul>{related}</ul></aside>
<footer><p>{advisory}</p><p>Cookies | Terms | Print this page</p></footer>
</body>
</html>
"""


def pages(part: Part, sayings: Sayings) -> Iterator[tuple[str, str]]:
    """One HTML page for each disease, with everything around it that a web site has: (file name, content)."""
    diseases = part.things["disease"]
    for number, disease in enumerate(diseases):
        rows = "\n".join(f"<tr><td>{escape(fact.relation.noun)}</td><td>{escape(fact.value)}</td></tr>"
                         for fact in part.facts if fact.subject == disease)
        related = "".join(f'<li><a href="/guidelines/{slug(other)}">{escape(other)}</a></li>' for other in diseases[number - 2:number])
        yield f"{slug(disease)}.html", _PAGE.format(
            title=escape(f"Guideline for {disease}"), summary=escape(" ".join(sayings.facts(disease))),
            care=escape(" ".join(sayings.facts(disease))), rows=rows, related=related, advisory=escape(ADVISORY))


def leaflets(part: Part, sayings: Sayings) -> Iterator[tuple[str, str]]:
    """One Markdown leaflet for each drug: (file name, content)."""
    for drug in part.things["drug"]:
        evidence = sayings.findings(drug) + sayings.findings(drug)
        paragraphs = [f"# Guideline on {drug}", " ".join(sayings.facts(drug)), "## Evidence", " ".join(evidence),
                      "## Summary", " ".join(sayings.everything(drug)), f"> {ADVISORY}"]
        yield f"{slug(drug)}.md", "\n\n".join(paragraphs) + "\n"


def slug(name: str) -> str:
    """A name as part of a file name or address."""
    return name.lower().replace(" ", "-")

"""Guidelines in XML whose fields hold HTML: the summaries of the National Guideline Clearinghouse (AHRQ, 1998 to 2018).

Each field of prose becomes a # heading with its text. What identifies a summary goes into the document's fields. Left out is what
says nothing about care: the catalogue's terms (fields chosen from a list), the Clearinghouse's status, disclaimers and addresses, who
sat on the committee, references, and fields that only say that nothing was stated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from ..document import Document, Drop, Origin
from .clean import clean, one_line
from .html_fragment import fragment_to_markdown
from .jats import read_jats
from .licence import name_licence
from .xml import Element, local, parse

_SECTIONS_LEFT_OUT = {"Identifying Information and Availability", "Disclaimer",
                      "Institute of Medicine (IOM) National Healthcare Quality Report Categories"}
_FIELDS_LEFT_OUT = {"Guideline Title", "Bibliographic Source(s)", "Guideline Status", "Clinical Algorithm(s)",
                    "References Supporting the Recommendations", "Number of Source Documents", "Description of Implementation Strategy"}
_NOTHING_SAID = re.compile(
    r"(?:not (?:stated|applicable|available|specified|reported)|none(?: (?:provided|stated|available|identified))?|"
    r"not applicable: the guideline (?:was|is) not .*|n/?a|a formal cost analysis was not performed and published cost analyses were not "
    r"reviewed)\.?", re.IGNORECASE)
_YEAR = re.compile(r"(?:19|20)\d\d")
# UTF-8 that was once read as Latin-1: a lead byte's letter, then characters of which at least one is a control that no text holds.
_MISREAD = re.compile("[\u00c2-\u00f4][\u0080-\u00bf]{1,3}")
_CONTROLS = re.compile("[\u0080-\u009f]")
_PICTURES = {"radioactive": "\u2622"}  # the American College of Radiology's scale of doses is drawn with this sign


def read_guideline_xml(data: bytes, origin: Origin) -> Document | Drop:
    """A Clearinghouse summary, or a guideline that is a JATS article; a Drop with a reason where the bytes are neither.

    `title`, `year` (of the last revision) and `licence` (the copyright statement, by its short name where it has one) are the summary's.
    """
    try:
        root = parse(data)
    except (etree.XMLSyntaxError, ValueError) as error:
        return origin.drop("broken-xml", str(error))
    if local(root) == "article":
        return read_jats(data, origin)
    fields = list(_fields(root))
    if not fields:
        return origin.drop("no-guideline", f"the root is <{local(root)}>, without Section/Field/FieldValue below it or a JATS article")
    known = {name: text for _, name, _, text in fields}
    blocks = [f"# {name}\n\n{text}" for section, name, kind, text in fields
              if section not in _SECTIONS_LEFT_OUT and name not in _FIELDS_LEFT_OUT and not kind.startswith("picklist")
              and not _NOTHING_SAID.fullmatch(text)]
    if not blocks:
        return origin.drop("empty")
    title = (one_line(known.get("Guideline Title")) or "").rstrip(".") or None
    # "American College of Radiology - Medical Specialty Society"
    developers = [line.rpartition(" - ")[0] or line for line in known.get("Guideline Developer(s)", "").splitlines() if line.strip()]
    year = max(map(int, _YEAR.findall(known.get("Date Released", ""))), default=None)
    byline = ", ".join([*developers, *([str(year)] if year else [])])
    statement = one_line(known.get("Copyright Statement"))
    return origin.document(
        origin.key, clean("\n\n".join(block for block in (title, byline, *blocks) if block)), title=title, year=year, language="en",
        licence=(name_licence(None, statement) if statement else None) or origin.licence)


def _fields(root: Element) -> Iterator[tuple[str, str, str, str]]:
    """(section, name, type, text as Markdown) of each field that has any text."""
    for section in root:
        for field in section:
            values = [value.get("Value") or "" for value in field if local(value) == "FieldValue"]
            name = one_line(field.get("Name"))
            text = "\n".join(filter(None, (fragment_to_markdown(_mended(value)) for value in values)))
            if name and text:
                yield section.get("Name") or "", name, field.get("Type") or "", text


def _mended(text: str) -> str:
    """Text in which UTF-8 was read as Latin-1, read right; other text as it is."""
    for words, sign in _PICTURES.items():
        text = text.replace(f'alt="{words}"', f'alt="{sign}"')
    return _MISREAD.sub(_reread, text) if _CONTROLS.search(text) else text


def _reread(match: re.Match[str]) -> str:
    try:
        return match[0].encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return match[0]

"""What stands within a line of a JATS paper (styles, pointers, superscripts, formulas), turned into its words inside the tree.

After `dissolve` a paragraph or a cell is one run of text, which libxml2 has joined; `written` gives the words in that run their final
form. Neither needs to know where in the paper it is, so a reader walks the blocks alone.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from lxml import etree

from ..markup import Markup
from .clean import one_line
from .mathml import linear
from .pointers import pointer, resolve
from .references import References
from .xml import NUMBER, Element, child, plain_text

_MATH = "{http://www.w3.org/1998/Math/MathML}math"
_STYLES = ("italic", "bold", "sub", "named-content", "underline", "ext-link", "sc", "monospace", "styled-content", "roman", "sans-serif",
           "overline", "strike", "uri", "email", "abbrev")
_READ = ("xref", "sup", "break", "inline-formula", "disp-formula", "alternatives", _MATH, "math", "tex-math")
_GONE = tuple(kind for kind in _READ if kind not in ("disp-formula", "alternatives"))
_WORKS, _FLOATS = frozenset(("bibr", "ref")), frozenset(("fig", "table"))
_NOTES = frozenset(("fn", "table-fn", "aff", "corresp", "author-notes"))
_LEADING_NUMBER = re.compile(r"\s*\d")
_TEX = re.compile(r"\\begin\{document\}(.*)\\end\{document\}", re.DOTALL)
# Marks for what depends on the words before it. Like those of `pointers`, a paper has them by mishap only, and `clean` drops them.
_POWER, _NAMED = "\x90", "\x9d"
_RAISED = re.compile(f"{_POWER}(?<=[^\\W_]{_POWER}|[)\\]]{_POWER})")
_NOUN = re.compile(rf"(?:Figure|Fig\.?|Table|Tab\.?)\s*{_NAMED}")

Floats = dict[str, tuple[str, str]]  # the first word of a figure's or table's label, and its caption, by id


def floats(article: Element) -> Floats:
    """The figures and tables that a pointer can name."""
    found = {}
    for element in article.iter("fig", "table-wrap"):
        if id := element.get("id"):
            label, caption = child(element, "label"), child(element, "caption")
            parts = caption.iterchildren("title", "p") if caption is not None else ()
            found[id] = ("".join(plain_text(label).split()[:1]) if label is not None else "",
                         " ".join(" ".join("".join(part.itertext()) for part in parts).split()))
    return found


def dissolve(article: Element, markup: Markup, targets: Floats) -> None:
    """Put the words of inline elements in their place, in all of an article. `targets` are what pointers to figures can name."""
    etree.strip_tags(article, *_STYLES)
    for element in reversed(list(article.iter(*_READ))):  # so what is within comes first
        kind = element.tag
        if kind == "xref":
            _say(element, _pointer(element, markup, targets))
        elif kind == "sup":
            words = _words(element).strip()
            _say(element, _POWER + words if NUMBER.match(words) else words)
        elif kind == "break":
            element.text = " "
        elif kind == "tex-math":
            body = _TEX.search(element.text or "")
            _say(element, " ".join((body[1] if body else element.text or "").split()).strip("$ "))
        elif kind in (_MATH, "math"):
            _say(element, linear(element))
        elif kind != "alternatives" or next(element.iter(_MATH, "math", "tex-math"), None) is not None:
            _say(element, _formula(element))
    etree.strip_tags(article, *_GONE)


def _words(element: Element) -> str:
    return "".join(element.itertext()) if len(element) else element.text or ""


def _say(element: Element, words: str) -> None:
    """Give an element these words and nothing else."""
    if len(element):
        del element[:]
    element.text = words


def _pointer(xref: Element, markup: Markup, targets: Floats) -> str:
    """What a cross-reference says, or its place kept for `pointers.resolve`."""
    kind, words = xref.get("ref-type"), _words(xref)
    if kind in _WORKS:
        return pointer(xref.get("rid", ""), words.replace(_POWER, ""))
    if kind in _NOTES:
        return pointer("", words.replace(_POWER, ""))
    if markup.marked and kind in _FLOATS and (target := targets.get(xref.get("rid", ""))):
        number = _LEADING_NUMBER.match(words)
        label, caption = target
        point = markup.point(f"{label} {words}" if number and label else words, caption)  # "Figures 1 and [2]"
        return _NAMED + point if number else point
    return words


def _formula(element: Element) -> str:
    """A formula on one line: from MathML where there is some, else from TeX, else what words it holds; of a picture nothing stays."""
    for kinds in ((_MATH, "math"), ("tex-math",)):
        for part in element.iter(*kinds):
            return part.text or ""
    for label in element.findall("label"):
        label.text = ""
    words = _words(element)
    return words if words.strip() else pointer("", "")


def written(text: str, references: References, markup: Markup) -> str:
    """A run of dissolved text on one line, with what it points at, and as clean as `clean` would leave it."""
    if text.isascii():  # so there is no mark in it
        return " ".join(text.split()) if "  " in text or not text.isprintable() else text.strip()
    if _POWER in text:
        text = _RAISED.sub("^", text).replace(_POWER, "")
    if _NAMED in text:  # "Figure [1]": the pointer names it
        text = _NOUN.sub("", text).replace(_NAMED, "")
    text = resolve(text, references, markup)
    if "  " in text or not text.isprintable():  # most text is printable, and to ask of each character takes long: ask once
        text = " ".join(text.split())
        if not text.isprintable():
            return one_line(text) or ""
    return text.strip() if text.isascii() else normalize("NFC", text.strip())

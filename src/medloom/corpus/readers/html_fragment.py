"""HTML fragments as Markdown: text that stands inside other formats and has no page around it, so that nothing in it is chrome.

Lists, tables and superscripts keep their sense; a paragraph that is all bold or underlined is a heading; emphasis and links leave
their words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree, html

from .xml import Element, local, raised

_BLOCKS = {"address", "article", "aside", "blockquote", "body", "center", "dd", "div", "dl", "dt", "figure", "figcaption", "footer", "form",
           "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "table", "tbody", "td", "tfoot",
           "th", "thead", "tr", "ul"}
_UNSEEN = {"script", "style", "head", "noscript", "template"}
_SENTENCE_ENDS = (".", ";", ":", ",", "!", "?")
HEADING_CHARACTERS = 100

_LIST_STYLE = re.compile(r"list-style-type:\s*([a-z-]+)")
_TYPES = {"a": "lower-alpha", "A": "upper-alpha", "i": "lower-roman", "I": "upper-roman"}
_LESS_THAN = re.compile(r"<(?![A-Za-z/!?])")
_TABLE = re.compile(r"<table\b[^<>]*>.*?</table>", re.DOTALL | re.IGNORECASE)
_SUPERSCRIPT = re.compile(r"(.?)<sup>([^<>\n]{1,20})</sup>", re.IGNORECASE)
_BREAK = re.compile(r"<(?:br|/p|/div|/li|/h[1-6])\s*/?>[ \t]*(?=\S)", re.IGNORECASE)
# Tags by their names and with attributes as HTML writes them, so that no comparison is taken for one.
_TAG = re.compile(
    r"</?(?:a|abbr|b|blockquote|body|br|caption|center|cite|code|dd|del|div|dl|dt|em|figcaption|figure|font|footer|h[1-6]|header|hr|html|i"
    r"|img|ins|li|main|nav|ol|p|pre|section|small|span|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|tt|u|ul)"
    r"(?:\s+[\w:-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*/?>", re.IGNORECASE)


def escape_comparisons(source: str) -> str:
    """HTML in which a "<" that opens no tag is written as it should be, or a parser takes "<5 mg/kg ..." for markup."""
    return _LESS_THAN.sub("&lt;", source)


def without_html(text: str) -> str:
    """Markdown or plain text without the HTML that was written into it: its tables in Markdown, of other elements the words."""
    if "</" not in text:
        return text
    text = _TABLE.sub(lambda found: f"\n\n{fragment_to_markdown(found[0])}\n\n", text)
    text = _SUPERSCRIPT.sub(lambda found: found[1] + raised(found[1], found[2]), text)
    return _TAG.sub("", _BREAK.sub("\n", text))


def fragment_to_markdown(fragment: str, level: int = 2) -> str:
    """A fragment's text in Markdown, blank lines between its blocks; empty for none. Its headings begin at `level`."""
    if "<" not in fragment and "&" not in fragment:
        return " ".join(fragment.split())
    try:
        root = html.fragment_fromstring(escape_comparisons(fragment), create_parent="div")
    except (etree.ParserError, ValueError):  # nothing but comments, or characters that no document may hold
        return ""
    return "\n\n".join(_blocks(root, level))


def _blocks(element: Element, level: int) -> Iterator[str]:
    """The blocks within an element: its own text, cut where a block begins, and the blocks among its children."""
    held = ""

    def flushed() -> Iterator[str]:
        words = _tidy(held)
        if words:
            yield words

    held = element.text or ""
    for inner in element:
        name = local(inner)
        if name in _BLOCKS or (name and name not in _UNSEEN and any(local(e) in _BLOCKS for e in inner.iter())):
            yield from flushed()
            yield from _block(inner, name, level)
            held = inner.tail or ""
        else:
            held += _part(inner, held) + (inner.tail or "")
    yield from flushed()


def _block(element: Element, name: str, level: int) -> Iterator[str]:
    if name in ("ul", "ol"):
        items = "\n".join(_items(element, 0))
        if items:
            yield items
    elif name == "table":
        yield from _table(element, level)
    elif name[0] == "h" and name[1:].isdigit():
        words = " ".join(_blocks(element, level))
        if words:
            yield f"{'#' * min(level + int(name[1]) - 1, 6)} {words}"
    elif name == "p" and (depth := _heading_depth(element)):
        words = _tidy(_inline(element)).replace("\n", " ")
        is_heading = len(words) <= HEADING_CHARACTERS and not words.endswith(_SENTENCE_ENDS)
        yield f"{'#' * min(level + depth - 1, 6)} {words}" if is_heading else words
    elif element.get("class") != "Disclaimer":
        yield from _blocks(element, level)


def _heading_depth(paragraph: Element) -> int:
    """1 for a paragraph that is all bold, 2 for one that is all underlined, else 0."""
    inner = list(paragraph)
    if (paragraph.text or "").strip() or not inner or any((e.tail or "").strip() for e in inner):
        return 0
    if not any(c.isalpha() for c in "".join(paragraph.itertext())):
        return 0
    if all(local(e) in ("strong", "b", "br") or (len(e) == 1 and not e.text and local(e[0]) in ("strong", "b")) for e in inner):
        return 1
    return 2 if all(local(e) in ("u", "br") or "underline" in (e.get("style") or "") for e in inner) else 0


def _items(element: Element, depth: int) -> Iterator[str]:
    """A list's lines: "- " or "1. ", two spaces for each list that it is inside. Lists that stand in a list without an item are its."""
    number = int(start) if (start := element.get("start") or "").isdecimal() else 1
    style = _LIST_STYLE.search(element.get("style") or "")
    kind = "disc" if local(element) == "ul" else style[1] if style else _TYPES.get(element.get("type") or "", "decimal")
    for item in element:
        name = local(item)
        if name in ("ul", "ol"):
            yield from _items(item, depth + 1)
            continue
        if not name:
            continue
        mark = "- " if kind == "disc" else f"{_numeral(number, kind)}. "
        number += 1
        lead = True
        for block in _item_blocks(item, depth):
            if isinstance(block, str):
                words = block.replace("\n", " ")
                yield "  " * depth + (mark if lead else "  ") + words
            else:
                yield from block
            lead = False


def _numeral(number: int, kind: str) -> str:
    """A list's number as it is shown: recommendations are cited as 2b or IV."""
    if kind.endswith(("alpha", "latin")) and 1 <= number <= 26:
        numeral = chr(ord("a") + number - 1)
    elif kind.endswith("roman") and 1 <= number < 40:
        numeral = "x" * (number // 10) + ("", "i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix")[number % 10]
    else:
        return str(number)
    return numeral.upper() if kind.startswith("upper") else numeral


def _item_blocks(item: Element, depth: int) -> Iterator[str | Iterator[str]]:
    """Of an item, the paragraphs as text and the lists within it as their lines."""
    held = item.text or ""
    for inner in item:
        name = local(inner)
        if name in _BLOCKS:
            if _tidy(held):
                yield _tidy(held)
            held = inner.tail or ""
            if name in ("ul", "ol"):
                yield _items(inner, depth + 1)
            elif name == "table":
                yield from (iter(block.split("\n")) for block in _table(inner, 6))
            else:
                yield from _item_blocks(inner, depth)
        else:
            held += _part(inner, held) + (inner.tail or "")
    if _tidy(held):
        yield _tidy(held)


def _table(table: Element, level: int) -> Iterator[str]:
    """A table as Markdown; one without two cells side by side is layout, and gives what its cells hold.

    Rows of one cell at its head and foot are caption and notes, and stand before and after it.
    """
    rows = [[cell for cell in row if local(cell) in ("td", "th")] for row in table.iter("tr") if _nearest_table(row) is table]
    caption = next((_cell(e) for e in table if local(e) == "caption"), "")
    if caption:
        yield caption
    covered = {n + k for n, row in enumerate(rows) for cell in row for k in range(1, _span(cell, "rowspan"))}
    side_by_side = [n for n, row in enumerate(rows) if len(row) > 1 or (row and n in covered)]
    if not side_by_side:
        for row in rows:
            for cell in row:
                yield from _blocks(cell, level)
        return
    head, foot = side_by_side[0], side_by_side[-1] + 1
    for row in rows[:head]:
        yield from filter(None, (_cell(cell) for cell in row))
    grid = _grid(rows[head:foot])
    width = max(map(len, grid))
    lines = ["| " + " | ".join([*row, *[""] * (width - len(row))]) + " |" for row in grid if any(row)]
    if lines:
        yield "\n".join([lines[0], "|" + "---|" * width, *lines[1:]])
    for row in rows[foot:]:
        for cell in row:
            yield from _blocks(cell, level)


def _nearest_table(row: Element) -> Element | None:
    return next(row.iterancestors("table"), None)


def _grid(rows: list[list[Element]]) -> list[list[str]]:
    """The cells' text, each in its column: a cell over several columns or rows leaves the others empty."""
    below: dict[int, int] = {}  # column -> rows that a cell above still covers
    grid: list[list[str]] = []
    for row in rows:
        line: list[str] = []
        for cell in row:
            while below.get(len(line), 0):
                below[len(line)] -= 1
                line.append("")
            columns, lines = _span(cell, "colspan"), _span(cell, "rowspan")
            for place in range(len(line), len(line) + columns):
                below[place] = lines - 1
            line += [_cell(cell), *[""] * (columns - 1)]
        while below.get(len(line), 0):
            below[len(line)] -= 1
            line.append("")
        grid.append(line)
    return grid


def _span(cell: Element, name: str) -> int:
    value = (cell.get(name) or "").strip()
    return min(max(int(value), 1), 100) if value.isdigit() and value.isascii() else 1


def _cell(cell: Element) -> str:
    """A cell on one line; items and paragraphs within it stay apart."""
    text = ""
    for line in "\n".join(_blocks(cell, 6)).splitlines():
        words = line.strip().removeprefix("- ").lstrip("# ")
        if words:
            text += (" " if not text or text.endswith(_SENTENCE_ENDS) else "; ") + words
    return text.strip().replace("|", "\\|")


def _inline(element: Element) -> str:
    text = element.text or ""
    for inner in element:
        text += _part(inner, text) + (inner.tail or "")
    return text


def _part(element: Element, before: str) -> str:
    name = local(element)
    if not name or name in _UNSEEN:
        return ""
    if name == "br":
        return "\0"
    if name == "img":
        return f" {element.get('alt') or ''} "
    text = _inline(element)
    return raised(before, text) if name == "sup" else text


def _tidy(text: str) -> str:
    """White space as a browser shows it: a line end only where a <br> stands."""
    lines = (" ".join(line.split()) for line in text.split("\0"))
    return "\n".join(line for line in lines if line)

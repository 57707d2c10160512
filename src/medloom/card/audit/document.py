"""A file read as a stranger would: front matter, tables, settings ("key: value" lines) and prose, each apart.

Markdown with its line breaks or without, HTML inside Markdown, whole HTML pages. Code is not prose: only its settings are read.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any

from ...ledger import Refusal
from .front import flattened_front, front_matter
from .quantity import spelled
from .tables import Table, split_html_tables, split_tables

LARGEST = 500_000  # bytes; the longest cards on the hub have some hundred thousand
_IN_SIGHT = 700  # characters either way
_CURE = "name a model card in Markdown, text or HTML"
_FRONT = re.compile(r"\A\s*---[ \t]*\n(.*?\n)---[ \t]*(?:\n|\Z)", re.S)
_FLAT_FRONT = re.compile(r"\A\s*---[ \t](.{0,20000}?)[ \t]---[ \t]")
_FENCE = re.compile(r"```[ \t]*(\w*)(.*?)```", re.S)
_CODE = frozenset(("python", "py", "bash", "sh", "shell", "console", "bibtex", "latex", "tex", "html", "javascript", "js", "cpp", "c"))
_PAGE = re.compile(r"<(?:!doctype|html|body)\b", re.I)
_BLOCK = re.compile(r"</?(?:p|div|li|br|hr|h[1-6]|ul|ol|section|article|tr|details|summary|center|pre|blockquote|title)\b[^<>]*>", re.I)
_HEADING = re.compile(r"<h([1-6])\b[^<>]*>", re.I)
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_UNSEEN = re.compile("|".join([r"<!--.*?(?:-->|\Z)", *(rf"<{tag}\b.*?(?:</{tag}\s*>|\Z)" for tag in ("script", "style", "head"))]),
                     re.S | re.I)
_SETTING = re.compile(r"^[\s>+*-]{0,8}[*_`]{0,3}([A-Za-z][A-Za-z0-9 _/().,-]{0,60}?)[*_`\"]{0,3}\s?[:=]\s?[*_`\"]{0,3}\s?(\S.*)$")
_POWER = re.compile(r"(\d(?:\.\d{1,4})?)\s?(?:[x\u00d7*]|\\times)\s?10\s?(?:\^|<sup>|\*\*)?\s?\{?"
                    r"(-\d{1,2}|(?<=[\^>*{])\d{1,2})\}?(?:</sup>)?")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z*#\[-])|\n+|\s(?=#{1,6} )|\s[-*]\s(?=\*\*|[A-Z])")


@dataclass(frozen=True)
class Document:
    """A card's text, its parts apart."""

    text: str
    prose: str
    tables: tuple[Table, ...]
    settings: tuple[tuple[str, str], ...]
    front: Mapping[str, Any]

    def sentence(self, start: int) -> str:
        """The sentence of the prose around a place: for quoting, and for the words that give a number its meaning. What has no end in
        sight is cut."""
        starts, ends = self._cuts
        place = bisect_right(starts, start) - 1
        begin, end = max(starts[place], start - _IN_SIGHT), min(ends[place], start + _IN_SIGHT)
        return re.sub(r"\s+", " ", self.prose[begin:end]).strip()

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """What the first headings and the front matter call the model."""
        found = re.findall(r"(?:^|\s)#\s+([^\n#]{1,80})", self.text)[:3]
        return (*found, *(str(self.front[key]) for key in ("name", "model_name") if key in self.front))

    @cached_property
    def _cuts(self) -> tuple[list[int], list[int]]:
        cuts = [(found.start(), found.end()) for found in _SENTENCE.finditer(self.prose)]
        return [0, *(end for _, end in cuts)], [*(start for start, _ in cuts), len(self.prose)]


def read_document(path: Path) -> Document:
    """Read a card in Markdown, plain text or HTML. Raises Refusal where it is no text, empty, a folder or far too long."""
    try:
        if path.stat().st_size > LARGEST:
            raise Refusal(f"{path}: is longer than {LARGEST // 1000} kB, which no card is; {_CURE}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise Refusal(f"{path}: cannot be read ({error.strerror}); {_CURE}") from None
    except UnicodeDecodeError:
        raise Refusal(f"{path}: is not UTF-8 text; {_CURE}") from None
    if "\0" in text:
        raise Refusal(f"{path}: is binary, not text; {_CURE}")
    if not text.strip():
        raise Refusal(f"{path}: is empty; {_CURE}")
    return parse_document(text)


def parse_document(text: str) -> Document:
    """The parts of a card's text."""
    front, body = _front(_normal(text))
    whole = body
    body = _UNSEEN.sub(" ", body)
    settings: list[tuple[str, str]] = []
    if not _PAGE.search(body):
        body = _FENCE.sub(lambda found: _fenced(found, settings), body)
    body, tables = split_html_tables(body)
    if _PAGE.search(body):
        body = re.sub(r"\s+", " ", body)
    body = _HEADING.sub(lambda found: f"\n\n{'#' * int(found.group(1))} ", body)
    body = unescape(_TAG.sub("", _BLOCK.sub("\n", body))).replace("\u00a0", " ")
    prose, piped = split_tables(body)
    settings += _settings(prose)
    return Document(whole, _flowing(prose), (*tables, *piped), tuple(settings), front)


def _normal(text: str) -> str:
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2082", "2").replace("\u00a0", " ").replace("\u202f", " ")
    text = text.replace("\u2011", "-").replace("\u2212", "-")
    text = re.sub(r"CO(?:[$~_{]{1,3}2[$~}]{1,3}|<sub>2</sub>)", "CO2", text)
    return _POWER.sub(r"\1e\2", text)


def _front(text: str) -> tuple[Mapping[str, Any], str]:
    """Front matter and the text after it."""
    found = _FRONT.match(text)
    if found:
        return front_matter(found.group(1)), text[found.end() :]
    found = _FLAT_FRONT.match(text)
    if found:
        return flattened_front(found.group(1)), text[found.end() :]
    return {}, text


def _fenced(found: re.Match[str], settings: list[tuple[str, str]]) -> str:
    language, code = found.groups()
    if language.lower() not in _CODE:
        settings += _settings(code)
    return " "


def _settings(text: str) -> list[tuple[str, str]]:
    """Lines and list items of the form "key: value"."""
    pieces = re.split(r"\n| [-*] (?=[*_`A-Za-z])", text)
    found = [_SETTING.match(piece[:400]) for piece in pieces]
    return [(match.group(1), match.group(2).strip(" *`\"")) for match in found if match]


def _flowing(prose: str) -> str:
    """Prose with its soft line breaks, footnote marks, link targets and emphasis taken out, small numbers in digits."""
    prose = re.sub(r"\[\^\w+\]", "", prose)
    prose = re.sub(r"[ \t]{2,}", " ", prose)
    prose = re.sub(r"(?<=[^\n])\n(?=[^\s\-*+#>|])(?!\d+\.)", " ", prose)
    prose = re.sub(r"\]\([^)\s]{0,500}\)", "]", prose)
    prose = re.sub(r"https?://\S+", " ", prose)
    prose = re.sub(r"\n{3,}", "\n\n", re.sub(r"[*`]{2,3}", "", prose))
    return spelled(prose)

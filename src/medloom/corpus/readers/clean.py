"""Cleaning that never changes what a text says: characters, white space and bullets; no word, bracket or comparison is touched.

What is boilerplate is each format's own affair and lives in its reader.
"""

from __future__ import annotations

import re
import unicodedata

# One table: space of any width becomes a space, breaks become line ends, controls and marks that no script needs go.
_TABLE: dict[int, str | None] = {
    **dict.fromkeys([*range(0x00, 0x09), *range(0x0E, 0x20), *range(0x7F, 0xA0)]),
    **dict.fromkeys([0x00AD, 0x200B, 0x2060, 0xFEFF]),
    **dict.fromkeys([0x00A0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " "),
    **dict.fromkeys([0x0B, 0x0C, 0x85, 0x2028], "\n"),
    0x2029: "\n\n",
}
_ASCII_GONE = bytes(character for character, becomes in _TABLE.items() if character < 128 and becomes is None)
_ASCII = bytes(ord(_TABLE.get(character) or chr(character)) for character in range(128)) + bytes(range(128, 256))
_MENDED = re.compile("[" + "".join(map(re.escape, map(chr, _TABLE))) + "]")
# A bullet is a mark that is no letter: "o" opens words (obesity, or, on) and stays. A dot in mid-line height before a digit is a decimal.
_BULLETS = "•●▪■◦‣∙·\uf0b7\uf0a7"
# Patterns begin with a plain character, which makes them quick, and start at one place of a run alone, which keeps them so on any run.
_BULLET = re.compile(rf"\n([ \t]*+)(?![∙·]\d)[{_BULLETS}]++[ \t]*+")
_SPACES = re.compile(r"  +")
_INNER = {mark: re.compile(rf"{mark}(?<=\S{mark})[ \t]*+(?=\S)") for mark in ("  ", " \t", "\t")}
_BLANK_LINES = re.compile(r"\n\n\n+")


def clean(text: str) -> str:
    """The text in NFC, with plain spaces, "\\n" line ends, "- " for bullets, and at most one blank line in a row.

    Leading space of a line stays (nested lists, code). Each rule is tried only where its mark occurs: most text has none.
    """
    text = _characters(text)
    if any(bullet in text for bullet in _BULLETS):
        text = _BULLET.sub(r"\n\1- ", "\n" + text)
    tabs = "\t" in text
    if tabs or "  " in text:
        if tabs or "\n " in text:  # some lines are indented, which stays
            for mark, pattern in _INNER.items():
                text = pattern.sub(" ", text) if mark in text else text
        else:
            text = _SPACES.sub(" ", text)
    if " \n" in text or (tabs and "\t\n" in text):
        text = "\n".join([line.rstrip() for line in text.split("\n")])
    if "\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    return text.strip()


def one_line(text: str | None) -> str | None:
    """A title or label: cleaned, on one line; None where nothing is left."""
    return " ".join(_characters(text).split()) or None if text else None


def _characters(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text.encode().translate(_ASCII, _ASCII_GONE).decode()
    if text.replace("\n", "").isprintable():  # most is, and this is found sooner than that none of many characters occurs
        return text
    return _MENDED.sub(_mend, text)


def _mend(found: re.Match[str]) -> str:
    return _TABLE[ord(found[0])] or ""


def decode(data: bytes) -> str:
    """Bytes as text: UTF-8, UTF-16 where a byte order mark says so, else Windows-1252, in which every byte means something."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")

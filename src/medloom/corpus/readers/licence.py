"""Licences by one name each: what a paper says in an address or in words, as an SPDX identifier where it is a known one."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)(?:/(\d\.\d)(/igo)?)?", re.IGNORECASE)
_WORDS = re.compile(r"creative commons|\bcc[ -]by\b", re.IGNORECASE)


def name_licence(url: str | None, words: str) -> str | None:
    """A licence as "CC-BY-4.0", "CC0-1.0" and so on, without a version where none is given; the words themselves, cut short, where
    they name none; None where there are none."""
    found = _ADDRESS.search(url or "") or _ADDRESS.search(words)
    if found:
        kind, version = found[2].upper(), found[3]
        if found[1].lower() == "publicdomain":
            return "CC0-1.0" if kind == "ZERO" else "public-domain"
        return f"CC-{kind}" + (f"-{version}" if version else "") + ("-IGO" if found[4] else "")
    lower = words.lower()
    if "public domain" in lower or "cc0" in lower:
        return "CC0-1.0" if "cc0" in lower else "public-domain"
    if _WORDS.search(words):
        parts = ["CC-BY"]
        if "noncommercial" in lower or "non-commercial" in lower:
            parts.append("NC")
        if "noderiv" in lower or "no deriv" in lower:
            parts.append("ND")
        if "sharealike" in lower or "share alike" in lower or "share-alike" in lower:
            parts.append("SA")
        version = re.search(r"\b([1-4]\.0)\b", words)
        return "-".join(parts) + (f"-{version[1]}" if version else "")
    return words[:200] or None


def find_licence(text: str) -> tuple[str | None, str | None]:
    """(name, address) of the first Creative Commons licence whose address stands in a text; (None, None) where none does."""
    found = _ADDRESS.search(text)
    return (name_licence(found[0], ""), f"https://{found[0]}") if found else (None, None)

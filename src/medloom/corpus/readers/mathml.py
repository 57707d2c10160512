"""MathML on one line, with what its layout says put into signs: fractions, powers, indices and roots keep their meaning."""

from __future__ import annotations

import re
from functools import lru_cache

from .xml import Element, bare

_LEAVES = frozenset(("mi", "mn", "mtext", "ms", "mo"))
_UNREAD = frozenset(("", "annotation", "annotation-xml"))
_SPACED = frozenset("=<>~+-|·→±≤≥≠≈≡∈⊂∝\u223c\u00d7\u2212")
_COMPOUND = re.compile(r"[ +\-/\u2212]")
_SIGNS = frozenset("-+\u2212")  # of one operand where nothing stands before them
_INVISIBLE = "\u2061\u2062\u2063\u2064"  # function application, times, comma, plus: for machines


def linear(element: Element) -> str:
    """A formula as text: (a + b)/c, x^2, x_i, sqrt(x). Raises nothing; what it does not know it reads from left to right."""
    text = " ".join(_linear(element, "math").split())
    for mark in ".,;)":
        text = text.replace(f" {mark}", mark)
    return text.replace("( ", "(")


def _linear(element: Element, kind: str) -> str:
    parts = []
    for inner in element:
        name = bare(inner.tag)  # type: ignore[arg-type]  # as in `local`
        if name in _LEAVES:
            parts.append(_leaf("".join(inner.itertext()) if len(inner) else inner.text or "", name))
        elif name not in _UNREAD:
            parts.append(_linear(inner, name))
    if kind == "mrow":
        if parts and (sign := parts[0].strip()) in _SIGNS:
            parts[0] = sign
        return "".join(parts)
    if len(parts) == 2:
        first, second = parts
        if kind == "mfrac":
            return f"{_one(first)}/{_one(second)}"
        if kind == "msup":
            return f"{_one(first)}^{_one(second)}"
        if kind in ("msub", "munder"):
            return f"{_one(first)}_{_one(second)}"
        if kind == "mroot":
            return f"root({first.strip()}, {second.strip()})"
    if kind in ("msubsup", "munderover") and len(parts) == 3:
        return f"{_one(parts[0])}_{_one(parts[1])}^{_one(parts[2])}"
    if kind == "msqrt":
        return f"sqrt({''.join(parts).strip()})"
    if kind == "mfenced":
        comma = element.get("separators", ",").strip()[:1]
        return f"{element.get('open', '(')}{(f'{comma} ' if comma else '').join(parts).strip()}{element.get('close', ')')}"
    if kind in ("mtr", "mtable"):
        return ("; " if kind == "mtable" else " ").join(part for part in parts if part.strip())
    return " " if kind == "mspace" else "".join(parts)


@lru_cache(4096)  # letters, digits and signs are few
def _leaf(words: str, kind: str) -> str:
    if words.isalnum():
        return words
    words = " ".join(words.split())
    return f" {words} " if kind == "mo" and words in _SPACED else words.strip(_INVISIBLE)


def _one(part: str) -> str:
    """An operand, in brackets where it is more than one thing and has none."""
    part = part.strip()
    if not _COMPOUND.search(part, 1):
        return part
    depth, ends = 0, 0
    for sign in part:
        depth += (sign == "(") - (sign == ")")
        ends += depth == 0
    return part if ends == 1 and part[0] == "(" else f"({part})"

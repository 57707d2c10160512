"""MathML on one line, with what its layout says put into signs: fractions, powers, indices and roots keep their meaning."""

from __future__ import annotations

from .xml import Element, local


def linear(element: Element) -> str:
    """A formula as text: (a + b)/c, x^2, x_i, sqrt(x). Raises nothing; what it does not know it reads from left to right."""
    kind = local(element)
    parts = [linear(inner) for inner in element if local(inner) not in ("annotation", "annotation-xml", "")]
    if kind in ("mi", "mn", "mtext", "ms", "mo"):
        words = " ".join("".join(element.itertext()).split())
        return f" {words} " if kind == "mo" and words in _SPACED else words
    if kind == "mfrac" and len(parts) == 2:
        return f"{_one(parts[0])}/{_one(parts[1])}"
    if kind in ("msup", "mover") and len(parts) == 2:
        return f"{_one(parts[0])}^{_one(parts[1])}" if kind == "msup" else "".join(parts)
    if kind in ("msub", "munder") and len(parts) == 2:
        return f"{_one(parts[0])}_{_one(parts[1])}"
    if kind in ("msubsup", "munderover") and len(parts) == 3:
        return f"{_one(parts[0])}_{_one(parts[1])}^{_one(parts[2])}"
    if kind == "msqrt":
        return f"sqrt({''.join(parts).strip()})"
    if kind == "mroot" and len(parts) == 2:
        return f"root({parts[0].strip()}, {parts[1].strip()})"
    if kind == "mfenced":
        return f"{element.get('open', '(')}{', '.join(parts)}{element.get('close', ')')}"
    if kind == "mtr":
        return "; ".join(part for part in parts if part.strip())
    if kind == "mspace":
        return " "
    text = "".join(parts)
    return " ".join(text.split()) if kind == "math" else text


_SPACED = frozenset("=<>~+-|·→±≤≥≠≈≡∈⊂∝\u223c\u00d7\u2212")


def _one(part: str) -> str:
    """An operand, in brackets where it is more than one thing."""
    part = part.strip()
    return f"({part})" if any(sign in part for sign in " +-/\u2212") else part

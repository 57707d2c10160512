"""Only a template's own text may give control tokens: what somebody writes in a message is text, whatever characters it has.

llama.cpp reads control tokens out of any prompt. So those that a message spells are parted by a character that Unicode keeps out of text,
and a prompt which has that character is cut at the control tokens that remain, the template's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

GUARD = "\ufdd0"


def guarded(text: str, control: Sequence[str]) -> str:
    """The text with every control token that it spells parted."""
    text = text.replace(GUARD, "")
    spelt = [token for token in control if token in text]
    return _any(spelt).sub(lambda found: found[0][0] + GUARD + found[0][1:], text) if spelt else text


def stretches(text: str, control: Sequence[str]) -> list[tuple[str, bool]]:
    """A guarded text, cut: each stretch, freed of its guards, and whether it is a control token."""
    parts = _any(control).split(text) if control else [text]
    return [(part.replace(GUARD, ""), number % 2 == 1) for number, part in enumerate(parts) if part]


def _any(control: Sequence[str]) -> re.Pattern[str]:
    return re.compile("(" + "|".join(map(re.escape, sorted(control, key=len, reverse=True))) + ")")

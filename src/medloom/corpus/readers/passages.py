"""A paper as headings and passages whose text holds pointers, and how that is written out: references resolved, what could not be left
without a trace, each figure and table after the passage that first mentions it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..markup import Markup, Reference

LONG = 100  # characters of a paragraph that cannot stand in a paper twice by chance
LONGEST = 300  # characters that a pointer can span
_MARK = "\0"  # where a pointer stood that leads nowhere, until the passage is whole
_LEFT_OUT = re.compile(r"acknowledge?ments?\b|references$|bibliography$|literature cited$", re.IGNORECASE)
_LABEL = re.compile(r"(?:supplement\w*\s+|extended data\s+)?(fig(?:ure|s?\.|\b)|tab(?:le|\.)|scheme|chart|plate|box)s?\s*"
                    r"(S?\d+|[IVX]+\b|[A-Z]?\d+(?:\.\d+)?)", re.IGNORECASE)
_NAMES = {"f": "Figure", "t": "Table", "s": "Scheme", "c": "Chart", "p": "Plate", "b": "Box"}
_AFTER_LABEL = re.compile(r"[\s.,:;|)\u2010-\u2015\u2212]+")
_BETWEEN = re.compile(r"[\s,;&\u2010-\u2015-]*(?:and\b[\s,;]*)?")  # what stands between two references of one group
_NAMED = re.compile(r"[^\W\d_]{2,}")
_NARRATIVE = re.compile(r"(\D*[^\W\d_])\s*[(\[](?:1[89]|20)\d\d[a-z]?[)\]]?")  # Smith et al. (2001)
_STOP_BEFORE = re.compile(r"(?<=[\w)%])([.,;:])\s*$")
_NEXT_SENTENCE = re.compile(r"\s*(?:$|[^\W\d_](?<![a-z]))")
_SPACE_BEFORE_STOP = re.compile(r"\s+(?=[.,;:)\]](?!\d))")
_NAME_BEFORE = re.compile(r"(?:supplement\w*\s+|extended data\s+)?(?:fig(?:ure|\.)?|tab(?:le|\.)?)s?\.?\s*$", re.IGNORECASE)
_OPENED, _CLOSED = re.compile(r"[(\[]\s{0,2}$"), re.compile(r"[\s,;]{0,2}[)\]]")
_BRACKET = re.compile(r"[()\[\]]")
_OPENS = re.compile(r"^[(\[\"'\u201c]?[^\W\d_](?<![a-z])|(?<=[.?!] )[A-Z]")
# Each begins with a plain character, which is what makes them quick. Two paragraphs run together: "the dose.It was".
_JOINED = re.compile(r"\.(?=[A-Z][a-z]*[ ,])(?:(?<=[a-z]{3}\.)|(?<=[)\]]\.))")
_BEFORE_STOP = re.compile(r" (?=[.,;:)\]])(?:(?<=[)\]] )(?=[)\]]|[.,;:](?:[ A-Z]|$))|(?<=[\w%] )(?=[,;:](?: |$)|\.(?: ?[A-Z(\[]|$)|[)\]]))")
_PARENTHESIS = re.compile(r"\s?[(\[]([^()\[\]]{0,120})[)\]]")
_CONNECTING = re.compile(r"(?:\W|e\.g|i\.e|cf|see|also|and|in|by|for|from|reviewed|(?:a|recent)?\s*reviews?|refs?|references?|\d+)*+",
                         re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pointer:
    """A place in a passage, [start, end) in characters, that points: at a work (`kind` "cite"), at a figure or table ("float"), or that
    stands for a formula ("formula"). `target` is the key of the work or float, or the formula's words; None where it is not known."""

    start: int
    end: int
    kind: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A paragraph, or a formula on its own line."""

    text: str
    pointers: Sequence[Pointer] = ()
    formula: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's heading; 1 is the highest depth."""

    words: str
    depth: int


@dataclass(slots=True)
class Float:
    """A figure or table; `label` is empty where nothing says it."""

    label: str
    caption: Passage
    table: bool = False
    rows: Sequence[str] = ()


@dataclass(slots=True)
class Paper:
    """What a paper says, in its order; works and floats by the keys that pointers name."""

    blocks: list[Heading | Passage] = field(default_factory=list)
    works: dict[str, Reference] = field(default_factory=dict)
    floats: dict[str, Float] = field(default_factory=dict)


def split_label(caption: str) -> tuple[str, str]:
    """(label, rest) of a caption: ("Figure 2", "A curve.") for "Fig. 2 | A curve."; the label is empty where it opens with none."""
    found = _LABEL.match(caption)
    if not found or found[1][0] not in "FTSCPB":
        return "", caption
    separator = _AFTER_LABEL.match(caption, found.end())
    rest = caption[separator.end() if separator else found.end():]
    if rest and not (separator and separator[0].strip()) and (rest[0].islower() or caption[found.end()].isalpha()):
        return "", caption  # "Figure 2 shows", "Figure 2A and B": a sentence of its own
    return _label(found), rest


def write(paper: Paper, markup: Markup) -> Iterator[str]:
    """The paper's blocks of text. Headings with nothing under them are left out, and so are acknowledgements and lists of references."""
    by_label = _name_floats(paper)
    waiting, above, without, written = dict(paper.floats), list[Heading](), False, set[str]()
    for block in paper.blocks:
        if isinstance(block, Heading):
            without = bool(_LEFT_OUT.match(block.words))
            above = [heading for heading in above if heading.depth < block.depth] + ([] if without else [block])
            continue
        text = "" if without else _passage(block, paper, by_label, markup)
        if not text or (len(text) > LONG and text in written):  # parsers take the beginning of a paper for its abstract as well
            continue
        written.add(text)
        yield from (f"{'#' * min(heading.depth, 6)} {heading.words}" for heading in above)
        above = []
        yield text
        for pointer in block.pointers:
            key = _float_at(block, pointer, paper, by_label)
            if key in waiting:
                yield _float(waiting.pop(key), paper, by_label, markup)
    for one in waiting.values():
        text = _passage(one.caption, paper, by_label, markup)
        opening = _OPENS.search(text)
        if one.label or one.rows or (one.table and opening and opening.start() == 0):
            yield _float(one, paper, by_label, markup)
        elif opening:  # running text that the parser took for a figure, less the sentence that it opens amid
            yield text[opening.start():]


def _name_floats(paper: Paper) -> dict[str, str]:
    """Keys of floats by their labels; one that its caption does not name has the name that the text first points at it by."""
    by_label = {one.label: key for key, one in reversed(paper.floats.items()) if one.label}
    pointers = [(one, pointer) for one in paper.blocks if isinstance(one, Passage) for pointer in one.pointers if pointer.kind == "float"]
    for block, pointer in pointers:
        found, one = _LABEL.search(block.text, *_around(block.text, pointer)), paper.floats.get(pointer.target or "")
        label = _label(found) if found else ""
        if one and label and not one.label and label not in by_label and one.table == label.startswith("Table ") \
                and not re.search(r" S\d|Supp", label):  # a supplement's figures are not in the paper
            one.label = label
            by_label[label] = pointer.target or ""
    return by_label


def _label(found: re.Match[str]) -> str:
    prefix = "Supplementary " if found[0][:4].lower() == "supp" else "Extended Data " if found[0][:3].lower() == "ext" else ""
    return f"{prefix}{_NAMES[found[1][0].lower()]} {found[2].upper()}"


def _around(text: str, pointer: Pointer) -> tuple[int, int]:
    """Where a pointer's words are, with the "Fig." before it where it spans the number alone, and without brackets."""
    start, end = pointer.start, pointer.end
    while start < end and text[start] in "([ ":
        start += 1
    while end > start and (text[end - 1] in " ,;" or (text[end - 1] in ")]" and text.count("(", start, end) < text.count(")", start, end))):
        end -= 1
    before = _NAME_BEFORE.search(text, max(0, start - 30), start)
    return (before.start() if before else start), end


def _float_at(block: Passage, pointer: Pointer, paper: Paper, by_label: dict[str, str]) -> str:
    """The key of the figure or table that a pointer means, by its words before its target: a number says more than a parser's guess."""
    if pointer.kind != "float":
        return ""
    found = _LABEL.search(block.text, *_around(block.text, pointer))
    if found is None:
        return pointer.target or ""
    return by_label.get(_label(found), "")


def _passage(block: Passage, paper: Paper, by_label: dict[str, str], markup: Markup) -> str:
    """A passage on one line, pointers resolved."""
    if block.formula:
        return markup.formula(" ".join(block.text.split()))
    text, out, at = block.text, "", 0
    for group in _groups(block):
        first = group[0]
        start, end, words = first.start, group[-1].end, ""
        if first.kind == "cite":
            works = [paper.works[p.target] for p in group if p.target in paper.works]
            start, end, words = _cite(text, start, end, markup.cite(list(dict.fromkeys(works))))
        elif first.kind == "formula":
            words = first.target or ""
        else:
            start, end = _around(text, first)
            words = text[start:end]
            one = paper.floats.get(_float_at(block, first, paper, by_label))
            if one and markup.marked:
                found = _LABEL.search(words)
                label = f"{_label(found)}{words[found.end():]}" if found else one.label or words
                words = markup.point(label, " ".join(one.caption.text.split()))
        if start < at:
            continue
        out += text[at:start]
        moved = None
        if first.kind == "cite" and words and _behind_a_stop(text, start, end):  # "is rare. 3 It": it belongs before the stop
            moved = _STOP_BEFORE.search(out, max(0, len(out) - 9))
        if moved:
            out, words = out[:moved.start()], f"{words}{moved[1]} "
        if words and words[0] in "([" and out[-1:] not in ("", " ", "(", "["):
            out += " "
        out += words
        at = end
        if space := _SPACE_BEFORE_STOP.match(text, at):
            at = space.end()
        elif words[-1:] in (")", "]") and text[at:at + 1].isalnum():
            out += " "
    return _tidy(out + text[at:])


def _groups(block: Passage) -> Iterator[list[Pointer]]:
    """Pointers in their order, neighbouring references together; those outside the text, over another or too long left out."""
    group: list[Pointer] = []
    for pointer in sorted(block.pointers, key=lambda p: (p.start, -p.end)):
        usable = 0 <= pointer.start < pointer.end <= min(len(block.text), pointer.start + LONGEST)
        if not usable or (group and pointer.start < group[-1].end):
            continue
        together = group and group[-1].kind == pointer.kind == "cite" and not _narrative(block.text, group[-1])
        if together and _BETWEEN.fullmatch(block.text, group[-1].end, pointer.start) and not _narrative(block.text, pointer):
            group.append(pointer)
            continue
        if group:
            yield group
        group = [pointer]
    if group:
        yield group


def _narrative(text: str, pointer: Pointer) -> re.Match[str] | None:
    return _NARRATIVE.fullmatch(text, pointer.start, pointer.end)


def _cite(text: str, start: int, end: int, cited: str) -> tuple[int, int, str]:
    """What stands for text[start:end], a group of references, and how far it reaches: brackets that open or close it alone go with it."""
    marker = text[start:end]
    narrative = _NARRATIVE.fullmatch(marker)
    if narrative:
        if not cited:
            return start, end, marker
        return start, end + (marker[-1] not in ")]" and text[end:end + 1] in (")", "]")), f"{narrative[1]} {cited}"
    if not cited and _NAMED.search(marker):
        return start, end, marker  # unresolved, but it says who and when
    opened = sum(marker.count(bracket) for bracket in "([") - sum(marker.count(bracket) for bracket in ")]")
    before = _OPENED.search(text, max(0, start - 3), start) if opened <= 0 else None
    after = _CLOSED.match(text, end) if opened >= 0 else None
    if opened == 0 and before and after:
        start, end, whole = before.start(), after.end(), True
    elif opened > 0 and after:
        end, whole = after.end(), True
    elif opened < 0 and before:
        start, whole = before.start(), True
    else:  # within a longer parenthesis, whose brackets stay, unless the text itself lost one
        last, following = max(text.rfind(bracket, 0, start) for bracket in "()[]"), _BRACKET.search(text, end)
        within = (opened > 0 or (last >= 0 and text[last] in "([")) and (opened < 0 or (following is not None and following[0] in ")]"))
        whole = not within
        if whole:  # a bracket beside it has lost its fellow, and goes with it
            start, end = before.start() if before else start, after.end() if after else end
    words = cited or _MARK
    if not whole:
        words = words[1:-1] if words.startswith("(") else words
        words = f"{marker[0] if opened > 0 else ''}{words}{marker[-1] if opened < 0 else ''}"
    return start, end, words


def _behind_a_stop(text: str, start: int, end: int) -> bool:
    """Whether a reference is a bare number behind the stop of the sentence that it belongs to."""
    return text[start] not in "([" and not _NAMED.search(text, start, end) and bool(_NEXT_SENTENCE.match(text, end))


def _tidy(text: str) -> str:
    """One line, without what is left around pointers that lead nowhere: "(see )", ", ,", "more ."."""
    if _MARK in text:
        text = _PARENTHESIS.sub(_emptied, text)
        text = re.sub(r"[;,]\s*\0(?=\s*[)\],;])|(?<=[(\[])\0\s*[;,]\s*", "", text)
        text = re.sub(r"\s*\0(?=\s*(?:[.,;:)\]]|$))\s*", "", text).replace(_MARK, "")
    text = _BEFORE_STOP.sub("", " ".join(text.split()).replace("( ", "(").replace("[ ", "["))
    return _JOINED.sub(". ", text)


def _emptied(found: re.Match[str]) -> str:
    return _MARK if _MARK in found[1] and _CONNECTING.fullmatch(found[1]) else found[0]


def _float(one: Float, paper: Paper, by_label: dict[str, str], markup: Markup) -> str:
    caption = _passage(one.caption, paper, by_label, markup)
    return markup.table(one.label, caption, one.rows) if one.table else markup.figure(one.label, caption)

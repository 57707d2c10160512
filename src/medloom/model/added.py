"""Tokens that were added to a vocabulary after it was learned: where folders keep them, and how text is cut around them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ledger import Refusal
from ..ledger.files import read_json
from .encoders import Encoder, Ids

_LIST = re.compile(r'"added_tokens"\s*:\s*(?=\[)')  # a token of this text is no list, and a quote within a string is escaped
_FLAGS = ("normalized", "lstrip", "rstrip", "single_word")


@dataclass(frozen=True)
class Added:
    """An added token. `mark`: text can write it; else it is control. `loose`: only the tokenizers library knows where in a text it is."""

    text: str
    id: int
    mark: bool
    loose: bool = False


def is_control(token: str) -> bool:
    """Whether an added token is control by its form, `<EOD>`: such a token is never read out of text."""
    return re.fullmatch(r"<[^<>\s]+>", token) is not None


def read_added(path: Path, settings: dict[str, Any], size: int) -> tuple[Added, ...]:
    """The tokens from `size` on that stand beside the tokenizer file `path`, by id.

    From tokenizer_config.json (`added_tokens_decoder`), else tokenizer.json, where transformers 5 keeps them, else added_tokens.json,
    which does not tell control tokens from marks (`is_control` does). Of a tokenizer.json itself they are its own. Raises Refusal
    where their form is unknown.
    """
    itself = path.suffix == ".json"
    found: tuple[Added, ...] = ()
    for source in (path,) if itself else (path.with_name(f"{name}.json") for name in ("tokenizer_config", "tokenizer", "added_tokens")):
        try:
            if source.name == "tokenizer_config.json":
                entries = [entry | {"id": int(number)} for number, entry in settings.get("added_tokens_decoder", {}).items()]
            elif source.name == "added_tokens.json":
                entries = [{"id": number, "content": text, "special": is_control(text)} for text, number in read_json(source).items()]
            else:
                entries = _listed(source)
            found = tuple(sorted((_token(entry, itself) for entry in entries if entry["id"] >= size), key=lambda token: token.id))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise Refusal(f"{source}: added tokens in a form that is not known ({error!r}); write them as transformers does") from None
        if found:
            break
    if len({token.text for token in found}) < len(found) or len({token.id for token in found}) < len(found):
        raise Refusal(f"{path.parent}: two added tokens with the same text or id; write them again")
    return found


def _listed(path: Path) -> list[dict[str, Any]]:
    """The added tokens of a tokenizer.json. They stand before its vocabulary and merges, megabytes of it, which are not taken apart."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    found = _LIST.search(text)
    entries: list[dict[str, Any]] = json.JSONDecoder().raw_decode(text, found.end())[0] if found else []
    return entries


def _token(entry: dict[str, Any], library: bool) -> Added:
    text, mark = entry["content"], not entry.get("special", False)
    if not isinstance(text, str) or not text or not isinstance(entry["id"], int):
        raise ValueError(entry)
    return Added(text, entry["id"], mark, loose=library and mark and any(entry.get(flag, False) for flag in _FLAGS))


class Marked:
    """An encoder that finds marks in a text. What stands between two of them is encoded, and decoded, as a text of its own."""

    def __init__(self, encoder: Encoder, added: Sequence[Added]) -> None:
        self._encoder = encoder
        self.size, self.bos, self.eos, self.adds_bos = encoder.size, encoder.bos, encoder.eos, encoder.adds_bos
        self._marks = {token.text: np.asarray([token.id], np.int32) for token in added if token.mark and not token.loose}
        self._shown = {token.id: token.text if token.mark else "" for token in added if not token.loose}
        longest_first = sorted(self._marks, key=len, reverse=True)
        self._cut = re.compile("(" + ("|".join(map(re.escape, longest_first)) or "(?!)") + ")")

    def encode(self, text: str) -> Ids:
        parts = self._cut.split(text)
        if len(parts) == 1:
            return self._encoder.encode(text)
        pieces: list[Ids] = [self._marks[part] if place % 2 else self._encoder.encode(part) for place, part in enumerate(parts) if part]
        return np.concatenate(pieces)

    def decode(self, ids: Sequence[int]) -> str:
        text: list[str] = []
        begin = 0
        for place, token in enumerate(ids):
            if token in self._shown:
                text += [self._encoder.decode(ids[begin:place]), self._shown[token]]
                begin = place + 1
        return "".join([*text, self._encoder.decode(ids[begin:])])

"""Text to ids by the three libraries that know the Llama family's tokenizer files. Control tokens are never read out of text."""

from __future__ import annotations

import base64
import re
from array import array
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .sentencepiece_file import cut_at_spaces, read_pieces

Ids = NDArray[np.int32]

# Llama 3's way to cut text before byte pairs are merged, from its model card's reference tokenizer.
LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
# Llama 3's control tokens, in order after the byte pairs; the rest of the 256 are <|reserved_special_token_N|>.
LLAMA3_CONTROL = ("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{n}|>" for n in range(4)), "<|start_header_id|>",
                  "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>",
                  *(f"<|reserved_special_token_{n}|>" for n in range(5, 251)))

WORDS_KEPT = 1 << 18  # words whose ids are remembered: some 50 MB
WORD_LENGTH = 32  # characters; longer ones hardly come again
LONG = 1 << 18  # white space of this length is cut off before tiktoken, which gives up at a million
_BLANK = r"[^\S\r\n\x1c-\x1f]"  # white space as Rust knows it, without line ends
RUN = re.compile(rf"(?<!{_BLANK}){_BLANK}{{{LONG},}}+(?![\r\n])")
SPACE = "\u2581"  # how SentencePiece writes a space


class Encoder(Protocol):
    """Cuts texts into ids below `size`. `adds_bos`: whether its file says that documents are opened by `bos`."""

    size: int
    bos: int | None
    eos: int | None
    adds_bos: bool

    def encode(self, text: str) -> Ids: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class SentencePiece:
    """tokenizer.model of Llama 1 and 2 and Mistral, by the sentencepiece library."""

    adds_bos = True
    bos: int | None
    eos: int | None

    def __init__(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        self._path = path
        self._processor = SentencePieceProcessor(model_file=str(path))
        self.size = self._processor.vocab_size()
        self.bos, self.eos = (i if i >= 0 else None for i in (self._processor.bos_id(), self._processor.eos_id()))

    @cached_property
    def _words(self) -> _Words | None:
        return _Words(self._processor) if cut_at_spaces(read_pieces(self._path)) else None

    def encode(self, text: str) -> Ids:
        if self._words is None:
            return np.asarray(self._processor.encode(text, return_type="numpy"), np.int32)
        return np.frombuffer(b"".join(map(self._words.__getitem__, _words(text))), np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._processor.decode(list(ids)))


class _Words(dict[str, bytes]):
    """The ids of words, int32 as bytes, each cut once and remembered."""

    def __init__(self, processor: Any) -> None:
        self._encode = processor.encode
        # A text gets a space put before it. That is right for a word, whose own space was taken off, and too much for a line end.
        line = self._encode("\n")
        self._extra = 2 * len(line) - len(self._encode("\n\n"))
        self[""] = self._space = array("i", line[: self._extra]).tobytes()

    def __missing__(self, word: str) -> bytes:
        ids = self._encode(word)
        found = array("i", ids[self._extra:] if word[0] == "\n" else ids).tobytes()
        if len(word) <= WORD_LENGTH:
            if len(self) >= WORDS_KEPT:
                self.clear()
                self[""] = self._space
            self[word] = found
        return found


def _words(text: str) -> list[str]:
    """A text cut before each run of spaces, of which the first is taken off, and before each line end.

    A word may so begin with spaces (as U+2581, which SentencePiece reads alike) or a line end, or be empty: a space alone.
    """
    if not text:
        return []
    text = (" " + text).replace(SPACE, " ").replace("  ", " " + SPACE).replace(SPACE + " ", SPACE + SPACE)
    return text.replace("\n", " \n").split(" ")[1:]


class TikToken:
    """tokenizer.model of Llama 3, by the tiktoken library."""

    adds_bos = True
    bos: int | None
    eos: int | None

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        from tiktoken import Encoding

        ranks: dict[bytes, int] = {}
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                ranks[base64.b64decode(token)] = int(rank)
        self._first = len(ranks)
        self.size = self._first + len(LLAMA3_CONTROL)
        named = {entry.get("content"): int(number) for number, entry in settings.get("added_tokens_decoder", {}).items()}
        self.bos = named.get(token_name(settings, "bos_token"), self._first)
        self.eos = named.get(token_name(settings, "eos_token"), self._first + 1)
        # One control token must be told, or tiktoken looks for the empty one at every character.
        self._encoding = Encoding(name=path.name, pat_str=LLAMA3_PATTERN, mergeable_ranks=ranks,
                                  special_tokens={LLAMA3_CONTROL[0]: self._first})

    def encode(self, text: str) -> Ids:
        parts, begin = [], 0
        for run in RUN.finditer(text) if len(text) >= LONG else ():
            # Such a run, but its last space where a word follows, is one part in LLAMA3_PATTERN's cut, which gives up on its length.
            end = run.end() - (run.end() < len(text))
            alone = self._encoding._encode_single_piece(text[run.start() : end])
            parts += [self._encode(text[begin : run.start()]), np.asarray(alone, np.int32)]
            begin = end
        return np.concatenate([*parts, self._encode(text[begin:])]) if parts else self._encode(text[begin:])

    def _encode(self, text: str) -> Ids:
        return self._encoding.encode_to_numpy(text, disallowed_special=()).view(np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode([i for i in ids if i < self._first])


class Tokenizers:
    """tokenizer.json, by the tokenizers library."""

    def __init__(self, path: Path, settings: dict[str, Any], config: dict[str, Any]) -> None:
        from tokenizers import Tokenizer as Library

        self._library = Library.from_file(str(path))
        self._library.no_padding()
        self._library.no_truncation()
        self._library.encode_special_tokens = True  # the text `<s>` is text
        self.size = 1 + max(self._library.get_vocab(with_added_tokens=False).values(), default=-1)
        self.bos = self._special(settings, config, "bos")
        self.eos = self._special(settings, config, "eos")
        opening = self._library.encode("", add_special_tokens=True).ids
        self.adds_bos = bool(opening) and opening[0] == self.bos

    def _special(self, settings: dict[str, Any], config: dict[str, Any], which: str) -> int | None:
        name = token_name(settings, f"{which}_token")
        found = self._library.token_to_id(name) if name is not None else config.get(f"{which}_token_id")
        return found[0] if isinstance(found, list) else found

    def encode(self, text: str) -> Ids:
        # The batch call alone leaves out what only other users need: where each token lies in the text.
        return np.asarray(self._library.encode_batch_fast([text], add_special_tokens=False)[0].ids, np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._library.decode(list(ids), skip_special_tokens=True))


def token_name(settings: dict[str, Any], key: str) -> str | None:
    """A special token's text; tokenizer_config.json holds it as a string or as a table."""
    value = settings.get(key)
    return value.get("content") if isinstance(value, dict) else value

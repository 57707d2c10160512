"""SentencePiece's tokenizer.model as data: read and written without protobuf, and turned into a tokenizer.json.

The file is a protocol-buffer message `ModelProto` (sentencepiece_model.proto); only the few fields that a
byte-pair model of the Llama kind uses are read or written here. It does not encode text: the sentencepiece
library does.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6
BPE = 2
_SCORE = struct.Struct("<f")
_CROSSING = re.compile("[^\u2581 ][\u2581 ]|.\n|\n.", re.DOTALL)


class Piece(NamedTuple):
    """One token: its text with spaces as U+2581, its score (higher merges first) and its kind."""

    text: str
    score: float
    kind: int = NORMAL


@dataclass(frozen=True)
class Pieces:
    """A SentencePiece model's vocabulary and the switches that decide how text is cut."""

    pieces: tuple[Piece, ...]
    model_type: int = BPE
    byte_fallback: bool = True
    dummy_prefix: bool = True
    plain: bool = True  # no character map, no squeezing of spaces, and a space is U+2581 before its word


def read_pieces(path: Path) -> Pieces:
    """Read a tokenizer.model. Raises ValueError where the bytes are no SentencePiece model."""
    pieces: list[Piece] = []
    trainer: dict[int, Any] = {}
    normaliser: dict[int, Any] = {}
    try:
        blob, place = path.read_bytes(), 0
        # Nearly the whole file is short pieces, one behind the other.
        while blob[place : place + 1] == b"\n" and blob[place + 1] < 128 and place + 2 + blob[place + 1] <= len(blob):
            begin, place = place + 2, place + 2 + blob[place + 1]
            pieces.append(_piece(blob[begin:place]))
        for number, value in _fields(blob[place:]):
            if number == 1:
                pieces.append(_piece(value))
            elif number == 2:
                trainer = dict(_fields(value))
            elif number == 3:
                normaliser = dict(_fields(value))
    except (IndexError, KeyError, struct.error, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise ValueError(f"{path}: not a SentencePiece model ({error})") from None
    # Defaults as in sentencepiece_model.proto: unigram, no byte fallback, dummy prefix, spaces squeezed.
    return Pieces(tuple(pieces), trainer.get(3, 1), bool(trainer.get(35, 0)), bool(normaliser.get(3, 1)),
                  plain=not normaliser.get(2) and not normaliser.get(4, 1) and bool(normaliser.get(5, 1)) and not trainer.get(24, 0))


def _piece(entry: bytes) -> Piece:
    size = entry[1]
    kind = len(entry) - size - 7
    # A short text, its score, and its kind in two bytes unless it is normal: the form of nearly all, read without a look at each field.
    if size < 128 and kind in (0, 2) and (entry[0], entry[2 + size]) == (1 << 3 | 2, 2 << 3 | 5) and (not kind or entry[-2] == 3 << 3):
        return Piece(entry[2 : 2 + size].decode("utf-8"), _SCORE.unpack_from(entry, 3 + size)[0], entry[-1] if kind else NORMAL)
    fields = dict(_fields(entry))
    return Piece(fields[1].decode("utf-8"), fields.get(2, 0.0), fields.get(3, NORMAL))


def cut_at_spaces(model: Pieces) -> bool:
    """Whether a text may be cut before each run of spaces and before each line end, and its parts encoded apart, without another id.

    Byte pairs are merged where two neighbours make a piece; so where no piece has a space after another character, or a line end
    beside one, no merge crosses such a cut, and what is merged on one side does not touch the other.
    """
    return (model.model_type == BPE and model.plain and model.dummy_prefix and model.byte_fallback
            and not any(re.search(_CROSSING, piece.text) or (piece.kind == USER_DEFINED and re.search(r"[\s\u2581]", piece.text))
                        for piece in model.pieces if piece.kind not in (UNKNOWN, CONTROL, BYTE)))


def write_pieces(path: Path, model: Pieces) -> None:
    """Write a byte-pair tokenizer.model with unknown 0, beginning 1, end 2 and no padding."""
    blob = bytearray()
    for piece in model.pieces:
        entry = _bytes(1, piece.text.encode()) + _varint(2 << 3 | 5) + struct.pack("<f", piece.score)
        blob += _bytes(1, entry + (_integer(3, piece.kind) if piece.kind != NORMAL else b""))
    trainer = _integer(3, model.model_type) + _integer(4, len(model.pieces)) + _integer(35, int(model.byte_fallback))
    trainer += _integer(40, 0) + _integer(41, 1) + _integer(42, 2) + _integer(43, (1 << 64) - 1)
    for field, number, usual in ((45, 0, "<unk>"), (46, 1, "<s>"), (47, 2, "</s>")):
        if model.pieces[number].text != usual:
            trainer += _bytes(field, model.pieces[number].text.encode())
    blob += _bytes(2, trainer)
    blob += _bytes(3, _bytes(1, b"identity") + _integer(3, int(model.dummy_prefix)) + _integer(4, 0) + _integer(5, 1))
    path.write_bytes(bytes(blob))


def tokenizers_json(model: Pieces) -> str | None:
    """The same tokenizer for the tokenizers library, so that transformers loads it without protobuf; None where no equal form is known.

    The merges are every way to join two pieces into a third, best score first. Text between special tokens gets the
    leading space that SentencePiece gives to a text.
    """
    if model.model_type != BPE or not model.plain or any(piece.kind == USER_DEFINED for piece in model.pieces):
        return None
    vocabulary = {piece.text: number for number, piece in enumerate(model.pieces)}
    mergeable = {piece.text: piece.score for piece in model.pieces if piece.kind == NORMAL}
    merges = [(-score, vocabulary[text], text[:cut], text[cut:]) for text, score in mergeable.items()
              for cut in range(1, len(text)) if text[:cut] in mergeable and text[cut:] in mergeable]
    names = {number: piece.text for number, piece in enumerate(model.pieces) if piece.kind in (UNKNOWN, CONTROL)}
    space, replace = "\u2581", {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    begin = next((name for number, name in names.items() if number == 1), "<s>")
    prefix = [{"type": "Prepend", "prepend": space}] if model.dummy_prefix else []
    strip = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if model.dummy_prefix else []
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, "content": name, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for number, name in names.items()],
        "normalizer": {"type": "Sequence", "normalizers": [*prefix, replace]},
        "pre_tokenizer": None,
        "post_processor": opening_template(begin, vocabulary[begin]),
        "decoder": {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": space}, "content": " "},
                                                     {"type": "ByteFallback"}, {"type": "Fuse"}, *strip]},
        "model": {"type": "BPE", "dropout": None, "unk_token": names.get(0, "<unk>"), "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": model.byte_fallback, "ignore_merges": False,
                  "vocab": vocabulary, "merges": [[left, right] for _, _, left, right in sorted(merges)]},
    }, ensure_ascii=False, indent=1) + "\n"


def opening_template(begin: str | None, number: int) -> dict[str, Any]:
    """The part of a tokenizer.json that opens texts with the token `begin`, or with none."""
    head = [[] if begin is None else [{"SpecialToken": {"id": begin, "type_id": part}}] for part in (0, 1)]
    first, second = ([*head[part], {"Sequence": {"id": name, "type_id": part}}] for part, name in enumerate("AB"))
    return {"type": "TemplateProcessing", "single": first, "pair": [*first, *second],
            "special_tokens": {} if begin is None else {begin: {"id": begin, "ids": [number], "tokens": [begin]}}}


def _fields(blob: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protocol-buffer message: numbers as int, floats as float, messages and strings as bytes."""
    place = 0
    while place < len(blob):
        key, place = _read_varint(blob, place)
        if key & 7 == 0:
            value, place = _read_varint(blob, place)
            yield key >> 3, value
        elif key & 7 == 5:
            yield key >> 3, struct.unpack_from("<f", blob, place)[0]
            place += 4
        elif key & 7 == 1:
            yield key >> 3, struct.unpack_from("<d", blob, place)[0]
            place += 8
        elif key & 7 == 2:
            length, place = _read_varint(blob, place)
            if place + length > len(blob):
                raise IndexError("a field is cut off")
            yield key >> 3, blob[place : place + length]
            place += length
        else:
            raise IndexError(f"wire type {key & 7} at byte {place}")


def _read_varint(blob: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = blob[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value

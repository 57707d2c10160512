"""The tokenizer's files of a model folder, made again from the vocabulary in a GGUF file.

Of a SentencePiece tokenizer the file holds all that decides how text is cut: pieces, scores, kinds and the space before a text. Of a
byte-level one it holds tokens and merges, and only the name of the rule by which text is cut before.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal
from medloom.ledger.files import atomic, write_json, write_text
from medloom.model.encoders import LLAMA3_PATTERN
from medloom.model.gguf_head import Head
from medloom.model.sentencepiece_file import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    USER_DEFINED,
    Piece,
    Pieces,
    opening_template,
    read_pieces,
    tokenizers_json,
    write_pieces,
)

ADDED_SCORE = -1000.0  # what converters give tokens that were added to a SentencePiece vocabulary
_UNUSED = 5
_LLAMA3 = ("llama-bpe", "llama3", "llama-v3")  # llama.cpp's names for Llama 3's way to cut text


@dataclass(frozen=True)
class Listed:
    """A GGUF file's vocabulary, without the tokens that only pad the network's tables, and ids of special tokens by GGUF's names."""

    path: Path
    tokens: Sequence[str]
    kinds: Sequence[int]
    scores: Sequence[float] | None
    special: dict[str, int]

    def own(self) -> int:
        """How many first tokens are the tokenizer's own; behind them stand those that were added to it."""
        count = len(self.tokens)
        while count and self.kinds[count - 1] in (CONTROL, USER_DEFINED) and (self.scores is None or self.scores[count - 1] == ADDED_SCORE):
            count -= 1
        return count

    def entries(self, begin: int) -> dict[int, dict[str, Any]]:
        """Control tokens and marks from id `begin` on, as tokenizer files list added tokens."""
        return {number: {"content": self.tokens[number], "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                         "special": self.kinds[number] == CONTROL}
                for number in range(begin, len(self.tokens)) if self.kinds[number] in (CONTROL, USER_DEFINED)}


def write_tokenizer(head: Head, folder: Path) -> Listed:
    """Write tokenizer.model (SentencePiece) or none, tokenizer.json and tokenizer_config.json of a GGUF file with this head.

    Raises Refusal for a kind of tokenizer, or a way to cut text, that has no equal form here.
    """
    kind = head.value("tokenizer.ggml.model")
    listed = _read(head)
    adds_bos = head.value("tokenizer.ggml.add_bos_token")
    adds_bos = "bos" in listed.special if adds_bos is None else bool(adds_bos)
    if kind == "llama":
        known = _write_sentencepiece(head, listed, folder, adds_bos)
    elif kind == "gpt2":
        known = _write_byte_pairs(head, listed, folder, adds_bos)
    else:
        raise Refusal(f"{head.path}: its tokenizer is {kind!r}; import knows \"llama\" (SentencePiece) and \"gpt2\" (byte-level pairs)")
    own = listed.own()
    names = {f"{name}_token": listed.tokens[number] for name, number in listed.special.items() if name in ("bos", "eos", "unk", "pad")}
    template = _template(head)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast" if known else "LlamaTokenizer", "add_bos_token": adds_bos,
        "add_eos_token": bool(head.value("tokenizer.ggml.add_eos_token")), **names, "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
        "added_tokens_decoder": {str(number): entry for number, entry in listed.entries(own).items()},
        **({} if template is None else {"chat_template": template})})
    return listed


def _read(head: Head) -> Listed:
    tokens: list[str] = head.value("tokenizer.ggml.tokens") or []
    kinds: list[int] = head.value("tokenizer.ggml.token_type") or [NORMAL] * len(tokens)
    scores: list[float] | None = head.value("tokenizer.ggml.scores")
    if not tokens or len(kinds) != len(tokens) or (scores is not None and len(scores) != len(tokens)):
        raise Refusal(f"{head.path}: {len(tokens)} tokens, {len(kinds)} kinds, {len(scores or ())} scores: no whole vocabulary; "
                      "take a file that was converted with its tokenizer")
    count = len(tokens)
    while count and kinds[count - 1] == _UNUSED and re.fullmatch(rf"\[PAD{count - 1}\]", tokens[count - 1]):
        count -= 1
    special = {}
    for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"), ("eot", "eot"), ("eom", "eom")):
        number = head.value(f"tokenizer.ggml.{key}_token_id")
        # A plain token under such a name, left over from another tokenizer, would have transformers read it as control.
        if number is not None and number < count and (name in ("bos", "eos") or kinds[number] != NORMAL):
            special[name] = int(number)
    joined_by_score = head.value("tokenizer.ggml.model") == "llama"
    return Listed(head.path, tokens[:count], kinds[:count], scores[:count] if scores is not None and joined_by_score else None, special)


def _write_sentencepiece(head: Head, listed: Listed, folder: Path, adds_bos: bool) -> bool:
    """Write tokenizer.model, and where an equal form is known, as is returned, tokenizer.json."""
    own, path = listed.own(), listed.path
    if listed.scores is None:
        raise Refusal(f"{path}: a SentencePiece vocabulary without scores; take a file that was converted with its tokenizer")
    if head.value("tokenizer.ggml.remove_extra_whitespaces") or head.value("tokenizer.ggml.precompiled_charsmap"):
        raise Refusal(f"{path}: its tokenizer rewrites text before it cuts it, which import does not know")
    special = listed.special
    elsewhere = any(special.get(name, own) not in (usual, *range(own, len(listed.tokens) + 1)) for name, usual in (("bos", 1), ("eos", 2)))
    if special.get("unk", 0) != 0 or elsewhere or not all(kind in (UNKNOWN, CONTROL) for kind in listed.kinds[:3]):
        raise Refusal(f"{path}: its special tokens {special} are not SentencePiece's unknown 0, beginning 1 and end 2, which import knows")
    prefix = head.value("tokenizer.ggml.add_space_prefix")
    kinds = [UNKNOWN, *listed.kinds[1:own]]  # converters call the unknown token control where another file lists it
    write = [Piece(text, 0.0 if kind in (UNKNOWN, CONTROL) else score, kind)
             for text, score, kind in zip(listed.tokens[:own], listed.scores[:own], kinds, strict=True)]
    with atomic(folder / "tokenizer.model") as temporary:
        write_pieces(temporary, Pieces(tuple(write), byte_fallback=BYTE in kinds, dummy_prefix=prefix is None or bool(prefix)))
    other = tokenizers_json(read_pieces(folder / "tokenizer.model"))
    if other is None:
        return False
    content = json.loads(other)
    content["added_tokens"] += [{"id": number, **entry} for number, entry in listed.entries(own).items()]
    _write_library(content, listed, folder, adds_bos)
    return True


def _write_byte_pairs(head: Head, listed: Listed, folder: Path, adds_bos: bool) -> bool:
    pre = head.value("tokenizer.ggml.pre")
    if pre not in _LLAMA3:
        raise Refusal(f"{listed.path}: cuts text by the rule {pre!r}; of byte-level tokenizers import knows Llama 3's, {_LLAMA3[0]!r}")
    own = listed.own()
    merges = [merge.split(" ") for merge in head.value("tokenizer.ggml.merges") or []]
    if not merges or any(len(pair) != 2 for pair in merges):
        raise Refusal(f"{listed.path}: its merges are missing or no pairs; take a file that was converted with its tokenizer")
    content = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": number, **entry} for number, entry in listed.entries(0).items()],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                  "vocab": {text: number for number, text in enumerate(listed.tokens[:own])}, "merges": merges},
    }
    _write_library(content, listed, folder, adds_bos)
    return True


def _write_library(content: dict[str, Any], listed: Listed, folder: Path, adds_bos: bool) -> None:
    begin = listed.special.get("bos")
    opens = adds_bos and begin is not None
    content["post_processor"] = opening_template(listed.tokens[begin], begin) if opens and begin is not None else opening_template(None, 0)
    write_text(folder / "tokenizer.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _template(head: Head) -> str | list[dict[str, str]] | None:
    """The chat template, or where the file has several, all of them with their names, as transformers keeps them."""
    default: str | None = head.value("tokenizer.chat_template")
    names: list[str] = head.value("tokenizer.chat_templates") or []
    others = [{"name": name, "template": head.value(f"tokenizer.chat_template.{name}")} for name in names if name != "default"]
    others = [entry for entry in others if entry["template"]]
    if not others:
        return default
    return [*([{"name": "default", "template": default}] if default else []), *others]

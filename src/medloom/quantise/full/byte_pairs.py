"""A byte-level byte-pair tokenizer (Llama 3) as GGUF holds it: tokens in GPT-2's alphabet of bytes, and merges, best first.

llama.cpp must be told by name how text is cut before pairs are merged; only Llama 3's way is known here: "llama-bpe".
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal
from medloom.ledger.files import read_json
from medloom.model.encoders import LLAMA3_PATTERN

PRE = "llama-bpe"


def from_tiktoken(path: Path) -> tuple[list[str], list[str]]:
    """Tokens by id and merges of a tokenizer.model in tiktoken's form, which holds only the tokens by rank.

    A token's merges are all the ways to put it together of two tokens.
    """
    tokens = [base64.b64decode(line.split()[0]) for line in path.read_bytes().splitlines() if line]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    texts = ["".join(map(_ALPHABET.__getitem__, token)) for token in tokens]
    merges: list[str] = []
    for token in tokens:
        ways = [(ranks[token[:cut]], ranks[token[cut:]]) for cut in range(1, len(token)) if token[:cut] in ranks and token[cut:] in ranks]
        merges += [f"{texts[left]} {texts[right]}" for left, right in sorted(ways)]
    return texts, merges


def from_tokenizers(path: Path) -> tuple[list[str], list[str]]:
    """Tokens by id and merges of a tokenizer.json. Raises Refusal where it does not cut text as Llama 3's does."""
    content = read_json(path)
    model: dict[str, Any] = content["model"]
    if model.get("byte_fallback"):
        raise Refusal(f"{path}: a SentencePiece tokenizer in the form of the tokenizers library, without its scores; "
                      "put its tokenizer.model beside it")
    if model.get("type") != "BPE" or content.get("normalizer") or content.get("pre_tokenizer") != _LLAMA3_CUT:
        raise Refusal(f"{path}: cuts text in another way than Llama 3's tokenizer, which alone GGUF export knows of this kind; "
                      "convert the model with llama.cpp's convert_hf_to_gguf.py")
    tokens = [token for token, _ in sorted(model["vocab"].items(), key=lambda entry: entry[1])]
    if sorted(model["vocab"].values()) != list(range(len(tokens))):
        raise Refusal(f"{path}: its tokens' ids are not 0, 1, 2 and so on; fetch it again")
    # Merges are pairs since tokenizers 0.20, and one text each before.
    return tokens, [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]


def _alphabet() -> list[str]:
    """A printable character for each byte: its own in Latin-1 where it has one, else the next from U+0100 on (Radford et al. 2019)."""
    own = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in own else next(others)) for byte in range(256)]


_ALPHABET = _alphabet()
_LLAMA3_CUT = {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "pattern": {"Regex": LLAMA3_PATTERN}, "behavior": "Isolated", "invert": False},
    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}

"""A tokenizer as GGUF holds it: tokens with their kinds, what joins them (scores or merges), special ids and habits.

Which tokens text can give, and what opens and closes it, is as the model room's Tokenizer has it, so that llama.cpp cuts text as
training did.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal
from medloom.ledger.files import read_json
from medloom.model import Tokenizer, load_tokenizer
from medloom.model.config import ModelConfig
from medloom.model.encoders import LLAMA3_CONTROL, token_name
from medloom.model.gguf_head import Value
from medloom.model.sentencepiece_file import BPE, CONTROL, UNKNOWN, USER_DEFINED, Piece, read_pieces

from .byte_pairs import PRE, from_tiktoken, from_tokenizers

UNUSED = 5  # llama.cpp's number for this kind of token; for the other kinds it has SentencePiece's
_SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}  # our names for them, and GGUF's
_PROBES = ("two  spaces", " leading", "line\nbreak\ttab", "\u00e9\u017f \ufb01 \u00bd")  # what normalisers love to change


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id, filled up to the network's vocabulary with unused ones.

    `merges` are those of a byte-pair tokenizer, best first; None for SentencePiece, which joins by score. `template`: the chat
    template, or several with their names, as transformers keeps them.
    """

    entries: tuple[Piece, ...]
    merges: tuple[str, ...] | None
    special: Mapping[str, int]  # ids of bos, eos, unk, pad, as far as there are
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool | None = None
    template: str | Sequence[Mapping[str, str]] | None = None

    def pairs(self) -> dict[str, Value]:
        """It as a GGUF file's metadata."""
        joined: dict[str, Value] = {"tokenizer.ggml.scores": [entry.score for entry in self.entries]}
        if self.merges is not None:
            joined = {"tokenizer.ggml.merges": self.merges}
        found: dict[str, Value] = {
            "tokenizer.ggml.model": "llama" if self.merges is None else "gpt2",
            "tokenizer.ggml.pre": "default" if self.merges is None else PRE,
            "tokenizer.ggml.tokens": [entry.text for entry in self.entries],
            "tokenizer.ggml.token_type": [entry.kind for entry in self.entries], **joined,
            **{f"tokenizer.ggml.{_SPECIAL[name]}_token_id": number for name, number in self.special.items()},
            "tokenizer.ggml.add_bos_token": self.add_bos, "tokenizer.ggml.add_eos_token": self.add_eos}
        if self.add_space_prefix is not None:
            found["tokenizer.ggml.add_space_prefix"] = self.add_space_prefix
        return found | _template_pairs(self.template)


def _template_pairs(template: str | Sequence[Mapping[str, str]] | None) -> dict[str, Value]:
    """Chat templates as a GGUF file's metadata: the default one, and the others under their names."""
    given = [{"name": "default", "template": template}] if isinstance(template, str) else template or []
    named = {re.sub("[^A-Za-z0-9]", "_", entry["name"]): entry["template"]
             for entry in given if entry.get("name") and entry.get("template")}
    default = named.pop("default", None)
    found: dict[str, Value] = {f"tokenizer.chat_template.{name}": text for name, text in named.items()}
    if named:
        found["tokenizer.chat_templates"] = list(named)
    return found if default is None else found | {"tokenizer.chat_template": default}


def read_vocabulary(folder: Path, config: ModelConfig) -> Vocabulary:
    """Read the tokenizer of a model folder.

    Raises Refusal where there is none, it has more tokens than the network, or llama.cpp would not cut text as it does.
    """
    tokenizer = load_tokenizer(folder)
    settings = read_json(folder / "tokenizer_config.json")
    merges: list[str] | None = None
    prefix: bool | None = None
    if tokenizer.is_sentencepiece:
        entries, prefix = _sentencepiece(tokenizer.path)
    else:
        read = from_tokenizers if tokenizer.path.suffix == ".json" else from_tiktoken
        tokens, merges = read(tokenizer.path)
        entries = {number: Piece(token, 0.0) for number, token in enumerate(tokens)}
    own = len(entries)
    if own > config.vocab_size:
        raise Refusal(f"{tokenizer.path}: {own} tokens, but the network has {config.vocab_size}; this tokenizer belongs to another model")
    entries |= {number: entry for number, entry in _added(tokenizer, settings, own).items() if number < config.vocab_size}
    filled = tuple(entries.get(number) or Piece(f"[PAD{number}]", -10_000.0, UNUSED) for number in range(config.vocab_size))
    return Vocabulary(
        entries=filled, merges=None if merges is None else tuple(merges), special=_special(tokenizer, settings, config, filled),
        add_bos=tokenizer.adds_bos, add_eos=bool(settings.get("add_eos_token", False)), add_space_prefix=prefix,
        template=_template(folder, settings))


def _sentencepiece(path: Path) -> tuple[dict[int, Piece], bool]:
    """The pieces by id, and whether a text gets a space put before it."""
    model = read_pieces(path)
    if model.model_type != BPE or not model.byte_fallback:
        raise Refusal(f"{path}: not a byte-pair model with a token for every byte, which llama.cpp's `llama` tokenizer is; train it anew")
    if not model.plain:
        _probe(path)
    return dict(enumerate(model.pieces)), model.dummy_prefix


def _probe(path: Path) -> None:
    """Refuse a SentencePiece model that changes texts before it cuts them."""
    from sentencepiece import SentencePieceProcessor

    processor = SentencePieceProcessor(model_file=str(path))
    for probe in _PROBES:
        ids = processor.encode(probe)
        if processor.decode(ids) != probe and processor.unk_id() not in ids:
            raise Refusal(f"{path}: rewrites text such as {probe!r}, which llama.cpp does not do; train it with the identity normaliser")


def _added(tokenizer: Tokenizer, settings: dict[str, Any], own: int) -> dict[int, Piece]:
    """What was added to the tokenizer's own `own` tokens, or stands in place of them, by id."""
    found: dict[int, tuple[str, bool]] = {}
    if tokenizer.path.suffix == ".json":
        found = {entry["id"]: (entry["content"], entry["special"]) for entry in read_json(tokenizer.path)["added_tokens"]}
    elif not tokenizer.is_sentencepiece:
        found = {own + place: (text, True) for place, text in enumerate(LLAMA3_CONTROL)}
    found |= {token.id: (token.text, not token.mark) for token in tokenizer.added_tokens}
    listed = settings.get("added_tokens_decoder", {})
    # Tokens that both have are the tokenizer's, which says more; but kinds of the tokenizer's own tokens are told in the settings alone.
    found |= {int(number): (entry["content"], bool(entry.get("special"))) for number, entry in listed.items() if int(number) not in found}
    # llama.cpp looks for marks in the text as it is, with no U+2581 for a space.
    return {number: Piece(text if control else text.replace("\u2581", " "), -1000.0, CONTROL if control else USER_DEFINED)
            for number, (text, control) in found.items()}


def _special(tokenizer: Tokenizer, settings: dict[str, Any], config: ModelConfig, entries: Sequence[Piece]) -> dict[str, int]:
    """The ids of special tokens: as tokenizer_config.json names them, else by the network's configuration, else by the tokenizer's file."""
    named = {entry.text: number for number, entry in enumerate(entries) if entry.kind in (CONTROL, UNKNOWN, USER_DEFINED)}
    unknown = next((number for number, entry in enumerate(entries) if entry.kind == UNKNOWN), None)
    others = {"bos": (config.bos_id, tokenizer.bos_id), "eos": (config.eos_id, tokenizer.eos_id), "unk": (unknown,), "pad": ()}
    found: dict[str, int] = {}
    for name, numbers in others.items():
        for number in (named.get(token_name(settings, f"{name}_token") or ""), *numbers):
            if number is not None:
                found.setdefault(name, number)
    return found


def _template(folder: Path, settings: dict[str, Any]) -> str | Sequence[Mapping[str, str]] | None:
    """The chat template, from wherever transformers would take it."""
    own: str | Sequence[Mapping[str, str]] | None = settings.get("chat_template")
    if own:
        return own
    file = folder / "chat_template.jinja"
    if file.is_file():
        default = file.read_text(encoding="utf-8")
        others = sorted((folder / "additional_chat_templates").glob("*.jinja"))
        named = [{"name": other.stem, "template": other.read_text(encoding="utf-8")} for other in others]
        return [{"name": "default", "template": default}, *named] if named else default
    old: str | None = read_json(folder / "chat_template.json").get("chat_template")
    return old

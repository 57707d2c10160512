"""A SentencePiece tokenizer as GGUF holds it: pieces, scores, kinds, special ids and habits.

Not here: byte-level BPE (Llama 3), which needs merges and a named pre-tokenizer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloom.ledger import Refusal
from medloom.model.config import ModelConfig

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # llama.cpp's numbers for kinds of token
_PROBES = ("two  spaces", " leading", "line\nbreak\ttab", "\u00e9\u017f \ufb01 \u00bd")  # what normalisers love to change


@dataclass(frozen=True)
class Vocabulary:
    """Pieces with score and kind by token id, filled up to the network's vocabulary with unused ones."""

    tokens: tuple[str, ...]
    scores: tuple[float, ...]
    kinds: tuple[int, ...]
    bos: int | None
    eos: int | None
    unknown: int | None
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    chat_template: str | None

    def write(self, writer: Any) -> None:
        """Put the vocabulary among a GGUFWriter's keys."""
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(list(self.tokens))
        writer.add_token_scores(list(self.scores))
        writer.add_token_types(list(self.kinds))
        special = ((self.bos, writer.add_bos_token_id), (self.eos, writer.add_eos_token_id), (self.unknown, writer.add_unk_token_id))
        for value, add in special:
            if value is not None:
                add(value)
        writer.add_add_bos_token(self.add_bos)
        writer.add_add_eos_token(self.add_eos)
        writer.add_add_space_prefix(self.add_space_prefix)
        if self.chat_template:
            writer.add_chat_template(self.chat_template)


def read_vocabulary(folder: Path, config: ModelConfig) -> Vocabulary:
    """Read `tokenizer.model` (SentencePiece) and what `tokenizer_config.json` adds to it.

    Raises Refusal where the folder has no such file, it has more pieces than the network, or it rewrites text before it
    cuts it, which llama.cpp would not do.
    """
    import sentencepiece

    path = folder / "tokenizer.model"
    if not path.is_file():
        raise Refusal(f"{folder}: no tokenizer.model in it; GGUF export reads SentencePiece tokenizers only")
    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError):
        raise Refusal(f"{path}: not a SentencePiece model; GGUF export reads SentencePiece tokenizers only") from None
    count = pieces.vocab_size()
    if count > config.vocab_size:
        raise Refusal(f"{path}: {count} pieces, but the network has {config.vocab_size} tokens; this tokenizer belongs to another model")
    for probe in _PROBES:
        if pieces.decode(pieces.encode(probe)) != probe and pieces.unk_id() not in pieces.encode(probe):
            raise Refusal(f"{path}: rewrites text such as {probe!r}, which llama.cpp does not do; train it with the identity normaliser")
    settings = _settings(folder)
    tokens = [pieces.id_to_piece(i) for i in range(count)]
    scores = [pieces.get_score(i) for i in range(count)]
    kinds = [_kind(pieces, i) for i in range(count)]
    for i in range(count, config.vocab_size):
        tokens.append(f"[PAD{i}]")
        scores.append(-10_000.0)
        kinds.append(UNUSED)
    for key, added in sorted(settings.get("added_tokens_decoder", {}).items(), key=lambda item: int(item[0])):
        i, special = int(key), bool(added.get("special"))
        if i >= config.vocab_size or (i < count and kinds[i] in (CONTROL, UNKNOWN) and tokens[i] == added["content"]):
            continue
        tokens[i] = added["content"] if special else added["content"].replace("\u2581", " ")
        scores[i], kinds[i] = -1000.0, CONTROL if special else USER_DEFINED
    template = settings.get("chat_template")
    return Vocabulary(
        tokens=tuple(tokens), scores=tuple(scores), kinds=tuple(kinds),
        bos=_present(pieces.bos_id(), config.bos_id), eos=_present(pieces.eos_id(), config.eos_id), unknown=_present(pieces.unk_id(), None),
        add_bos=bool(settings.get("add_bos_token", pieces.bos_id() >= 0)), add_eos=bool(settings.get("add_eos_token", False)),
        add_space_prefix=pieces.id_to_piece(pieces.encode("a")[0]).startswith("\u2581"),
        chat_template=template if isinstance(template, str) else None,
    )


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Refusal(f"{path}: not valid JSON ({error})") from None
    return settings if isinstance(settings, dict) else {}


def _kind(pieces: Any, i: int) -> int:
    if pieces.is_unknown(i):
        return UNKNOWN
    if pieces.is_control(i):
        return CONTROL
    if pieces.is_unused(i):
        return UNUSED
    return BYTE if pieces.is_byte(i) else NORMAL


def _present(of_tokenizer: int, of_config: int | None) -> int | None:
    """The network's own setting goes before the tokenizer's; -1 is SentencePiece's word for none."""
    return of_config if of_config is not None else of_tokenizer if of_tokenizer >= 0 else None

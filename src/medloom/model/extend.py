"""Adds tokens to a tokenizer's folder, in the form that transformers and llama.cpp's converter read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ledger import Refusal
from ..ledger.files import read_json, write_json, write_text
from .added import Added, is_control
from .encoders import LLAMA3_CONTROL, LLAMA3_PATTERN
from .sentencepiece_file import opening_template
from .tokenizer import Tokenizer, carry_tokenizer, load_tokenizer

# Meditron's (Chen et al. 2023, arXiv:2311.16079), in its trainer's order: ids 32000 to 32016 after Llama 2's vocabulary.
MEDITRON_TOKENS = (
    "<CLS>", "<SEP>", "<EOD>", "<MASK>", "<PAD>", "[bib_ref]", "[/bib_ref]", "[fig_ref]", "[/fig_ref]", "[bib]", "[/bib]",
    "[fig]", "[/fig]", "[table]", "[/table]", "[formula]", "[/formula]")


def extend_tokenizer(folder: Path, tokens: Sequence[str], out: Path, *, document_end: str | None = None,
                     adds_bos: bool | None = None) -> None:
    """Write the tokenizer of `folder` into `out` with `tokens` added, which get the next ids in their order.

    A token of the form `<EOD>` is control: text never gives it. Any other is a mark, as `[fig]`: text that holds it gives its id.
    `document_end` names an added token that closes documents in place of the end token; `adds_bos` says whether the beginning token
    opens them; None leaves the tokenizer's habit. tokenizer.model stays as it is; tokenizer.json (written where there was none),
    added_tokens.json and tokenizer_config.json hold what is new. The model's embeddings must be grown apart from this.
    Raises Refusal for a token that is known already, or a document's end that is not.
    """
    old = load_tokenizer(folder)
    for place, token in enumerate(tokens):
        if not token.strip() or token in old.added or token in tokens[:place]:
            raise Refusal(f"{folder}: the token {token!r} is empty or there already; name each new token once")
    fresh = [Added(text, old.vocab_size + place, mark=not is_control(text)) for place, text in enumerate(tokens)]
    added = [*old.added_tokens, *fresh]
    if document_end is not None and document_end not in {token.text for token in added}:
        raise Refusal(f"{folder}: no added token {document_end} to close documents with; add it too")
    carry_tokenizer(old.path.parent, out)
    if not (out / "tokenizer.json").is_file() and not old.is_sentencepiece:
        _from_tiktoken(old, out)
    content, settings = read_json(out / "tokenizer.json"), read_json(out / "tokenizer_config.json")
    entries = {token.id: _entry(token) for token in added}
    if content:
        there = {*content["model"]["vocab"], *(entry["content"] for entry in content["added_tokens"])} & {*tokens}
        if there:
            raise Refusal(f"{folder}: the token {min(there)!r} is there already; name each new token once")
        content["added_tokens"] += [{"id": token.id, **_entry(token)} for token in fresh]
        if adds_bos is not None:
            content["post_processor"] = _opening(old, content, adds_bos)
        write_text(out / "tokenizer.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        entries |= {entry["id"]: {key: value for key, value in entry.items() if key != "id"}
                    for entry in content["added_tokens"] if entry["id"] in entries}
    write_json(out / "added_tokens.json", {token.text: token.id for token in added})
    settings["add_bos_token"] = old.adds_bos if adds_bos is None else adds_bos
    settings["added_tokens_decoder"] = settings.get("added_tokens_decoder", {}) | {str(number): entry for number, entry in entries.items()}
    if document_end is not None:
        settings["document_end"] = document_end
    write_json(out / "tokenizer_config.json", settings)


def _entry(token: Added) -> dict[str, Any]:
    return {"content": token.text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": not token.mark}


def _from_tiktoken(tokenizer: Tokenizer, out: Path) -> None:
    """Write the tokenizer.json that tiktoken's form lacks: transformers reads added tokens only beside one."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    convert: Any = TikTokenConverter
    library = convert(vocab_file=str(tokenizer.path), pattern=LLAMA3_PATTERN, extra_special_tokens=list(LLAMA3_CONTROL)).converted()
    content = json.loads(library.to_str())
    names = {token["id"]: token["content"] for token in content["added_tokens"]}
    content["post_processor"] = _opening(tokenizer, content, tokenizer.adds_bos)
    write_text(out / "tokenizer.json", json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": names[tokenizer.bos_id], "eos_token": names[tokenizer.eos_id],
                "clean_up_tokenization_spaces": False}
    write_json(out / "tokenizer_config.json", settings | read_json(out / "tokenizer_config.json"))


def _opening(tokenizer: Tokenizer, content: dict[str, Any], adds_bos: bool) -> dict[str, Any]:
    """What opens a text in a tokenizer.json: the beginning token, or nothing."""
    if not adds_bos:
        return opening_template(None, 0)
    begin = next((token["content"] for token in content["added_tokens"] if token["id"] == tokenizer.bos_id), None)
    if begin is None or tokenizer.bos_id is None:
        raise Refusal(f"{tokenizer.path}: no beginning token to open documents with; leave adds_bos out")
    return opening_template(begin, tokenizer.bos_id)

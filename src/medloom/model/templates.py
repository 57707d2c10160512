"""How a conversation becomes the text and the tokens of a chat model, and which of them are learned.

A template is Jinja, as transformers reads it from a model folder, so that what finetuning wrote and what is later served are one text
made by one rule. A message is {role, content} with the roles system (first, or absent), user and assistant, the last two in turn.

Only a template's own text can give control tokens. What a message says is text, whatever characters it has: `<|im_end|>` in it gives
those characters' tokens, where `transformers` would give the control token.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..ledger.files import read_json, write_json
from .encoders import LLAMA3_CONTROL, token_name
from .sentencepiece_file import CONTROL, UNKNOWN, read_pieces
from .tokenizer import Tokenizer, load_tokenizer

GUARD = "\ufdd0"  # a character that Unicode keeps out of text; it hides control tokens that a message spells from the cut
SHAPED = re.compile(r"<\|[^|<>\s]+\|>")  # what is meant as a control token in a template of this kind
TODAY = "26 Jul 2024"  # for templates that ask for the date: the one that Llama 3.1's own falls back on; the same every day

PLAIN = """\
{{ bos_token }}{% for message in messages %}{% if not loop.first %}{{ '\\n\\n' }}{% endif %}\
{{ {'system': '', 'user': 'Question: ', 'assistant': 'The answer is: '}[message['role']] + message['content'].strip() }}{% endfor %}\
{% if add_generation_prompt %}{{ '\\n\\nThe answer is:' }}{% else %}{{ eos_token }}{% endif %}"""
CHATML = """\
{{ bos_token }}{% for message in messages %}\
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
# Meditron's (Chen et al. 2023, arXiv 2311.16079): ChatML with roles of its own.
MEDITRON = """\
{{ bos_token }}{% set roles = {'system': 'system', 'user': 'question', 'assistant': 'answer'} %}{% for message in messages %}\
{{ '<|im_start|>' + roles[message['role']] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>answer\\n' }}{% endif %}"""
LLAMA2 = """\
{% for message in messages %}{% if message['role'] == 'system' %}\
{{ bos_token }}{{ '[INST] <<SYS>>\\n' + message['content'].strip() + '\\n<</SYS>>\\n\\n' }}\
{% elif message['role'] == 'user' %}{% if not (loop.index0 == 1 and messages[0]['role'] == 'system') %}\
{{ bos_token }}{{ '[INST] ' }}{% endif %}{{ message['content'].strip() + ' [/INST]' }}\
{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""
LLAMA3 = """\
{{ bos_token }}{% for message in messages %}\
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'].strip() + '<|eot_id|>' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"""
MISTRAL = """\
{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}{{ '[INST] ' + message['content'] + '\\n\\n' }}\
{% elif message['role'] == 'user' %}{% if not (loop.index0 == 1 and messages[0]['role'] == 'system') %}{{ '[INST] ' }}{% endif %}\
{{ message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"""
SOURCES = {"plain": PLAIN, "chatml": CHATML, "meditron": MEDITRON, "llama2": LLAMA2, "llama3": LLAMA3, "mistral": MISTRAL}


class Message(TypedDict):
    """What one side says."""

    role: Literal["system", "user", "assistant"]
    content: str


PROBE: tuple[Message, ...] = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})


@dataclass(frozen=True)
class Piece:
    """A stretch of a conversation's text; `token` is the id where it is a control token of the template."""

    text: str
    learned: bool
    token: int | None = None


class Template:
    """A template for one tokenizer; made by `load_template`. `source` is Jinja, what tokenizer_config.json holds as `chat_template`.

    Learned are the assistant's messages, up to and with what closes them. `opening`: what opens them too.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, *, opening: bool = False) -> None:
        self.source, self.tokenizer, self._opening = source, tokenizer, opening
        self._control, self._prefix = control_tokens(tokenizer), space_before(tokenizer)
        self._cut = re.compile("|".join(map(re.escape, sorted(self._control, key=len, reverse=True))) or "(?!)")
        texts = {number: text for text, number in self._control.items()}
        settings = read_json(tokenizer.path.parent / "tokenizer_config.json")
        special = {key: token_name(settings, key) for key in ("unk_token", "pad_token")}
        special |= {"bos_token": texts.get(_number(tokenizer.bos_id)), "eos_token": texts.get(_number(tokenizer.eos_id))}
        self._variables = {key: text for key, text in special.items() if text is not None} | {"date_string": TODAY}
        self._refuse_what_is_not_known()

    def text(self, messages: Sequence[Message], *, opened: bool = False) -> str:
        """The conversation as one text; `opened` ends it where the assistant is to go on. Raises Refusal for what the template refuses."""
        from jinja2 import TemplateError
        from transformers.utils.chat_template_utils import render_jinja_template

        render: Callable[..., Any] = render_jinja_template
        try:
            texts, _ = render([list(messages)], chat_template=self.source, add_generation_prompt=opened, **self._variables)
        except (TemplateError, TypeError, LookupError) as error:
            raise Refusal(f"the chat template does not take a conversation of {', '.join(m['role'] for m in messages)}: {error}") from None
        return str(texts[0])

    def pieces(self, messages: Sequence[Message], *, opened: bool = False) -> list[Piece]:
        """The conversation, as `text` gives it, cut at its control tokens and where learning begins and ends.

        An assistant's message is what the text gains by it. Raises Refusal for a template that rewrites what came before.
        """
        hidden = [self._hide(message) for message in messages]
        whole = self.text(hidden, opened=opened)
        spans: list[tuple[int, int]] = []
        for place, message in enumerate(hidden):
            if message["role"] == "assistant":
                before, after = self.text(hidden[:place], opened=not self._opening), self.text(hidden[: place + 1])
                if not whole.startswith(before):
                    raise Refusal("the chat template writes earlier messages otherwise once later ones follow, so that no part of the text "
                                  "is an answer alone; choose another template")
                spans.append((len(before), len(after) if whole.startswith(after) else _shared(after, whole)))
        tokens = {match.span(): self._control[match[0]] for match in self._cut.finditer(whole)}
        cuts = sorted({0, len(whole), *(at for span in (*spans, *tokens) for at in span)})
        return [Piece(whole[a:b].replace(GUARD, ""), any(start <= a < stop for start, stop in spans), tokens.get((a, b)))
                for a, b in pairwise(cuts)]

    def encode(self, messages: Sequence[Message], *, opened: bool = False) -> tuple[list[int], NDArray[np.bool_]]:
        """Ids of the conversation, as `text` gives it, and which of them are learned.

        Text between two control tokens is cut into tokens as one text.
        """
        encode = self.tokenizer.encode
        ids: list[int] = []
        learned: list[bool] = []
        for is_text, group in groupby(self.pieces(messages, opened=opened), lambda piece: piece.token is None):
            pieces = list(group)
            spaced = self._prefix == "always" or (self._prefix == "first" and not ids)
            new, flags = _encode_run(pieces, encode if spaced else self._encode_bare) if is_text else \
                ([piece.token for piece in pieces if piece.token is not None], [piece.learned for piece in pieces])
            ids += new
            learned += flags
        return ids, np.asarray(learned, np.bool_)

    def turn_end(self) -> int | None:
        """The control token that closes an answer, where there is one: generation stops at it."""
        return next((piece.token for piece in reversed(self.pieces(PROBE)) if piece.learned and piece.token is not None), None)

    def write(self, folder: Path) -> None:
        """Make a model folder carry the template, and stop generation at what closes an answer."""
        settings = read_json(folder / "tokenizer_config.json")
        write_json(folder / "tokenizer_config.json", settings | {"chat_template": self.source})
        (folder / "chat_template.jinja").unlink(missing_ok=True)  # transformers would take it before the other
        end, generation = self.turn_end(), read_json(folder / "generation_config.json")
        known = generation.get("eos_token_id")
        ends = known if isinstance(known, list) else [] if known is None else [known]
        if end is not None and end not in ends and generation:
            write_json(folder / "generation_config.json", generation | {"eos_token_id": [*ends, end]})

    def _encode_bare(self, text: str) -> list[int]:
        """Without the space that SentencePiece puts before a text: here it goes before a line end, which joins with nothing."""
        return self.tokenizer.encode("\n" + text)[len(self.tokenizer.encode("\n")):]

    def _hide(self, message: Message) -> Message:
        if GUARD in message["content"]:
            raise Refusal("a message holds the character U+FDD0, which no text may have; take it out")
        hidden = self._cut.sub(lambda match: match[0][0] + GUARD + match[0][1:], message["content"])
        return {"role": message["role"], "content": hidden}

    def _refuse_what_is_not_known(self) -> None:
        known = {*self._control, *self.tokenizer.added}
        if "strftime_now" in self.source and "date_string" not in self.source:
            raise Refusal(f"{self.tokenizer.path.parent}: the chat template writes today's date, so that the same examples would be others "
                          "tomorrow; put a date in its place, or take another template")
        missing = sorted({*SHAPED.findall(self.text(PROBE))} - known)
        for key in ("bos_token", "eos_token"):
            if key in self.source and key not in self._variables:
                missing.append(key.replace("_", " "))
        if missing:
            raise Refusal(f"{self.tokenizer.path}: the template needs {', '.join(missing)}, which this tokenizer has not; add it to the "
                          'vocabulary of the base model, or take a template that needs none: finetune.template = "plain" or "llama2"')


def load_template(name: str, folder: Path) -> Template:
    """A template by its name in a recipe, for the tokenizer of a model folder: one of SOURCES, or "tokenizer", the folder's own.

    Those of SOURCES open with the beginning token where that is the tokenizer's habit. Raises Refusal where the folder has no template of
    its own, or the tokenizer lacks control tokens that the template writes.
    """
    tokenizer = load_tokenizer(folder)
    if name == "tokenizer":
        return Template(_own(folder), tokenizer)
    source = SOURCES[name]
    if name == "mistral" and "[INST]" in control_tokens(tokenizer):
        # From its third tokenizer on the marks are control tokens, with no space before the closing one and one after each.
        source = source.replace(" [/INST]", "[/INST]")
        if space_before(tokenizer) == "always":
            source = source.replace("[INST] ", "[INST]").replace("' ' + ", "")
    if not tokenizer.adds_bos:
        source = source.replace("{{ bos_token }}", "")
    return Template(source, tokenizer, opening=name == "meditron")


def space_before(tokenizer: Tokenizer) -> Literal["always", "first", "never"]:
    """Before which texts a space is put as they are cut into tokens: each between two control tokens, the first of all, or none.

    SentencePiece and its older conversions do it always; a newer tokenizer.json says what it does, and transformers goes by that.
    """
    rule = read_json(tokenizer.path.parent / "tokenizer.json").get("pre_tokenizer") or {}
    found = [part.get("prepend_scheme") for part in rule.get("pretokenizers", [rule]) if part.get("type") == "Metaspace"]
    return found[0] if found and found[0] in ("first", "never") else "always"


def control_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """Ids of the control tokens by their text."""
    path = tokenizer.path
    if path.suffix == ".json":
        found = {entry["content"]: int(entry["id"]) for entry in read_json(path).get("added_tokens", []) if entry.get("special")}
    elif tokenizer.is_sentencepiece:
        found = {piece.text: number for number, piece in enumerate(read_pieces(path).pieces) if piece.kind in (CONTROL, UNKNOWN)}
    else:
        first = sum(1 for line in path.read_bytes().splitlines() if line)
        names = dict(enumerate(LLAMA3_CONTROL, first))
        entries = read_json(path.parent / "tokenizer_config.json").get("added_tokens_decoder", {})
        names |= {int(number): entry["content"] for number, entry in entries.items() if int(number) in names}
        found = {text: number for number, text in names.items()}
    return found | {token.text: token.id for token in tokenizer.added_tokens if not token.mark}


def has_template(folder: Path) -> bool:
    """Whether a model folder has a chat template of its own."""
    return _found(folder) is not None


def _own(folder: Path) -> str:
    """The chat template of a model folder."""
    found = _found(folder)
    if found is None:
        raise Refusal(f'{folder}: no chat template here (chat_template.jinja, or in tokenizer_config.json) for finetune.template = '
                      '"tokenizer"; name another template')
    return found


def _found(folder: Path) -> str | None:
    """The chat template of a model folder, where transformers looks for it."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    found = read_json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(found, list):
        found = next((entry.get("template") for entry in found if entry.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _encode_run(pieces: Sequence[Piece], encode: Callable[[str], list[int]]) -> tuple[list[int], list[bool]]:
    """A token that spans the place where learning begins is learned; one that spans its end is not."""
    whole = "".join(piece.text for piece in pieces)
    ids = encode(whole)
    flags: list[bool] = []
    length = 0
    for piece in pieces:
        length += len(piece.text)
        reached = _shared(encode(whole[:length]), ids) if length < len(whole) else len(ids)
        flags += [piece.learned] * (reached - len(flags))
    return ids, flags


def _number(token: int | None) -> int:
    return -1 if token is None else token


def _shared(one: Iterable[object], other: Iterable[object]) -> int:
    """How many first characters two texts, or ids two lists, have in common."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count

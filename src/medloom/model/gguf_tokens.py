"""What the tokens of a GGUF file stand for, by what its head says of them, and what llama.cpp makes of each."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .gguf_head import Head
from .sentencepiece_file import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED

# Texts that llama.cpp takes for the end of an answer, whatever the file says.
_ENDS = frozenset({"<|eot_id|>", "<|eom_id|>", "<|im_end|>", "<|end|>", "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>", "</s>"})

_CERTAIN = 1e4  # more than a logit ever is


class GGUFTokens:
    """The tokens of a file with this head, by their numbers."""

    def __init__(self, head: Head) -> None:
        texts: list[str] = head.value("tokenizer.ggml.tokens") or []
        kinds: list[int] = head.value("tokenizer.ggml.token_type") or [NORMAL] * len(texts)
        self._all = list(zip(texts, kinds, strict=False))
        self._of_bytes = head.value("tokenizer.ggml.model") == "gpt2"
        named = (head.value(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
        self._named_ends = frozenset(int(number) for number in named if number is not None)

    def __len__(self) -> int:
        return len(self._all)

    @cached_property
    def control(self) -> tuple[str, ...]:
        """Texts that are read out of a prompt as one token each."""
        return tuple(text for text, kind in self._all if kind in (CONTROL, USER_DEFINED) and len(text) > 1)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Tokens at which an answer ends: those that the file names, and those that are known by their text."""
        return self._named_ends | {number for number, (text, _) in enumerate(self._all) if text in _ENDS}

    @cached_property
    def letter_bias(self) -> dict[str, Any]:
        """What has llama.cpp write a letter, whatever the prompt, and changes nothing of the log-probabilities that it tells in its place.

        Of a token that is a part of a character it tells none at all.
        """
        number = next(number for number, (text, kind) in enumerate(self._all) if kind == NORMAL and text.isascii() and text.isalpha())
        return {"logit_bias": [[number, _CERTAIN]]}

    def is_text(self, number: int) -> bool:
        """Whether a token is whole characters that llama.cpp would write: no end, no part of a character, nothing unused."""
        text, kind = self._all[number]
        if number in self.ends or not text:
            return False
        if kind == BYTE:
            return 0 < int(text[1:-1], 16) < 0x80  # as in <0x0A>
        if kind == NORMAL and self._of_bytes:
            from tokenizers.decoders import ByteLevel

            written: str = ByteLevel().decode([text])
            return "\N{REPLACEMENT CHARACTER}" not in written and not written.startswith("\0")
        return kind in (NORMAL, UNKNOWN, CONTROL, USER_DEFINED)

"""How it is asked: a benchmark's questions become prompts, an engine answers them, and what it answered is written down.

`prompts` is our protocol and `meditron` the original's with its defects; `ask` puts prompts to an engine in every mode, `answers` walks a
whole benchmark and leaves answers.jsonl. `examples` writes training questions down for finetuning, in the very words they are asked in.
"""

from .answers import answer
from .examples import write_examples
from .meditron import DEFECTS
from .prompts import SENTENCE, block, completions, demonstrations, drawn, message, turned

__all__ = ["DEFECTS", "SENTENCE", "answer", "block", "completions", "demonstrations", "drawn", "message", "turned", "write_examples"]

"""The documents held out of training as tokens, so that training can measure how well it predicts them as it goes."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from .document import tables
from .order import drawn, name_keys

if TYPE_CHECKING:
    from medloom.model import Tokenizer

TOKENS = 200_000  # of a domain: enough to tell a loss to a hundredth, little enough to be measured every few hundred steps
LONGEST = 16_384  # tokens of one document: a book is no domain
CHARACTERS = 8 * TOKENS  # no tokenizer makes so few tokens of text that this is too little to choose from


def write_heldout(corpus: Path, tokenizer: Tokenizer, seed: int, out: Path) -> dict[str, int]:
    """Write a token store `out/DOMAIN` of each folder `corpus/valid/DOMAIN`; how many tokens each holds.

    Documents come in an order drawn by their ids and the seed, each with its first LONGEST tokens, while there are no more than TOKENS.
    """
    from medloom.model import TokenStoreWriter

    held = {}
    for folder in sorted((corpus / "valid").glob("*/")):
        found: list[tuple[int, str]] = []
        for part in sorted(folder.glob("part-*.parquet")):
            for table in tables(part, ["id", "text"]):
                keys = drawn(name_keys(table["id"].to_pylist()), seed, "held out").tolist()
                found = _first([*found, *zip(keys, table["text"].to_pylist(), strict=True)])
        documents = [ids[:LONGEST] for ids in tokenizer.encode_documents([text for _, text in found])]
        with TokenStoreWriter(out / folder.name, tokenizer.vocab_size) as store:
            held[folder.name] = 0
            for ids in documents:
                if held[folder.name] + len(ids) > TOKENS:
                    break
                store.add(ids)
                held[folder.name] += len(ids)
    return held


def _first(found: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """What comes first by its key, as much as may be needed."""
    ordered = sorted(found)
    before = accumulate((len(text) for _, text in ordered), initial=0)
    return [document for document, characters in zip(ordered, before, strict=False) if characters < CHARACTERS]

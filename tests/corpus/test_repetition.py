"""What repeats itself is told from what does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from medloom.corpus import read_source
from medloom.corpus.repetition import RUN, repeated_share
from medloom.ledger import Silent
from medloom.passport.ngrams import word_numbers
from medloom.recipe import Corpus, Source

from .conftest import prose


def share_by_definition(words: list[str]) -> float:
    """Words that lie in a run of RUN words which stood in the text before, run by run."""
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for start in range(len(words) - RUN + 1):
        run = tuple(words[start : start + RUN])
        if run in seen:
            covered.update(range(start, start + RUN))
        seen.add(run)
    return len(covered) / max(len(words), 1)


def test_the_share_is_as_defined() -> None:
    rng = np.random.default_rng(4)
    texts = [[str(n) for n in rng.integers(0, 3, rng.integers(0, 200))] for _ in range(60)]  # three words only: full of repeats
    texts += [["menu", *map(str, range(30))] * 5, [], ["x"] * 200]
    shares = repeated_share(*word_numbers([" ".join(text) for text in texts]))
    assert shares.tolist() == pytest.approx([share_by_definition(text) for text in texts])


def test_a_menu_goes_and_prose_stays() -> None:
    menu = "Home Products Services About us Contact Careers Log in Sign up Help " * 30
    shares = repeated_share(*word_numbers([menu, prose(3, 300), prose(3, 300) + prose(4, 300)]))
    assert shares[0] > 0.9 and shares[1] == 0 == shares[2]


@pytest.mark.slow
def test_no_real_paper_is_lost_to_it(shared: Path, tmp_path: Path) -> None:
    source = Source(name="papers", format="jats", path="x")
    read_source(source, shared / "corpus/jats", Corpus(sources=(source,), workers=1), tmp_path / "out", Silent(), tmp_path / "state")
    texts = [text for path in sorted((tmp_path / "out").glob("part-*.parquet")) for text in pq.read_table(path)["text"].to_pylist()]
    shares = repeated_share(*word_numbers(texts))
    assert len(texts) > 90 and shares.max() < 0.5

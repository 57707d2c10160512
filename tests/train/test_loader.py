"""The loader: the batches that were asked for, in order, from any step on, ahead of the caller, and its errors at their step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from medloom.ledger import Refusal
from medloom.model import TokenStore
from medloom.train.data import Row, StreamRows, batch
from medloom.train.loader import AHEAD, Loader

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


def corpus(documents: str = "apart") -> StreamRows:
    lengths = np.random.default_rng(1).integers(0, 40, 100)
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    store = TokenStore(np.arange(offsets[-1], dtype=np.int32), offsets, None)
    return StreamRows(store, np.random.default_rng(2).permutation(100), 16, documents)  # type: ignore[arg-type]


class Slow:
    """Rows of a corpus that take `seconds` each; `read` lists those that were asked for, and row `broken` cannot be read."""

    def __init__(self, seconds: float = 0.0, broken: int = -1) -> None:
        self.rows, self.seconds, self.broken = corpus(), seconds, broken
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        self.read.append(number)
        time.sleep(self.seconds)
        if number == self.broken:
            raise Refusal(f"row {number} is gone")
        return self.rows[number]


@pytest.mark.parametrize("documents", ["apart", "together"])
@pytest.mark.parametrize(("start", "rank", "ranks"), [(0, 0, 1), (5, 0, 1), (3, 1, 2), (7, 3, 4)])
def test_it_gives_the_batches_of_its_rank_from_any_step(documents: str, start: int, rank: int, ranks: int) -> None:
    rows = corpus(documents)
    steps = -(-len(rows) // 8)
    found = list(Loader(rows, size=8, vocab_size=5000, start=start, steps=steps, rank=rank, ranks=ranks, device=CPU))
    assert len(found) == steps - start > 0
    for step, loaded in enumerate(found, start):
        wanted = batch(rows, step, 8, 5000, rank, ranks)
        for name in ("inputs", "positions", "segments", "targets", "counted"):
            mine, theirs = getattr(loaded, name), getattr(wanted, name)
            assert (mine is None and theirs is None) or np.array_equal(mine.numpy(), theirs), name
        assert loaded.tokens == wanted.tokens
        first = loaded.on(CPU, slice(0, 1))
        assert torch.equal(first["inputs"], loaded.inputs[:1]) and ("segments" in first) == (documents == "apart")


def test_it_works_ahead_but_not_far_and_tells_what_was_waited_for() -> None:
    rows = Slow(0.05)
    with Loader(rows, size=1, vocab_size=5000, start=0, steps=len(rows), device=CPU) as loader:
        next(loader)
        assert loader.waited > 0.04
        time.sleep(1)
        # The one that was taken, those that lie ready, and none beyond.
        assert rows.read == list(range(1 + AHEAD))
        before = loader.waited
        for _ in range(AHEAD):
            next(loader)
        assert loader.waited - before < AHEAD * 0.05 / 2


def test_an_error_is_raised_at_its_step() -> None:
    loader = Loader(Slow(broken=9), size=4, vocab_size=5000, start=0, steps=9, device=CPU)
    next(loader), next(loader)
    with pytest.raises(Refusal, match="row 9 is gone"):
        next(loader)
    with pytest.raises(StopIteration):
        next(loader)


def test_what_is_left_unread_is_not_read_after_it_is_closed() -> None:
    rows = Slow(0.02)
    with Loader(rows, size=1, vocab_size=5000, start=0, steps=len(rows), device=CPU) as loader:
        next(loader)
    read = len(rows.read)
    time.sleep(0.1)
    assert len(rows.read) == read <= 2 + AHEAD
    assert list(loader) == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA accelerator")
def test_batches_for_cuda_lie_in_pinned_memory() -> None:
    with Loader(corpus(), size=4, vocab_size=5000, start=0, steps=2, device=torch.device("cuda")) as loader:
        loaded = next(loader)
        assert loaded.inputs.is_pinned() and loaded.part(slice(0, 2), torch.device("cuda"))[0].is_cuda

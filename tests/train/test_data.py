"""Rows: every token is a target exactly once, no loss crosses a document, and order depends on nothing but the files."""

from __future__ import annotations

import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model import TokenStore
from medloom.train.data import PADDING, StreamRows, WholeRows, batch, in_epochs, interleaved


def store(lengths: list[int], mask: list[int] | None = None) -> TokenStore:
    """Documents whose tokens are numbered throughout, so that each token says where it came from."""
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return TokenStore(np.arange(offsets[-1], dtype=np.int32), offsets, None if mask is None else np.asarray(mask, np.uint8))


@pytest.mark.parametrize("length", [1, 3, 7, 16, 100])
def test_a_stream_is_the_documents_end_to_end(length: int) -> None:
    documents = store([5, 1, 9, 4, 0, 12])
    order = np.array([3, 0, 5, 4, 1, 3, 3, 2])
    rows = StreamRows(documents, order, length)
    text = np.concatenate([documents[i] for i in order])
    place = np.repeat(np.arange(len(order)), documents.lengths[order])
    targets = []
    for number in range(len(rows)):
        row = rows[number]
        expected = text[number * length : number * length + length + 1]
        assert row.tokens.tolist() == [*expected.tolist(), *[0] * (length + 1 - len(expected))]
        assert row.segments[: len(expected)].tolist() == place[number * length :][: len(expected)].tolist()
        targets += row.tokens[1:][row.counted].tolist()
    # Each token but the first of its document is learned once, in order.
    assert targets == [token for i in order for token in documents[i][1:].tolist()]


def test_masks_decide_what_is_learned() -> None:
    row = StreamRows(store([4, 3], [0, 0, 1, 1, 1, 0, 1]), np.array([0, 1]), 6)[0]
    assert row.counted.tolist() == [False, True, True, False, False, True]


def test_whole_rows_cut_nothing_that_fits() -> None:
    documents = store([4, 4, 3, 12, 1, 8])
    order = np.array([0, 1, 2, 3, 4, 5])
    rows = WholeRows(documents, order, 8)
    assert [[int(s) for s in np.unique(rows[r].segments) if s != PADDING] for r in range(len(rows))] == [[0, 1], [2], [3], [4, 5]]
    assert rows[2].tokens.tolist() == documents[3][-9:].tolist() and rows.truncated == 1
    assert sum(int(rows[r].counted.sum()) for r in range(len(rows))) == 3 + 3 + 2 + 8 + 0 + 7


def test_the_last_batch_is_padded_and_padding_counts_for_nothing() -> None:
    rows = StreamRows(store([21]), np.array([0]), 8)
    last = batch(rows, 1, 2, 100)
    assert last.inputs.shape == (2, 8) and last.counted.sum(axis=1).tolist() == [4, 0]
    with pytest.raises(Refusal, match="token 20 and the model's vocabulary ends at 19"):
        batch(rows, 1, 2, 20)


def test_epochs_hold_each_once_in_orders_of_their_own() -> None:
    names = [f"q{i}" for i in range(50)]
    places = in_epochs(names, 125, seed=1).tolist()
    assert sorted(places[:50]) == sorted(places[50:100]) == list(range(50)) and len(set(places[100:])) == 25
    assert places[:50] != places[50:100] and places != in_epochs(names, 125, seed=2).tolist()
    # The order is the identifiers', not their places'.
    turned = in_epochs(names[::-1], 125, seed=1)
    assert [names[i] for i in places] == [names[::-1][i] for i in turned]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_replay_is_its_share_of_the_rows_and_evenly_spread(share: float) -> None:
    own, other = StreamRows(store([801]), np.array([0]), 8), StreamRows(store([2000]), np.array([0]), 16)
    mixed = interleaved(own, other, share, seed=1)
    replayed = [len(mixed[i].tokens) == 17 for i in range(len(mixed))]
    assert abs(sum(replayed) / len(mixed) - share) < 0.01
    half = len(mixed) // 2
    assert abs(sum(replayed[:half]) - sum(replayed[half:])) <= 1
    assert [mixed[i].tokens[0] for i in range(len(mixed)) if not replayed[i]] == list(range(0, 800, 8))

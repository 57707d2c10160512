"""Rows: every token is a target exactly once, no loss crosses a document, and order depends on nothing but the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model import TokenStore, TokenStoreWriter
from medloom.train.data import PADDING, Row, StreamRows, WholeRows, batch, check_tokens, in_epochs, interleaved, open_corpus


class Numbered:
    """Rows of one token each, their own number."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Row:
        if not 0 <= number < self.count:
            raise IndexError(number)
        return Row(np.full(3, number), np.zeros(3, np.int64), np.ones(3, np.bool_), 3)


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


@pytest.mark.parametrize("length", [1, 3, 7, 16, 100])
def test_together_the_row_is_one_text(length: int) -> None:
    """The plain form: the stream cut into rows, each position learned from all before it, ends of documents or not."""
    documents = store([5, 1, 9, 4, 0, 12])
    order = np.array([3, 0, 5, 4, 1, 3, 3, 2])
    text = np.concatenate([documents[i] for i in order]).tolist()
    rows = StreamRows(documents, order, length, "together")
    data = batch(rows, 0, len(rows) + 1, 100)
    assert data.segments is None and data.tokens == len(text) - ((len(text) - 1) % length == 0)
    assert data.targets[data.counted].tolist() == text[1:]
    assert (data.positions == np.arange(length)).all()


def test_positions_start_anew_with_each_document_and_each_row() -> None:
    rows = StreamRows(store([5, 1, 9]), np.array([0, 1, 2]), 8)
    data = batch(rows, 0, 3, 100)
    assert data.positions.tolist() == [[0, 1, 2, 3, 4, 0, 0, 1], [0, 1, 2, 3, 4, 5, 6, 0], [0, 1, 2, 3, 4, 5, 6, 7]]
    assert data.tokens == 15
    whole = batch(WholeRows(store([3, 4, 9]), np.array([0, 1, 2]), 8), 0, 2, 100)
    assert whole.positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 0], list(range(8))]


@pytest.mark.parametrize("count", [64, 61])
def test_the_order_of_samples_is_the_same_for_any_number_of_ranks(count: int) -> None:
    rows = Numbered(count)
    orders = []
    for ranks in (1, 2, 4):
        steps = [np.concatenate([batch(rows, step, 8, count, rank, ranks).inputs[:, 0] for rank in range(ranks)]) for step in range(8)]
        orders.append(np.concatenate(steps).tolist())
    assert orders[0] == orders[1] == orders[2] == [*range(count), *[0] * (64 - count)]
    assert not batch(rows, 7, 8, count, 3, 4).counted.any() or count == 64
    with pytest.raises(Refusal, match="batch = 8 rows cannot be shared evenly by 3 ranks"):
        batch(rows, 0, 8, count, 0, 3)


def write(folder: Path, documents: list[list[int]], order: object) -> Path:
    with TokenStoreWriter(folder / "train", 100) as writer:
        for ids in documents:
            writer.add(ids)
    np.save(folder / "order.npy", np.asarray(order))
    return folder


def test_bad_corpora_are_refused_before_the_first_step(tmp_path: Path) -> None:
    good = [[1, 2, 3], [4, 5], [6, 7, 99, 9]]
    rows = open_corpus(write(tmp_path, good, [2, 0, 1]), 4, vocab_size=100)
    assert batch(rows, 0, 2, 100).inputs[0].tolist() == [6, 7, 99, 9]
    with pytest.raises(Refusal, match=r"train\.bin: document 2 holds token 99 and the model's vocabulary ends at 98"):
        open_corpus(tmp_path, 4, vocab_size=99)
    for order, says in (([0, 3], "names document 3 and train.idx has 3"), ([0, -1, 1], "names document -1 and"),
                        ([0.0, 1.0], r"\[2\] of float64 where"), ([[0], [1]], r"\[2, 1\] of int64 where")):
        np.save(tmp_path / "order.npy", np.asarray(order))
        with pytest.raises(Refusal, match=says):
            open_corpus(tmp_path, 4)
    write(tmp_path, good, [0])
    for name, cut, says in (("order.npy", 3, "not a whole NumPy file"), ("train.bin", 1, "cut short"), ("train.idx", 5, "cut short"),
                            ("train.idx", None, "no such file"), ("order.npy", None, "no such file")):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink() if cut is None else (tmp_path / name).write_bytes(whole[:-cut])
        with pytest.raises(Refusal, match=rf"{name}: .*{says}"):
            open_corpus(tmp_path, 4)
        (tmp_path / name).write_bytes(whole)
    index = (tmp_path / "train.idx").read_bytes()
    write(tmp_path, [*good, [1]], [0])
    (tmp_path / "train.idx").write_bytes(index)
    with pytest.raises(Refusal, match=r"train\.bin: 20 bytes where its index announces 18"):
        open_corpus(tmp_path, 4)


def test_the_document_of_a_bad_token_is_found_far_into_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloom.train.data.SCANNED", 7)
    lengths = [3, 0, 4, 1, 0, 0, 9, 2]
    for place in range(19):
        tokens = np.zeros(19, np.int32)
        tokens[place] = 50
        documents = TokenStore(tokens, store(lengths).offsets, None)
        check_tokens(documents, 51, tmp_path)
        with pytest.raises(Refusal, match=f"document {np.repeat(np.arange(8), lengths)[place]} holds token 50"):
            check_tokens(documents, 50, tmp_path)


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

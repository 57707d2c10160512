"""Token stores: Megatron's bytes, the masks beside them, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model import TokenStore, TokenStoreWriter


@pytest.mark.parametrize(("vocabulary", "code", "size"), [(32000, 8, 2), (65499, 8, 2), (65500, 4, 4), (128256, 4, 4)])
def test_bytes_are_megatrons(tmp_path: Path, vocabulary: int, code: int, size: int) -> None:
    with TokenStoreWriter(tmp_path / "train", vocabulary) as writer:
        writer.add([1, 5, 2])
        writer.add(np.array([vocabulary - 1]))
    expected = b"MMIDIDX\x00\x00" + struct.pack("<QBQQ2i2q3q", 1, code, 2, 3, 3, 1, 0, 3 * size, 0, 1, 2)
    assert (tmp_path / "train.idx").read_bytes() == expected
    assert (tmp_path / "train.bin").read_bytes() == struct.pack("<4H" if size == 2 else "<4i", 1, 5, 2, vocabulary - 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.bin", "train.idx"]


def test_reads_back_with_masks_and_appends(tmp_path: Path) -> None:
    with TokenStoreWriter(tmp_path / "a", 100) as writer:
        writer.add([1, 2, 3], [0, 0, 1])
        writer.add([])
        writer.add([4])
    a = TokenStore.open(tmp_path / "a")
    assert a.tokens.tolist() == [1, 2, 3, 4] and a.offsets.tolist() == [0, 3, 3, 4] and a.lengths.tolist() == [3, 0, 1]
    assert a.mask is not None and a.mask.tolist() == [0, 0, 1, 1]
    with TokenStoreWriter(tmp_path / "b", 100) as writer:
        writer.append(a)
        writer.append(a)
    b = TokenStore.open(tmp_path / "b")
    assert len(b) == 6 and b[3].tolist() == [1, 2, 3] and b.mask is not None and b.mask.tolist() == [0, 0, 1, 1] * 2


def test_an_empty_store(tmp_path: Path) -> None:
    with TokenStoreWriter(tmp_path / "a", 100):
        pass
    assert len(TokenStore.open(tmp_path / "a")) == 0


def test_a_document_of_several_sequences(tmp_path: Path) -> None:
    (tmp_path / "m.bin").write_bytes(struct.pack("<5H", *range(5)))
    (tmp_path / "m.idx").write_bytes(b"MMIDIDX\x00\x00" + struct.pack("<QBQQ3i3q3q", 1, 8, 3, 3, 2, 1, 2, 0, 4, 6, 0, 2, 3))
    assert [document.tolist() for document in TokenStore.open(tmp_path / "m")] == [[0, 1, 2], [3, 4]]


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="token 100, beyond the vocabulary of 100"), TokenStoreWriter(tmp_path / "a", 100) as writer:
        writer.add([5], [1])
        writer.add([100])
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no such file"):
        TokenStore.open(tmp_path / "a")
    with TokenStoreWriter(tmp_path / "a", 100) as writer:
        writer.add([1, 2, 3], [0, 1, 1])
    for ending, match in ((".mask", "tokens"), (".bin", "cut short"), (".idx", "cut short")):
        path = tmp_path / f"a{ending}"
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(Refusal, match=match):
            TokenStore.open(tmp_path / "a")
    (tmp_path / "a.idx").write_bytes(b"something else")
    with pytest.raises(Refusal, match="not a Megatron index"):
        TokenStore.open(tmp_path / "a")

"""Token stores: Megatron's bytes, the masks beside them, and what is refused."""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model import TokenStore, TokenStoreWriter, load_tokenizer, tokens


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


def fields(prefix: Path) -> tuple[list[int], list[int], list[int], list[list[int]]]:
    """Megatron's two files read number by number, as its description says: version, type, sequences and documents; lengths; pointers."""
    index, ids = Path(f"{prefix}.idx").read_bytes(), Path(f"{prefix}.bin").read_bytes()
    assert index[:9] == b"MMIDIDX\0\0"
    (version,), kind, (sequences,), (documents,) = (struct.unpack("<Q", index[9:17]), index[17], struct.unpack("<Q", index[18:26]),
                                                    struct.unpack("<Q", index[26:34]))
    place, columns = 34, []
    for letter, size, count in (("i", 4, sequences), ("q", 8, sequences), ("q", 8, documents)):
        columns.append(list(struct.unpack(f"<{count}{letter}", index[place : place + size * count])))
        place += size * count
    assert place == len(index) and columns[2] == list(range(documents))
    letter, size = {8: ("H", 2), 4: ("i", 4)}[kind]
    found = [list(struct.unpack(f"<{count}{letter}", ids[start : start + size * count])) for count, start in zip(*columns[:2], strict=True)]
    return [version, kind, sequences, documents], columns[0], columns[1], found


@pytest.mark.parametrize(("name", "kind"), [("llama2", 8), ("llama3", 4)])
def test_real_text_parsed_field_by_field(shared: Path, tmp_path: Path, name: str, kind: int) -> None:
    tokenizer = load_tokenizer(shared / "tokenizers" / name)
    texts = next((shared / "corpus/general/books").glob("*.md")).read_text(encoding="utf-8")[:60_000].split("\n\n")
    documents = tokenizer.encode_documents([*texts, ""])
    with TokenStoreWriter(tmp_path / "train", tokenizer.vocab_size) as writer:
        for ids in documents:
            writer.add(ids)
    head, lengths, pointers, found = fields(tmp_path / "train")
    assert head == [1, kind, len(documents), len(documents) + 1]
    assert found == [ids.tolist() for ids in documents] and lengths == [len(ids) for ids in found]
    assert pointers[-1] + lengths[-1] * {8: 2, 4: 4}[kind] == (tmp_path / "train.bin").stat().st_size
    assert "\n\n".join(tokenizer.decode(ids) for ids in found[:-1]) == "\n\n".join(texts)


def test_a_mask_covers_what_came_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "BLOCK", 2)  # documents lie across blocks
    for name, mask in (("plain", None), ("masked", [0, 1, 0])):
        with TokenStoreWriter(tmp_path / name, 100) as writer:
            writer.add([7, 8, 9, 10, 11])
            writer.add([])
            writer.add([1, 2, 3], mask)
    assert TokenStore.open(tmp_path / "plain").mask is None
    with TokenStoreWriter(tmp_path / "both", 100) as writer:
        for name in ("plain", "masked", "plain"):
            writer.append(TokenStore.open(tmp_path / name))
    store = TokenStore.open(tmp_path / "both")
    assert [store[n].tolist() for n in range(len(store))] == [[7, 8, 9, 10, 11], [], [1, 2, 3]] * 3
    assert store.mask is not None and store.mask.tolist() == [1] * 8 + [1] * 5 + [0, 1, 0] + [1] * 8
    with pytest.raises(ValueError, match="a mask of 1 for 2"), TokenStoreWriter(tmp_path / "c", 100) as writer:
        writer.add([1, 2], [1])
    with TokenStoreWriter(tmp_path / "both", 100) as writer:
        writer.add([5])
    assert TokenStore.open(tmp_path / "both").mask is None, "a mask of an older store does not stay"


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_full_disk_leaves_the_old_store(tmp_path: Path, size: int) -> None:
    """Both where the last of it is written on closing, and where it fails half-way."""
    with TokenStoreWriter(tmp_path / "a", 100) as writer:
        writer.add([1, 2, 3], [1, 0, 1])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(OSError, match="File too large"), TokenStoreWriter(tmp_path / "a", 100) as writer:
            writer.add(np.ones(size, np.int32), np.ones(size, np.int32))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_killed_writer_leaves_the_old_store(tmp_path: Path) -> None:
    with TokenStoreWriter(tmp_path / "a", 100) as writer:
        writer.add([1, 2, 3])
    code = ("import os, sys; from pathlib import Path; from medloom.model.tokens import TokenStoreWriter\n"
            "with TokenStoreWriter(Path(sys.argv[1]), 100) as writer:\n"
            "    writer.add([5] * 3_000_000, [1] * 3_000_000)\n    os.kill(os.getpid(), 9)")
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False).returncode == -9
    store = TokenStore.open(tmp_path / "a")
    assert store.tokens.tolist() == [1, 2, 3] and store.mask is None


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
    good = b"MMIDIDX\0\0" + struct.pack("<QBQQ2i2q3q", 1, 8, 2, 3, 1, 2, 0, 2, 0, 1, 2)
    (tmp_path / "b.bin").write_bytes(bytes(6))
    for place, value, match in ((34, -1, "follow one another"), (50, 4, "follow one another"), (58, 1, "documents"), (74, 3, "documents")):
        (tmp_path / "b.idx").write_bytes(good)
        assert TokenStore.open(tmp_path / "b").lengths.tolist() == [1, 2]
        (tmp_path / "b.idx").write_bytes(good[:place] + struct.pack("<i", value) + good[place + 4 :])
        with pytest.raises(Refusal, match=match):
            TokenStore.open(tmp_path / "b")
    (tmp_path / "a.idx").write_bytes(b"something else")
    with pytest.raises(Refusal, match="not a Megatron index"):
        TokenStore.open(tmp_path / "a")

"""Token ids on disk, document by document: Megatron's indexed form, read by memory map.

`PREFIX.bin` holds the ids one after the other (uint16 where the vocabulary is below 65,500, else int32), `PREFIX.idx` where
each document begins; Megatron-LM reads and writes the same files. `PREFIX.mask`, ours, holds one byte per token: 1
where it counts in the loss, 0 where it is only read; without it every token counts.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..ledger.files import atomic

MAGIC = b"MMIDIDX\x00\x00"
HEAD = 34  # bytes: the magic, then version (u64), number type (u8), sequences (u64), documents and one (u64)
BLOCK = 1 << 20  # tokens copied at a time from store to store
DTYPES: dict[int, type[np.generic]] = {1: np.uint8, 2: np.int8, 3: np.int16, 4: np.int32, 5: np.int64, 8: np.uint16}
UINT16_BELOW = 65_500  # Megatron's bound for two-byte ids


class TokenStore:
    """A store opened for reading.

    `tokens` is the memory map of all ids, `offsets` (int64, documents + 1) where each document begins and the last
    ends, `lengths` their sizes, `mask` the memory map of counted tokens or None.
    """

    def __init__(self, tokens: NDArray[Any], offsets: NDArray[np.int64], mask: NDArray[np.uint8] | None) -> None:
        self.tokens, self.offsets, self.mask = tokens, offsets, mask

    @classmethod
    def open(cls, prefix: Path) -> TokenStore:
        """Open PREFIX.bin and PREFIX.idx. Raises Refusal where a file is missing, is of another form, or is cut short."""
        index_path, bin_path, mask_path = (_beside(prefix, ending) for ending in (".idx", ".bin", ".mask"))
        for path in (index_path, bin_path):
            if not path.is_file():
                raise Refusal(f"{path}: no such file; a token store is a .bin and its .idx: tokenise the corpus again")
        with index_path.open("rb") as stream:
            head = stream.read(HEAD)
        if not head.startswith(MAGIC) or len(head) < HEAD:
            raise Refusal(f"{index_path}: not a Megatron index (it does not begin with MMIDIDX)")
        version, code, sequences, documents = struct.unpack_from("<QBQQ", head, len(MAGIC))
        if version != 1 or code not in DTYPES:
            raise Refusal(f"{index_path}: Megatron index version {version} with number type {code}; known: version 1, integers")
        size, announced = index_path.stat().st_size, HEAD + 12 * sequences + 8 * documents
        if size != announced:
            raise Refusal(f"{index_path}: {size} bytes where {announced} were announced; the file is cut short: tokenise the corpus again")
        dtype = np.dtype(DTYPES[code])
        lengths = np.fromfile(index_path, "<i4", sequences, offset=HEAD)
        starts = np.fromfile(index_path, "<i8", sequences, offset=HEAD + 4 * sequences)
        firsts = np.fromfile(index_path, "<i8", documents, offset=HEAD + 12 * sequences)
        ends = np.zeros(sequences + 1, np.int64)
        np.cumsum(lengths, out=ends[1:])
        if (lengths < 0).any() or not np.array_equal(starts, ends[:-1] * dtype.itemsize):
            raise Refusal(f"{index_path}: its sequences do not follow one another in the .bin; tokenise the corpus again")
        if not documents or firsts[0] != 0 or firsts[-1] != sequences or (np.diff(firsts) < 0).any():
            raise Refusal(f"{index_path}: its documents do not cover its {sequences} sequences in order; tokenise the corpus again")
        offsets = ends[firsts]
        if bin_path.stat().st_size != ends[-1] * dtype.itemsize:
            raise Refusal(f"{bin_path}: {bin_path.stat().st_size} bytes where its index announces {ends[-1] * dtype.itemsize}; "
                          "the file is cut short: tokenise the corpus again")
        tokens = np.memmap(bin_path, dtype, "r") if ends[-1] else np.zeros(0, dtype)
        mask = None
        if mask_path.exists():
            if mask_path.stat().st_size != ends[-1]:
                raise Refusal(f"{mask_path}: {mask_path.stat().st_size} bytes where the store has {ends[-1]} tokens; tokenise again")
            mask = np.memmap(mask_path, np.uint8, "r") if ends[-1] else np.zeros(0, np.uint8)
        return cls(tokens, offsets, mask)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each document."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, document: int) -> NDArray[Any]:
        return self.tokens[self.offsets[document] : self.offsets[document + 1]]


class TokenStoreWriter:
    """Writes a store; a context manager. The files appear when the block ends without an error, the index last.

    Memory: 4 bytes a document. Raises Refusal for an id outside the vocabulary.
    """

    def __init__(self, prefix: Path, vocab_size: int) -> None:
        self._prefix, self._vocab_size = prefix, vocab_size
        self._dtype = np.dtype(np.uint16 if vocab_size < UINT16_BELOW else np.int32)
        self._lengths = array("i")  # 4 bytes each: a corpus has tens of millions
        self._tokens = 0

    def __enter__(self) -> TokenStoreWriter:
        self._files, self._streams = ExitStack(), ExitStack()
        # Left in reverse order: the index is renamed last and vouches for the rest.
        self._index = self._files.enter_context(atomic(_beside(self._prefix, ".idx")))
        self._index.touch()
        self._ids_out = self._stream(".bin")
        self._mask_out: BinaryIO | None = None
        return self

    def _stream(self, ending: str) -> BinaryIO:
        temporary = self._files.enter_context(atomic(_beside(self._prefix, ending)))
        return self._streams.enter_context(temporary.open("wb", BLOCK))

    def add(self, ids: Sequence[int] | NDArray[Any], mask: Sequence[int] | NDArray[Any] | None = None) -> None:
        """Append a document: its ids and, where some are not to be learned, one 0 or 1 for each."""
        tokens = np.asarray(ids)
        self._write(tokens, None if mask is None else np.asarray(mask))
        self._lengths.append(tokens.size)

    def append(self, store: TokenStore) -> None:
        """Append all documents of another store."""
        for start in range(int(store.offsets[0]), int(store.offsets[-1]), BLOCK):
            block = slice(start, min(start + BLOCK, int(store.offsets[-1])))
            self._write(store.tokens[block], None if store.mask is None else store.mask[block])
        self._lengths.frombytes(store.lengths.astype(np.int32).tobytes())

    def _write(self, tokens: NDArray[Any], mask: NDArray[Any] | None) -> None:
        if mask is not None and mask.size != tokens.size:
            raise ValueError(f"a mask of {mask.size} for {tokens.size} tokens")
        if tokens.size and (np.minimum.reduce(tokens) < 0 or np.maximum.reduce(tokens) >= self._vocab_size):
            outside = next(int(token) for token in tokens if not 0 <= token < self._vocab_size)
            raise Refusal(f"{self._prefix}: document {len(self._lengths)} or one added with it has token {outside}, beyond the vocabulary "
                          f"of {self._vocab_size}; the tokenizer is another one than the model's")
        if mask is not None and self._mask_out is None:
            self._mask_out = self._stream(".mask")
            for start in range(0, self._tokens, BLOCK):
                self._mask_out.write(b"\1" * min(BLOCK, self._tokens - start))
        if self._mask_out is not None:
            flags = np.ones(tokens.size, np.uint8) if mask is None else mask.astype(np.uint8)
            self._mask_out.write(flags.data)
        self._ids_out.write(np.ascontiguousarray(tokens, self._dtype).data)
        self._tokens += tokens.size

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            with suppress(OSError):  # a disk that is full stays full
                self._streams.close()
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            self._streams.close()
            self._write_index()
            # From here to the last rename an old store under this name is no longer one: its index would vouch for other files.
            _beside(self._prefix, ".idx").unlink(missing_ok=True)
            if self._mask_out is None:
                _beside(self._prefix, ".mask").unlink(missing_ok=True)

    def _write_index(self) -> None:
        lengths = np.frombuffer(self._lengths, np.int32)
        starts = (np.cumsum(lengths, dtype=np.int64) - lengths) * self._dtype.itemsize
        code = next(code for code, dtype in DTYPES.items() if self._dtype == dtype)
        with self._index.open("wb") as stream:
            stream.write(MAGIC + struct.pack("<QBQQ", 1, code, lengths.size, lengths.size + 1))
            for part in (lengths, starts, np.arange(lengths.size + 1, dtype=np.int64)):
                stream.write(part.data)


def _beside(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)

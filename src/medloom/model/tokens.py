"""Token ids on disk, document by document: Megatron's indexed form, read by memory map.

`PREFIX.bin` holds the ids one after the other (uint16 where the vocabulary is below 65,500, else int32), `PREFIX.idx` where
each document begins; Megatron-LM reads and writes the same files. `PREFIX.mask`, ours, holds one byte per token: 1
where it counts in the loss, 0 where it is only read; without it every token counts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ledger import Refusal
from ..ledger.files import atomic

MAGIC = b"MMIDIDX\x00\x00"
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
        raw = index_path.read_bytes()
        if not raw.startswith(MAGIC) or len(raw) < 34:
            raise Refusal(f"{index_path}: not a Megatron index (it does not begin with MMIDIDX)")
        version, code, sequences, documents = struct.unpack_from("<QBQQ", raw, 9)
        if version != 1 or code not in DTYPES:
            raise Refusal(f"{index_path}: Megatron index version {version} with number type {code}; known: version 1, integers")
        if len(raw) != 34 + 12 * sequences + 8 * documents:
            raise Refusal(f"{index_path}: {len(raw)} bytes where {34 + 12 * sequences + 8 * documents} were announced; "
                          "the file is cut short: tokenise the corpus again")
        lengths = np.frombuffer(raw, np.int32, sequences, 34)
        ends = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        offsets = ends[np.frombuffer(raw, np.int64, documents, 34 + 12 * sequences)]
        dtype = np.dtype(DTYPES[code])
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
        self._lengths: list[int] = []
        self._masked = False

    def __enter__(self) -> TokenStoreWriter:
        self._files = ExitStack()
        # Left in reverse order: the mask is renamed first, the index last, so an index vouches for the rest.
        self._idx = self._files.enter_context(atomic(_beside(self._prefix, ".idx")))
        self._idx.touch()
        self._bin = self._files.enter_context(atomic(_beside(self._prefix, ".bin")))
        self._mask = _beside(self._prefix, ".mask")
        self._mask_part = self._mask.with_name(f".{self._mask.name}.part")
        self._tokens_out = self._files.enter_context(self._bin.open("wb"))
        self._mask_out = self._files.enter_context(self._mask_part.open("wb"))
        return self

    def add(self, ids: Sequence[int] | NDArray[Any], mask: Sequence[int] | NDArray[Any] | None = None) -> None:
        """Append a document: its ids and, where some are not to be learned, one 0 or 1 for each."""
        array = np.asarray(ids)
        if array.size and (array.min() < 0 or array.max() >= self._vocab_size):
            raise Refusal(f"{self._prefix}: document {len(self._lengths)} has token {int(array.max())}, beyond the vocabulary of "
                          f"{self._vocab_size}; the tokenizer is another one than the model's")
        self._tokens_out.write(array.astype(self._dtype).tobytes())
        flags = np.ones(array.size, np.uint8) if mask is None else np.asarray(mask).astype(np.uint8)
        if flags.size != array.size:
            raise ValueError(f"a mask of {flags.size} for {array.size} tokens")
        self._masked |= mask is not None
        self._mask_out.write(flags.tobytes())
        self._lengths.append(array.size)

    def append(self, store: TokenStore) -> None:
        """Append all documents of another store."""
        for document in range(len(store)):
            start, end = store.offsets[document : document + 2]
            self.add(store.tokens[start:end], None if store.mask is None else store.mask[start:end])

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if kind is None:
                self._tokens_out.close()
                self._mask_out.close()
                self._write_index()
                if self._masked:
                    self._mask_part.replace(self._mask)
                else:
                    self._mask.unlink(missing_ok=True)
            self._files.__exit__(kind, error, trace)
        finally:
            self._mask_part.unlink(missing_ok=True)

    def _write_index(self) -> None:
        lengths = np.asarray(self._lengths, np.int32)
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)[:-1])).astype(np.int64)[: lengths.size] * self._dtype.itemsize
        code = next(code for code, dtype in DTYPES.items() if self._dtype == dtype)
        with self._idx.open("wb") as stream:
            stream.write(MAGIC + struct.pack("<QBQQ", 1, code, lengths.size, lengths.size + 1))
            stream.write(lengths.tobytes() + starts.tobytes() + np.arange(lengths.size + 1, dtype=np.int64).tobytes())


def _beside(prefix: Path, ending: str) -> Path:
    return prefix.with_name(prefix.name + ending)

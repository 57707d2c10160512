"""ggml's quantisers, called in the shared object that `xllamacpp` ships: the only compiled ones on PyPI.

Its author promises these symbols to nobody, so they are looked for before use.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal


@cache
def shared_object(*symbols: str) -> ctypes.CDLL:
    """The shared object inside xllamacpp, with the named symbols known to be there. Raises Refusal where one is not."""
    try:
        import xllamacpp.xllamacpp as module
    except ImportError as error:
        raise Refusal(f"xllamacpp: cannot be loaded ({error}); install it with `pip install xllamacpp`") from None
    library = ctypes.CDLL(module.__file__)
    for symbol in symbols:
        if not hasattr(library, symbol):
            raise Refusal(f"xllamacpp {_version()}: has no {symbol} to call; install a version that exports it, such as 2026.10.11549")
    return library


def _version() -> str:
    from importlib.metadata import version

    return version("xllamacpp")


def quantise_rows(rows: NDArray[np.float32], type: Any, threads: int) -> NDArray[np.uint8]:
    """Quantise a matrix row by row. rows: [n, columns]; type: a gguf.GGMLQuantizationType; returns [n, bytes per row].

    Rows do not know of each other, so the number of threads does not change a byte.
    """
    library = shared_object("ggml_quantize_chunk", "ggml_quantize_init", "ggml_row_size")
    library.ggml_row_size.restype = library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_void_p]
    count, columns = rows.shape
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    out = np.empty((count, library.ggml_row_size(int(type), columns)), dtype=np.uint8)
    library.ggml_quantize_init(int(type))

    def part(bounds: tuple[int, int]) -> None:
        first, last = bounds
        written = library.ggml_quantize_chunk(int(type), rows.ctypes.data, out.ctypes.data, first * columns, last - first, columns, None)
        if written != (last - first) * out.shape[1]:
            raise RuntimeError(f"ggml wrote {written} bytes for {last - first} rows of {out.shape[1]}")

    step = max(1, -(-count // threads))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(part, [(first, min(first + step, count)) for first in range(0, count, step)]))
    return out

"""ggml's quantisers, called in the shared object that `xllamacpp` ships: the only compiled ones on PyPI.

Its author promises these symbols to nobody, so they are looked for before use. Where they are not there, the `gguf` package
writes the plain types, to the same bytes.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal

_SYMBOLS = ("ggml_quantize_chunk", "ggml_quantize_init", "ggml_row_size", "ggml_validate_row_data")
PLAIN = ("F16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")  # what gguf writes


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
            raise Refusal(f"xllamacpp {version('xllamacpp')}: has no {symbol} to call; install a version that exports it, "
                          "such as 2026.10.11549")
    return library


@cache
def _quantiser() -> ctypes.CDLL:
    library = shared_object(*_SYMBOLS)
    library.ggml_row_size.restype = library.ggml_quantize_chunk.restype = ctypes.c_size_t
    library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
    library.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64,
                                            ctypes.c_int64, ctypes.c_void_p]
    library.ggml_validate_row_data.restype = ctypes.c_bool
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    return library


def why_plain() -> str | None:
    """None where ggml's quantisers can be called; else what is wrong with xllamacpp, so that only PLAIN types can be written."""
    try:
        _quantiser()
    except Refusal as refusal:
        return str(refusal)
    return None


def quantise_rows(rows: NDArray[np.float32], type: Any, importance: NDArray[np.float32] | None = None) -> NDArray[np.uint8]:
    """Quantise a matrix row by row. rows: [n, columns]; type: a gguf.GGMLQuantizationType; returns [n, bytes per row].

    importance: the weight of each column's error, [columns]. Rows do not know of each other, and the interpreter is not held
    meanwhile: they may be divided among threads, which changes no byte. Raises ValueError where a scale has no finite 16-bit form.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    if why_plain():
        return _plain(rows, type)
    library, (count, columns) = _quantiser(), rows.shape
    out = np.empty((count, library.ggml_row_size(int(type), columns)), dtype=np.uint8)
    library.ggml_quantize_init(int(type))
    weights = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    if weights is not None and weights.shape != (columns,):
        raise ValueError(f"importance of shape {weights.shape} for {columns} columns")
    written = library.ggml_quantize_chunk(int(type), rows.ctypes.data, out.ctypes.data, 0, count, columns,
                                          None if weights is None else weights.ctypes.data)
    if written != out.size:
        raise RuntimeError(f"ggml wrote {written} bytes for {count} rows of {out.shape[1]}")
    if not library.ggml_validate_row_data(int(type), out.ctypes.data, out.size):
        raise ValueError("a weight is too large for 16-bit scales")
    return out


def _plain(rows: NDArray[np.float32], type: Any) -> NDArray[np.uint8]:
    import gguf

    return gguf.quants.quantize(rows, type).view(np.uint8)

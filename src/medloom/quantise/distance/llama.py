"""llama.cpp's logits for given token ids, through the C API in the shared object that `xllamacpp` ships.

Its server tells a distribution one position a request; llama_decode tells them all at once, unrounded. The structures
below are those of llama.cpp b11549; the defaults that it fills in are compared with the known ones before any use, so
that another layout is refused and not misread. Not a way to generate text: that is the server's work.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Refusal
from medloom.model.gguf_file import open_gguf

from ..coarse.ggml import shared_object

# Places of the settings in llama_context_params, counted in 32-bit words.
_CONTEXT, _BATCH, _MICRO_BATCH, _SEQUENCES, _OUTPUTS, _THREADS, _THREADS_BATCH = 0, 1, 2, 3, 6, 7, 8
_FLASH_ATTENTION, _CACHE_KEYS, _CACHE_VALUES = 13, 26, 27
_DEFAULTS = {_CONTEXT: 512, _BATCH: 2048, _MICRO_BATCH: 512, _SEQUENCES: 1, _OUTPUTS: 1, _THREADS: 4, _THREADS_BATCH: 4,
             _FLASH_ATTENTION: -1, _CACHE_KEYS: 1, _CACHE_VALUES: 1}
_CACHE_TYPES = {"f32": 0, "f16": 1}


class _Parameters(ctypes.Structure):
    """Settings passed by value. Longer than the real structure, which only its defaults and the words above are read of."""

    _fields_ = (("words", ctypes.c_int32 * 64),)


class _Batch(ctypes.Structure):
    """llama_batch: the tokens of one call, with their places, their sequences and whether their logits are wanted."""

    _fields_ = (("n_tokens", ctypes.c_int32), ("token", ctypes.POINTER(ctypes.c_int32)), ("embd", ctypes.c_void_p),
                ("pos", ctypes.POINTER(ctypes.c_int32)), ("n_seq_id", ctypes.POINTER(ctypes.c_int32)),
                ("seq_id", ctypes.POINTER(ctypes.POINTER(ctypes.c_int32))), ("logits", ctypes.POINTER(ctypes.c_int8)))


_Log = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_complaints: list[str] = []


def _listen(level: int, text: bytes, _: Any) -> None:
    if level >= 4:  # GGML_LOG_LEVEL_ERROR; the rest is chatter
        _complaints.append(text.decode(errors="replace").strip())


_listener = _Log(_listen)  # kept here, for llama.cpp keeps only its address


class Decoder:
    """A GGUF model held by llama.cpp, on the processor only. Use it in a `with` block.

    context: the longest sequence; cache: "f32" or "f16", the type of its cached keys and values.
    """

    def __init__(self, path: Path, *, context: int, threads: int = 1, cache: str = "f32") -> None:
        self._model = self._state = None
        open_gguf(path)
        self._library = library = _library()
        _complaints.clear()
        self._model = library.llama_model_load_from_file(str(path).encode(), library.llama_model_default_params())
        if not self._model:
            raise Refusal(f"{path}: llama.cpp cannot load it ({_last_complaint()}); export it again")
        self.vocabulary: int = library.llama_vocab_n_tokens(library.llama_model_get_vocab(self._model))
        self.context = context
        settings = library.llama_context_default_params()
        if any(settings.words[place] != value for place, value in _DEFAULTS.items()):
            raise Refusal("xllamacpp: its llama_context_params is laid out in another way than b11549's; install xllamacpp 2026.10.11549")
        wanted = {_CONTEXT: context, _BATCH: context, _MICRO_BATCH: min(512, context), _OUTPUTS: context, _THREADS: threads,
                  _THREADS_BATCH: threads, _FLASH_ATTENTION: 0, _CACHE_KEYS: _CACHE_TYPES[cache], _CACHE_VALUES: _CACHE_TYPES[cache]}
        for place, value in wanted.items():
            settings.words[place] = value
        self._state = library.llama_init_from_model(self._model, settings)
        if not self._state or library.llama_n_ctx(self._state) < context or library.llama_n_threads(self._state) != threads:
            raise Refusal(f"{path}: llama.cpp cannot hold {context} tokens of context ({_last_complaint()})")

    def logits(self, tokens: Sequence[int], after: int = 0) -> NDArray[np.float32]:
        """Scores of the token after each given one: [len(tokens), vocabulary], float32.

        The tokens go on behind the `after` that were read last; with 0 they stand alone.
        """
        count, library = len(tokens), self._library
        if not 0 < count <= self.context - after:
            raise ValueError(f"{count} tokens behind {after} for a context of {self.context}")
        if not after:
            library.llama_memory_clear(library.llama_get_memory(self._state), True)
        batch = library.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for i, token in enumerate(tokens):
                batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, after + i, 1, 1
                batch.seq_id[i][0] = 0
            if library.llama_decode(self._state, batch):
                raise RuntimeError(f"llama.cpp cannot read the {count} tokens: {_last_complaint()}")
            out = np.empty((count, self.vocabulary), dtype=np.float32)
            for i in range(count):
                row = library.llama_get_logits_ith(self._state, i)
                out[i] = np.ctypeslib.as_array(row, shape=(self.vocabulary,))
            return out
        finally:
            library.llama_batch_free(batch)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the model's memory back."""
        if self._state:
            self._library.llama_free(self._state)
        if self._model:
            self._library.llama_model_free(self._model)
        self._state = self._model = None

    def __del__(self) -> None:
        if getattr(self, "_library", None) is not None:
            self.close()


def _library() -> ctypes.CDLL:
    pointer = ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "llama_backend_init": (None, []),
        "llama_log_set": (None, [_Log, pointer]),
        "llama_model_default_params": (_Parameters, []),
        "llama_model_load_from_file": (pointer, [ctypes.c_char_p, _Parameters]),
        "llama_model_free": (None, [pointer]),
        "llama_model_get_vocab": (pointer, [pointer]),
        "llama_vocab_n_tokens": (ctypes.c_int32, [pointer]),
        "llama_context_default_params": (_Parameters, []),
        "llama_init_from_model": (pointer, [pointer, _Parameters]),
        "llama_free": (None, [pointer]),
        "llama_n_ctx": (ctypes.c_uint32, [pointer]),
        "llama_n_threads": (ctypes.c_int32, [pointer]),
        "llama_batch_init": (_Batch, [ctypes.c_int32, ctypes.c_int32, ctypes.c_int32]),
        "llama_batch_free": (None, [_Batch]),
        "llama_decode": (ctypes.c_int32, [pointer, _Batch]),
        "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [pointer, ctypes.c_int32]),
        "llama_get_memory": (pointer, [pointer]),
        "llama_memory_clear": (None, [pointer, ctypes.c_bool]),
    }
    library = shared_object(*signatures)
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    library.llama_log_set(_listener, None)
    library.llama_backend_init()
    return library


def _last_complaint() -> str:
    return _complaints[-1] if _complaints else "it does not say why"

"""A GGUF file of full weights made smaller: every matrix in the type that the mixture gives it, all else carried over.

It is read, quantised and written in pieces of some rows, a few more than there are threads at a time: memory does not grow with the model.
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal, Silent
from medloom.model.gguf_file import append, open_gguf, write_gguf
from medloom.model.gguf_head import ALIGNMENT, Head, TensorInfo, Value, head_bytes, padded, tensor_size

from .ggml import PLAIN, quantise_rows, why_plain
from .importance import Importance, read_importance
from .mixture import MIXTURES, NEEDS_IMPORTANCE, Network, tensor_type

PIECE = 1 << 20  # weights quantised at once by a thread
# By the numbers of F32, F16 and BF16; the last as its bits.
_FULL: dict[int, np.dtype[Any]] = {0: np.dtype("<f4"), 1: np.dtype("<f2"), 30: np.dtype("<u2")}


@dataclass(frozen=True)
class _Planned:
    """A tensor, the gguf type that it gets (its own where it is only carried over), and what its columns weigh."""

    info: TensorInfo
    type: Any
    size: int
    importance: NDArray[np.float32] | None

    @property
    def kept(self) -> bool:
        return int(self.type) == self.info.type


_Job = tuple[_Planned, int, int]  # with its first row, and that behind its last


def quantise(source: Path, out: Path, type: str, *, importance: Path | None = None, threads: int | None = None,
             progress: Progress | None = None) -> dict[str, Any]:
    """Quantise the GGUF file `source` (F32, F16 or BF16) to `out`; the same bytes whatever the number of threads, and llama.cpp's.

    type: a key of MIXTURES, such as "Q4_K_M". importance: a file of `collect_importance` or llama-imatrix, which IQ2 and IQ3_X types need.
    Returns {"type", "bytes", "tensors": how many of each ggml type, "written_by"}, with an importance matrix "weighted" as well: how many
    matrices it has a word on. Where xllamacpp has no quantisers to call, the `gguf` package writes the plain types, which
    "written_by" says; Q6_K outputs are Q8_0 then. Raises Refusal for a file that is none, is not of the llama architecture, is one of
    several parts, or is quantised already; for an importance matrix that is missing where it is needed, or of another model.
    """
    source, out = Path(source), Path(out)
    if type not in MIXTURES:
        raise Refusal(f"{type}: not a type that quantise knows; use one of {', '.join(MIXTURES)}")
    head = open_gguf(source)
    weights = None if importance is None else read_importance(importance)
    plan = _plan(source, head, type, weights)
    total = sum(planned.info.rows * planned.info.columns for planned in plan)
    threads = threads or len(os.sched_getaffinity(0))
    bar = (progress or Silent()).task(f"quantise {out.name}", total, "weights")
    pool = ThreadPoolExecutor(threads)
    with source.open("rb") as full, write_gguf(out) as stream, pool, bar as task:
        tensors = [(planned.info.name, planned.info.shape, planned.type) for planned in plan]
        append(stream, head_bytes(_pairs(head, type, weights), tensors))

        def work(job: _Job) -> NDArray[np.uint8]:
            planned, first, last = job
            try:
                return _encoded(full.fileno(), planned, first, last)
            except ValueError as error:
                raise Refusal(f"{source}: {planned.info.name}: {error}; export a sound model") from None

        for (planned, first, last), piece in _in_order(pool, work, _jobs(plan), threads + 1):
            append(stream, piece.reshape(-1).data)
            if last == planned.info.rows:
                append(stream, bytes(padded(planned.size, ALIGNMENT) - planned.size))
            task.advance((last - first) * planned.info.columns)
        size = stream.tell()
    figures = {"type": type, "bytes": size, "tensors": dict(sorted(Counter(planned.type.name for planned in plan).items())),
               "written_by": f"gguf {version('gguf')}" if why_plain() else f"xllamacpp {version('xllamacpp')}"}
    return figures if weights is None else figures | {"weighted": sum(planned.importance is not None for planned in plan)}


def _plan(source: Path, head: Head, mixture: str, weights: Importance | None) -> list[_Planned]:
    """What becomes of each tensor, in file order."""
    from gguf import GGMLQuantizationType

    network = _network(source, head)
    plain = why_plain()
    plan = []
    for info in head.tensors:
        if info.type not in _FULL:
            raise Refusal(f"{source}: {info.name} is {info.type_name} already; quantise from the F32, F16 or BF16 file")
        wanted = tensor_type(info.name, info.shape, mixture, network, weights is not None)
        if plain and wanted == "Q6_K" and MIXTURES[mixture].base in PLAIN:
            wanted = "Q8_0"
        if plain and wanted is not None and (wanted not in PLAIN or weights is not None):
            raise Refusal(f"{mixture}{' with an importance matrix' if weights else ''}: needs xllamacpp's quantisers ({plain}); "
                          f"without them only {', '.join(PLAIN[1:])} can be written, with no importance matrix")
        type = GGMLQuantizationType(info.type) if wanted is None else GGMLQuantizationType[wanted]
        columns = None if weights is None or wanted is None else _weighted(info, weights)
        if columns is None and wanted in NEEDS_IMPORTANCE and info.name not in ("token_embd.weight", "output.weight"):
            raise Refusal(f"{mixture}: {info.name} becomes {wanted}, which is garbage without an importance matrix"
                          + ("; collect one and give it with --imatrix" if weights is None else f", and {weights.path} has none for it"))
        plan.append(_Planned(info, type, tensor_size(info.shape, type), columns))
    return plan


def _network(source: Path, head: Head) -> Network:
    if head.value("general.architecture") != "llama":
        raise Refusal(f"{source}: architecture {head.value('general.architecture')}; only llama is known here")
    if (head.value("split.count") or 1) > 1:
        raise Refusal(f"{source}: one of {head.value('split.count')} parts; join them with `llama-gguf-split --merge`")
    if head.value("llama.expert_count"):
        raise Refusal(f"{source}: a mixture of experts; only dense models are known here")
    layers, heads = head.value("llama.block_count"), head.value("llama.attention.head_count")
    kv_heads = head.value("llama.attention.head_count_kv") or heads
    if not all(isinstance(number, int) and number > 0 for number in (layers, heads, kv_heads)):
        raise Refusal(f"{source}: does not tell its layers and heads as llama's files do; export it again")
    return Network(layers, heads, kv_heads, tied=all(info.name != "output.weight" for info in head.tensors))


def _weighted(info: TensorInfo, weights: Importance) -> NDArray[np.float32] | None:
    """The importance of a matrix's columns; the embedding, which is looked up and not multiplied, may have another size's."""
    found = weights.columns.get(info.name)
    if found is not None and len(found) != info.columns:
        if info.name == "token_embd.weight":
            return None
        raise Refusal(f"{weights.path}: {len(found)} columns for {info.name}, which has {info.columns}; it was collected on another model")
    return found


def _pairs(head: Head, mixture: str, weights: Importance | None) -> dict[str, Value | bytes]:
    """The metadata of the source, in its order, with the file's type and what llama.cpp notes of an importance matrix."""
    from gguf import LlamaFileType

    own: dict[str, Value] = {"general.quantization_version": 2, "general.file_type": int(LlamaFileType[f"MOSTLY_{mixture}"])}
    pairs = {key: value for key, value in {**head.pairs, **own}.items() if not key.startswith(("split.", "quantize.imatrix."))}
    if weights is not None:
        pairs["quantize.imatrix.file"] = weights.path.name
        if weights.datasets:
            pairs["quantize.imatrix.dataset"] = weights.datasets[0]
        pairs["quantize.imatrix.entries_count"] = len(weights.columns)
        if weights.chunks:
            pairs["quantize.imatrix.chunks_count"] = weights.chunks
    return pairs


def _jobs(plan: Iterable[_Planned]) -> Iterator[_Job]:
    for planned in plan:
        step = max(1, PIECE // planned.info.columns)
        for first in range(0, planned.info.rows, step):
            yield planned, first, min(first + step, planned.info.rows)


def _in_order(pool: ThreadPoolExecutor, work: Callable[[_Job], NDArray[np.uint8]], jobs: Iterable[_Job],
              ahead: int) -> Iterator[tuple[_Job, NDArray[np.uint8]]]:
    """Each job and its result, in order, while no more than `ahead` others are begun."""
    begun: deque[tuple[_Job, Future[NDArray[np.uint8]]]] = deque()
    for job in jobs:
        begun.append((job, pool.submit(work, job)))
        if len(begun) > ahead:
            done, result = begun.popleft()
            yield done, result.result()
    for done, result in begun:
        yield done, result.result()


def _encoded(descriptor: int, planned: _Planned, first: int, last: int) -> NDArray[np.uint8]:
    """Rows [first, last) of a tensor as they are written. Raises ValueError for weights that are not finite, or a file cut meanwhile."""
    info, stored = planned.info, _FULL[planned.info.type]
    start, size = info.start + first * info.columns * stored.itemsize, (last - first) * info.columns * stored.itemsize
    data = os.pread(descriptor, size, start)
    if len(data) != size:
        raise ValueError("the file ends before it")
    rows = np.frombuffer(data, dtype=stored).reshape(last - first, info.columns)
    full = (rows.astype(np.uint32) << 16).view(np.float32) if stored == np.uint16 else rows.astype(np.float32, copy=False)
    if not np.isfinite(full).all():
        raise ValueError("a weight is infinite or no number")
    return np.frombuffer(data, dtype=np.uint8) if planned.kept else quantise_rows(full, planned.type, planned.importance)

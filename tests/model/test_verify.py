"""Two folders held against each other: what is the same, what is not, and what a converter did to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from medloom.cli import app
from medloom.demo import SEEDLING
from medloom.ledger import Refusal
from medloom.model import Llama, ModelConfig, describe, load_model, save_model, verify_weights
from medloom.model.verify import _run
from medloom.quantise.full.export import interleave

QUERY, OUT, HEAD = "model.layers.1.self_attn.q_proj.weight", "model.layers.0.self_attn.o_proj.weight", "lm_head.weight"
CONFIG = ModelConfig(vocab_size=60, hidden_size=32, intermediate_size=48, layers=2, heads=4, kv_heads=2, max_positions=64)
Weights = dict[str, torch.Tensor]


@pytest.fixture
def a(tmp_path: Path) -> Path:
    model = Llama(CONFIG)
    model.initialise(3, std=0.2)
    save_model(model, tmp_path / "a", like=None, dtype="float32")
    return tmp_path / "a"


def changed(a: Path, change: Callable[[Weights], object]) -> Path:
    b = a.with_name("b")
    shutil.copytree(a, b)
    weights = load_file(a / "model.safetensors")
    change(weights)
    save_file({name: weight.contiguous() for name, weight in weights.items()}, b / "model.safetensors")
    return b


def test_layer_by_layer_gives_the_scores_of_the_whole(a: Path) -> None:
    tokens = torch.arange(50)[None]
    for folder in (a, SEEDLING):
        model = load_model(folder)
        with torch.no_grad():
            assert torch.allclose(_run(folder, model.config, tokens), model.logits(model(tokens)), atol=1e-5)


def test_a_copy_in_shards_is_the_same(a: Path) -> None:
    b = a.with_name("b")
    save_model(load_model(a), b, like=a, dtype="float32", shard_bytes=20_000)
    found = verify_weights(a, b)
    assert found.same and found.scores == 0 and found.argmax_agreement == 1 and len(found.tensors) == 21
    assert describe(found).endswith("\nthe same model")


def test_a_tied_head_that_was_written_out_is_no_difference(tmp_path: Path) -> None:
    b = tmp_path / "b"
    shutil.copytree(SEEDLING, b)
    weights = load_file(b / "model.safetensors")
    save_file({**weights, HEAD: weights["model.embed_tokens.weight"].clone()}, b / "model.safetensors")
    assert verify_weights(SEEDLING, b).same and verify_weights(b, SEEDLING).same


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_rounding_is_told_from_change(dtype: str, a: Path) -> None:
    b, c = a.with_name("b"), a.with_name("c")
    save_model(load_model(a), b, like=a, dtype=dtype)
    found = verify_weights(a, b)
    assert found.same and max(each.max_abs or 0 for each in found.tensors) > 0 and verify_weights(b, a).same
    weights = load_file(b / "model.safetensors")
    shutil.copytree(b, c)
    weights[QUERY][3, 5] *= 1 + 2 * torch.finfo(weights[QUERY].dtype).eps
    save_file(weights, c / "model.safetensors")
    for one, other in ((a, c), (b, c)):
        found = verify_weights(one, other)
        assert not found.same and [each.name for each in found.tensors if not each.same] == [QUERY] and found.tensors[0].beyond == 1


@pytest.mark.parametrize(("name", "change", "beyond", "hint"), [
    # Rows at the ends of a head keep their place, a matrix its diagonal.
    (QUERY, lambda w: w.update({QUERY: torch.from_numpy(interleave(w[QUERY].numpy(), 4))}), 4 * 6 * 32, "B has its rows in rotary pairs"),
    (OUT, lambda w: w.update({OUT: w[OUT].T}), 32 * 31, "transposed"),
    (HEAD, lambda w: w[HEAD][50:].zero_(), 10 * 32, "only rows from 50 on differ"),
    (OUT, lambda w: w[OUT].mul_(1.01), 32 * 32, None),
    (OUT, lambda w: w[OUT].fill_(float("nan")), 32 * 32, None),
])
def test_what_a_converter_did_is_named(name: str, change: Callable[[Weights], object], beyond: int, hint: str | None, a: Path) -> None:
    found = verify_weights(a, changed(a, change))
    assert not found.same and found.scores is not None and found.scores > 1e-3
    worst = found.tensors[0]
    assert worst.name == name and [each.name for each in found.tensors if not each.same] == [name]
    assert worst.beyond == beyond and (worst.hint is None if hint is None else hint in (worst.hint or ""))
    assert json.dumps([worst.max_abs, worst.relative], allow_nan=False)


def test_padding_left_in_is_named(a: Path) -> None:
    model, b = Llama(CONFIG.padded(64)), a.with_name("b")
    with torch.no_grad():
        for name, weight in load_model(a).named_parameters():
            dict(model.named_parameters())[name][:weight.shape[0]] = weight
    save_model(model, b, like=a, dtype="float32")
    found = verify_weights(a, b)
    assert not found.same and found.config == {"vocab_size": (60, 64)} and found.scores == 0
    apart = [each for each in found.tensors if not each.same]
    assert len(apart) == 2 and all(each.max_abs == 0 and "B has 4 more rows" in (each.hint or "") for each in apart)


def test_configurations_and_names(a: Path) -> None:
    b = changed(a, lambda weights: weights.pop(QUERY))
    path = b / "config.json"
    path.write_text(path.read_text().replace("10000.0", "20000.0"))
    found = verify_weights(a, b)
    assert not found.same and found.only_a == (QUERY,) and found.config == {"rope_theta": (10_000.0, 20_000.0)} and found.scores is None
    shutil.copyfile(a / "model.safetensors", b / "model.safetensors")
    found = verify_weights(a, b)
    assert not found.same and all(each.same for each in found.tensors) and (found.scores or 0) > 1e-2
    path.unlink()
    with pytest.raises(Refusal, match="no such file"):
        verify_weights(a, b)


def test_the_verb_and_its_exit_codes(a: Path) -> None:
    def verb(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["verify-weights", *words])
        return result.exit_code if not isinstance(result.exception, Refusal) else 2, result.stdout

    code, text = verb(str(SEEDLING), str(SEEDLING), "--quiet")
    assert code == 0 and "the same model" in text
    b = changed(a, lambda weights: weights[QUERY].add_(0.1))
    code, text = verb(str(a), str(b), "--quiet", "--json")
    report = json.loads(text)
    assert code == 1 and report["same"] is False and report["tensors"][0]["name"] == QUERY
    assert report["tensors"][0]["max_abs"] == pytest.approx(0.1, rel=1e-5) and len(report["tensors"]) == 21
    code, text = verb(str(a), str(b), "--quiet")
    assert code == 1 and QUERY in text and text.rstrip().endswith("not the same model")
    assert verb(str(a), str(a / "nowhere"))[0] == 2 and verb(str(a), str(a.parent))[0] == 2

"""Adapters: what they compute, held against peft; the same under sharding, compilation and autocast; merged, resumed, refused."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint import FileSystemReader

from medloom.ledger import Refusal, Silent
from medloom.model import Llama, is_adapter, load_model
from medloom.recipe import Finetuning, Lora
from medloom.train import finetune
from medloom.train.adapters import adapt, adapters, initialise_adapters, load_adapter, merge_adapter, merge_folder, save_adapter

KINDS = [Lora(rank=4, alpha=8), Lora(rank=4, alpha=8, dora=True), Lora(rank=2, alpha=3, targets=("q_proj", "down_proj"), dora=True)]
TOKENS = torch.arange(48).view(2, 24) * 5 % 320


def logits(model: Llama) -> torch.Tensor:
    with torch.no_grad():
        return model.eval().logits(model(TOKENS))


def adapted(model: Path, lora: Lora, *, trained: bool = True) -> Llama:
    """A network with an adapter that has moved away from where it began, every part of it."""
    network = load_model(model)
    adapt(network, lora, 3)
    if trained:
        generator = torch.Generator().manual_seed(7)
        with torch.no_grad():
            for _, module in adapters(network):
                module.lora_B += 0.3 * torch.randn(module.lora_B.shape, generator=generator)
                if module.lora_magnitude_vector is not None:
                    module.lora_magnitude_vector *= 1 + 0.2 * torch.randn(module.lora_magnitude_vector.shape, generator=generator)
    return network


@pytest.mark.parametrize("lora", KINDS)
def test_it_begins_as_the_network_that_it_is_beside(model: Path, lora: Lora) -> None:
    fresh = adapted(model, lora, trained=False)
    assert torch.allclose(logits(fresh), logits(load_model(model)), atol=1e-5)
    names = {name for name, weight in fresh.named_parameters() if weight.requires_grad}
    assert names and all(is_adapter(name) for name in names)
    assert [name for name, _ in fresh.named_parameters() if not is_adapter(name)] == [n for n, _ in load_model(model).named_parameters()]
    each = sum(lora.rank * sum(module.weight.shape) + lora.dora * module.out_features for _, module in adapters(fresh))
    assert sum(weight.numel() for weight in fresh.parameters() if weight.requires_grad) == each
    assert len(list(adapters(fresh))) == 2 * len(lora.targets)


@pytest.mark.parametrize("lora", KINDS)
def test_merged_is_the_same_function(model: Path, lora: Lora) -> None:
    network = adapted(model, lora)
    before = logits(network)
    assert (before - logits(load_model(model))).abs().max() > 0.02, "an adapter that does nothing proves nothing"
    merge_adapter(network)
    assert torch.allclose(logits(network), before, atol=1e-5)
    assert [name for name, _ in network.named_parameters()] == [name for name, _ in load_model(model).named_parameters()]
    assert all(weight.requires_grad for weight in network.parameters())


def test_dora_of_equation_five(model: Path) -> None:
    """W' = m (W + BA) / |W + BA|: the rows of the merged matrix have exactly the learned norms (Liu et al. 2024, eq. 5)."""
    for _, module in adapters(adapted(model, KINDS[1])):
        assert module.lora_magnitude_vector is not None
        assert torch.allclose(module.merged().norm(dim=1), module.lora_magnitude_vector.abs(), rtol=1e-5)


@pytest.mark.parametrize("lora", KINDS)
def test_peft_computes_the_same_from_our_files_and_we_from_its(model: Path, tmp_path: Path, lora: Lora) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed; pip install medloom[dev]")
    from transformers import AutoModelForCausalLM

    ours = adapted(model, lora)
    save_adapter(ours, tmp_path / "ours", "base")
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
    with torch.no_grad():
        assert torch.allclose(theirs(TOKENS).logits, logits(ours), atol=1e-5)
    # Theirs, with other values than ours had, and by a rule instead of names.
    config = peft.LoraConfig(r=3, lora_alpha=6, target_modules="all-linear", use_dora=lora.dora, task_type="CAUSAL_LM")
    fresh = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), config)
    torch.manual_seed(5)
    with torch.no_grad():
        for name, weight in fresh.named_parameters():
            if "lora_" in name:
                weight.mul_(1.1).add_(0.05 * torch.randn_like(weight))
        fresh.save_pretrained(tmp_path / "theirs")
        expected = fresh.eval()(TOKENS).logits
    network = load_model(model)
    load_adapter(network, tmp_path / "theirs")
    assert torch.allclose(logits(network), expected, atol=1e-5)
    assert (expected - logits(load_model(model))).abs().max() > 0.01


@pytest.mark.parametrize("lora", KINDS[:2])
def test_gradients_are_pefts(model: Path, tmp_path: Path, lora: Lora) -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed; pip install medloom[dev]")
    from transformers import AutoModelForCausalLM

    ours = adapted(model, lora)
    save_adapter(ours, tmp_path, "base")
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), tmp_path, is_trainable=True)
    ours.logits(ours(TOKENS)).logsumexp(-1).sum().backward()
    theirs(TOKENS).logits.logsumexp(-1).sum().backward()
    found = {name: weight.grad for name, weight in theirs.named_parameters() if weight.requires_grad}
    for name, module in adapters(ours):
        for part, parameter in (("lora_A.default.weight", module.lora_A), ("lora_B.default.weight", module.lora_B),
                                ("lora_magnitude_vector.default.weight", module.lora_magnitude_vector)):
            if parameter is not None:
                assert torch.allclose(parameter.grad, found[f"base_model.model.{name}.{part}"], rtol=1e-3, atol=1e-4), f"{name}.{part}"
    assert all(weight.grad is None for name, weight in ours.named_parameters() if not is_adapter(name))


@pytest.mark.parametrize("lora", KINDS)
def test_saved_and_loaded_is_the_same_function(model: Path, tmp_path: Path, lora: Lora) -> None:
    network = adapted(model, lora)
    save_adapter(network, tmp_path, "base")
    again = load_model(model)
    load_adapter(again, tmp_path)
    assert torch.equal(logits(again), logits(network))
    save_adapter(again, tmp_path / "again", "base")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_first_values_follow_from_seed_and_name_alone(model: Path) -> None:
    one = adapted(model, KINDS[1], trained=False)
    with torch.device("meta"):
        late = Llama(one.config)
    adapt(late, KINDS[1], 3)
    assert all(weight.is_meta for weight in late.parameters())
    late = late.to_empty(device="cpu")
    late.load_state_dict(load_model(model).state_dict(), strict=False)
    initialise_adapters(late, 3)
    assert all(torch.equal(a, b) for a, b in zip(late.parameters(), one.parameters(), strict=True))
    initialise_adapters(late, 4)
    values = [(a.lora_A, b.lora_A) for (_, a), (_, b) in zip(adapters(late), adapters(one), strict=True)]
    assert not any(torch.equal(a, b) for a, b in values)
    assert len({a.flatten()[0].item() for a, _ in values}) == len(values), "no two layers begin alike"


def test_autocast_follows_the_plain_network(model: Path) -> None:
    network = adapted(model, KINDS[1])
    exact = logits(network)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(logits(network).float(), exact, atol=0.05)


@pytest.mark.slow
def test_compiled_it_learns_the_same(model: Path) -> None:
    network = adapted(model, KINDS[1])
    for block in network.model.layers.values():
        block.compile(backend="aot_eager", fullgraph=True)
    network.train()
    network.logits(network(TOKENS)).logsumexp(-1).sum().backward()
    compiled = {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}
    plain = adapted(model, KINDS[1]).train()
    plain.logits(plain(TOKENS)).logsumexp(-1).sum().backward()
    for name, weight in plain.named_parameters():
        assert (weight.grad is None) == (name not in compiled)
        assert weight.grad is None or torch.allclose(compiled[name], weight.grad, rtol=1e-3, atol=1e-4)


SHARDED = """
import json, os, sys, torch, torch.distributed as dist
from pathlib import Path
from torch.distributed.fsdp import fully_shard
from medloom.model import load_model
from medloom.recipe import Lora
from medloom.train.adapters import adapt, initialise_adapters, save_adapter
from medloom.train.learner import Learner
torch.set_num_threads(1)
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo")
rank = dist.get_rank()

def losses(lora, ranks):
    model = load_model(folder)
    adapt(model, lora, 3 if ranks == 1 else 99)
    if ranks > 1:
        for block in model.model.layers.values():
            fully_shard(block)
        fully_shard(model)
        initialise_adapters(model, 3)
    optimiser = torch.optim.AdamW([w for w in model.train().parameters() if w.requires_grad], lr=1e-2)
    for step in range(6):
        rows = (torch.arange(4 * 25).view(4, 25) * (7 + step)) % 320
        mine = rows if ranks == 1 else rows[rank * 2 : rank * 2 + 2]
        counted = torch.ones_like(mine[:, 1:], dtype=torch.bool)
        where = torch.arange(24).expand_as(counted)
        loss = Learner(model)(mine[:, :-1], positions=where, targets=mine[:, 1:], counted=counted).sum() * ranks / (4 * 24)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        total = loss.detach() / ranks
        if ranks > 1:
            dist.all_reduce(total)
        yield float(total)
    save_adapter(model, out / f"{ranks}-{lora.dora}", "base")

for dora in (False, True):
    lora = Lora(rank=4, alpha=8, dora=dora)
    found = {ranks: list(losses(lora, ranks)) for ranks in (1, 2)}
    if rank == 0:
        (out / f"losses-{dora}.json").write_text(json.dumps([found[1], found[2]]))
dist.barrier()
os._exit(0)  # as a rank of ours leaves: the destructors of a process group can abort where the other has gone
"""


@pytest.mark.slow
def test_two_sharded_processes_learn_as_one(model: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": port, "WORLD_SIZE": "2"}
    command = [sys.executable, "-c", SHARDED, str(model), str(tmp_path)]
    children = [subprocess.Popen(command, env={**environment, "RANK": str(rank)}) for rank in range(2)]
    assert [child.wait(timeout=300) for child in children] == [0, 0]
    for dora in (False, True):
        one, two = json.loads((tmp_path / f"losses-{dora}.json").read_text())
        assert two == pytest.approx(one, abs=1e-5) and one[-1] < one[0]
        ours, theirs = (load_file(tmp_path / f"{ranks}-{dora}/adapter_model.safetensors") for ranks in (1, 2))
        assert ours.keys() == theirs.keys() and all(torch.allclose(ours[key], theirs[key], atol=1e-4) for key in ours)


def questions(path: Path) -> Path:
    rows = [{"id": f"q{i}", "prompt": f"Which dose of drug {i} is right? A. {i} mg B. none Answer:", "completion": " A" if i % 2 else " B"}
            for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_finetuning_by_adapter_leaves_both_forms(model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"benchmarks": ("x",), "length": 64, "epochs": 4, "rate": 2e-2, "batch": 4, "micro_batch": 2,
                                "precision": "fp32", "device": "cpu"}
    how: dict[str, Any] = {"model": model, "examples": questions(tmp_path / "q.jsonl"), "replay": None, "seed": 1, "progress": Silent()}
    lora = Lora(rank=8, alpha=16, dropout=0.1, dora=True)
    figures = finetune(Finetuning(lora=lora, **settings), out=tmp_path / "a", state=tmp_path / "s", **how)
    # The frozen head of a random network is short: no adapter below it can bring the loss under ln 320 - 0.64 = 5.1.
    assert 5.1 < figures["last_loss"] < figures["first_loss"] - 0.5
    network = load_model(model)
    load_adapter(network, tmp_path / "a/adapter")
    whole = load_model(tmp_path / "a")
    # The folder is bfloat16, which keeps eight bits of each weight.
    assert torch.allclose(logits(whole), logits(network), atol=0.05)
    before = load_model(model, dtype=torch.bfloat16)
    untouched = {name for name, weight in whole.named_parameters() if torch.equal(weight, before.get_parameter(name).float())}
    assert untouched == {name for name, _ in whole.named_parameters() if "norm" in name or "embed" in name}
    alone = lora.model_copy(update={"merge": False})
    finetune(Finetuning(lora=alone, **settings), out=tmp_path / "b", state=tmp_path / "t", **how)
    assert not (tmp_path / "b/model.safetensors").exists()
    assert (tmp_path / "b/adapter_model.safetensors").read_bytes() == (tmp_path / "a/adapter/adapter_model.safetensors").read_bytes()
    assert merge_folder(tmp_path / "b", model, tmp_path / "c") == 14
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "c" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_a_killed_run_goes_on_to_the_same_adapter(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from medloom.train import loop

    settings = Finetuning(lora=Lora(rank=4, alpha=8, dropout=0.2), benchmarks=("x",), length=64, epochs=2, rate=1e-2, batch=4,
                          micro_batch=4, precision="fp32", device="cpu", checkpoint_seconds=1e-9)
    how: dict[str, Any] = {"model": model, "examples": questions(tmp_path / "q.jsonl"), "replay": None, "seed": 1, "progress": Silent()}
    finetune(settings, out=tmp_path / "calm", state=tmp_path / "s", **how)
    whole = loop._step

    def falling(*given: Any) -> dict[str, float]:
        if given[4] == 3:
            raise KeyboardInterrupt
        return whole(*given)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "_step", falling)
        finetune(settings, out=tmp_path / "rough", state=tmp_path / "t", **how)
    kept = FileSystemReader(next((tmp_path / "t").glob("step-*"))).read_metadata().state_dict_metadata
    assert kept and all("lora_" in name for name in kept), "the frozen network is in no checkpoint"
    finetune(settings, out=tmp_path / "rough", state=tmp_path / "t", **how)
    for name in ("model.safetensors", "metrics.jsonl", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "rough" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()


def test_what_is_no_adapter_of_this_model_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a LoRA or DoRA adapter"):
        load_adapter(load_model(model), model)
    save_adapter(adapted(model, KINDS[0]), tmp_path, "base")
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_rslora": True}))
    with pytest.raises(Refusal, match="uses use_rslora, which"):
        load_adapter(load_model(model), tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    key = "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight"
    for changed, says in (({**tensors, key: tensors[key][:3].clone()}, "up_proj.lora_B.weight is missing, or has another shape"),
                          ({**tensors, "extra": tensors[key].clone()}, "extra is no part"),
                          ({name.replace("layers.1", "layers.7"): value for name, value in tensors.items()}, "layers.7"),
                          ({}, "no layer at all")):
        save_file(changed, tmp_path / "adapter_model.safetensors")
        with pytest.raises(Refusal, match=says):
            load_adapter(load_model(model), tmp_path)
    (tmp_path / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(Refusal, match="not a whole safetensors file"):
        load_adapter(load_model(model), tmp_path)
    with pytest.raises(Refusal, match="is not empty"):
        merge_folder(tmp_path, model, tmp_path)

"""The loop: the mathematics of a step, resuming to the same bits, and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from medloom.ledger import Refusal, Silent
from medloom.model import load_model, load_tokenizer
from medloom.recipe import Finetuning, Training
from medloom.train import Diverged, finetune, pretrain
from medloom.train.data import batch, open_corpus
from medloom.train.loop import loss_sum
from medloom.train.optimise import adamw, rate

BASIC: dict[str, Any] = {"length": 32, "batch": 8, "micro_batch": 8, "rate": 3e-3, "precision": "fp32", "device": "cpu"}


def run(model: Path, corpus: Path, out: Path, **changes: Any) -> dict[str, Any]:
    settings = Training(**BASIC | changes)
    return pretrain(settings, model=model, tokens=corpus, out=out / "out", state=out / "state", seed=1, progress=Silent())


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def test_it_learns_and_says_so(model: Path, corpus: Path, tmp_path: Path) -> None:
    figures = run(model, corpus, tmp_path)
    assert figures["first_loss"] == pytest.approx(np.log(320), abs=0.2)
    assert figures["last_loss"] < 0.7 * figures["first_loss"]
    assert figures["learned_tokens"] == 5 * sum(len(ids) - 1 for ids in load_tokenizer(model).encode_documents(sentences(model, corpus)))
    names = set(digests(tmp_path / "out"))
    assert names == {"config.json", "generation_config.json", "model.safetensors", "metrics.jsonl", "curves.png",
                     "tokenizer.model", "tokenizer.json", "tokenizer_config.json"}
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert len(lines) == figures["steps"] and lines[0]["loss"] == figures["first_loss"]
    assert load_tokenizer(tmp_path / "out").digest == load_tokenizer(model).digest


def sentences(model: Path, corpus: Path) -> list[str]:
    from medloom.model import TokenStore

    tokenizer, store = load_tokenizer(model), TokenStore.open(corpus / "train")
    return [tokenizer.decode(store[i]) for i in range(len(store))]


def test_micro_batches_do_not_change_the_curve(model: Path, corpus: Path, tmp_path: Path) -> None:
    curves = []
    for micro in (1, 2, 8):
        run(model, corpus, tmp_path / str(micro), micro_batch=micro)
        curves.append([json.loads(line) for line in (tmp_path / str(micro) / "out/metrics.jsonl").read_text().splitlines()])
    for key in ("loss", "grad_norm"):
        first, *others = ([row[key] for row in curve] for curve in curves)
        assert all(other == pytest.approx(first, rel=2e-5) for other in others)


def test_the_loss_is_the_plain_one_per_document(model: Path, corpus: Path) -> None:
    """Packed rows give the sum that each piece of a document gives alone."""
    network, rows = load_model(model), open_corpus(corpus, 32)
    data = batch(rows, 0, 4, 320)
    inputs, segments, targets, counted = (torch.from_numpy(a.copy()) for a in (data.inputs, data.segments, data.targets, data.counted))
    expected, tokens = 0.0, 0
    with torch.no_grad():
        packed = loss_sum(network, inputs, segments, targets, counted).item()
        for row in range(4):
            for segment in segments[row].unique():
                piece = inputs[row][segments[row] == segment]
                wanted = targets[row][(segments[row] == segment) & counted[row]]
                logits = network.logits(network(piece[None]))[0, : len(wanted)]
                expected += F.cross_entropy(logits, wanted, reduction="sum").item()
                tokens += len(wanted)
    assert tokens == int(counted.sum())
    assert packed == pytest.approx(expected, rel=1e-5)


def test_bfloat16_follows_float32(model: Path, corpus: Path, tmp_path: Path) -> None:
    exact = run(model, corpus, tmp_path / "a")
    rough = run(model, corpus, tmp_path / "b", precision="bf16")
    assert rough["precision"] == "bf16"
    assert rough["last_loss"] == pytest.approx(exact["last_loss"], rel=0.02)


def test_rates_and_decay(model: Path) -> None:
    settings = Training(rate=1.0, warmup=0.1, decay_to=0.1, schedule="cosine")
    rates = [rate(settings, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * k for k in range(1, 11)])
    assert rates[10] == pytest.approx(1.0) and rates[55] == pytest.approx(0.55) and 0.1 < rates[-1] < 0.101
    linear = [rate(settings.model_copy(update={"schedule": "linear", "warmup": 0.0}), step, 100) for step in range(100)]
    assert linear[50] == pytest.approx(0.55)
    network = load_model(model)
    decayed, plain = adamw(network, settings).param_groups
    assert decayed["weight_decay"] == settings.weight_decay and plain["weight_decay"] == 0
    assert {weight.dim() for weight in decayed["params"]} == {2} and {weight.dim() for weight in plain["params"]} == {1}


RUN = """
import sys, torch
from pathlib import Path
from medloom.ledger import Silent
from medloom.recipe import Training
from medloom.train import pretrain
torch.set_num_threads(1)
model, corpus, out = map(Path, sys.argv[1:])
settings = Training.model_validate_json(sys.stdin.read())
pretrain(settings, model=model, tokens=corpus, out=out / "out", state=out / "state", seed=1, progress=Silent())
"""


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(model: Path, corpus: Path, tmp_path: Path) -> None:
    settings = Training(**BASIC | {"checkpoint_seconds": 0.05, "batch": 2, "micro_batch": 2, "length": 16})
    pretrain(settings, model=model, tokens=corpus, out=tmp_path / "calm/out", state=tmp_path / "calm/state", seed=1, progress=Silent())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", RUN, str(model), str(corpus), str(tmp_path / "rough")]
    for wanted in (5, 60):  # killed twice, each time once the metrics have grown that far
        child = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True)
        assert child.stdin is not None
        child.stdin.write(settings.model_dump_json())
        child.stdin.close()
        lines = tmp_path / "rough/state/metrics.jsonl"
        until = time.monotonic() + 300
        while (not lines.exists() or lines.read_bytes().count(b"\n") < wanted) and child.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    assert list((tmp_path / "rough/state").glob("step-*")), "no checkpoint to go on from"
    steps: list[str] = []

    class Watching(Silent):
        def task(self, name: str, total: float | None = None, unit: str = "") -> Any:
            from contextlib import contextmanager

            class Note:
                def advance(self, amount: float = 1, note: str = "") -> None:
                    steps.append(note)

            @contextmanager
            def task() -> Any:
                yield Note()

            return task()

    pretrain(settings, model=model, tokens=corpus, out=tmp_path / "rough/out", state=tmp_path / "rough/state", seed=1, progress=Watching())
    assert steps[0].startswith("going on from step")
    assert digests(tmp_path / "rough/out") == digests(tmp_path / "calm/out")


def examples(path: Path, count: int = 30) -> Path:
    prompt = "Which dose of drug {0} is right? A. {0} mg B. none Answer:"
    rows = [{"id": f"q{i}", "prompt": prompt.format(i), "completion": " A" if i % 2 else " B"}
            for i in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_finetuning_learns_answers_only(model: Path, corpus: Path, tmp_path: Path) -> None:
    settings = Finetuning(**BASIC | {"benchmarks": ("x",), "length": 64, "epochs": 5, "rate": 1e-2, "batch": 4, "micro_batch": 2})
    path = examples(tmp_path / "examples.jsonl")
    how: dict[str, Any] = {"model": model, "examples": path, "seed": 1, "progress": Silent()}
    figures = finetune(settings, replay=None, out=tmp_path / "a", state=tmp_path / "s", **how)
    # The letter, with its space where the tokenizer cuts there, and the end token: 2 or 3 a question.
    assert 2 * 150 <= figures["learned_tokens"] <= 3 * 150 and figures["truncated"] == 0 and figures["replay_rows"] == 0
    assert figures["last_loss"] < 0.5 * figures["first_loss"]
    # The order of the lines does not matter.
    path.write_text("".join(sorted(path.read_text().splitlines(keepends=True), reverse=True)))
    finetune(settings, replay=None, out=tmp_path / "b", state=tmp_path / "t", **how)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    mixed = finetune(settings.model_copy(update={"replay": 0.25}), replay=corpus, out=tmp_path / "c", state=tmp_path / "u", **how)
    assert mixed["replay_rows"] == round((mixed["rows"] - mixed["replay_rows"]) / 3) and 0.5 < mixed["replay_learned_share"] < 1


def test_what_cannot_work_is_refused_before_the_first_step(model: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="more than the 64 positions"):
        run(model, corpus, tmp_path, length=128)
    with pytest.raises(Refusal, match="fewer than one batch of 4096"):
        run(model, corpus, tmp_path, batch=4096)
    with pytest.raises(Refusal, match="no such file"):
        run(model, model, tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    for path in corpus.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    (other / "mixture.json").write_text('{"tokenizer": "0123"}')
    with pytest.raises(Refusal, match="another tokenizer"):
        run(model, other, tmp_path)
    (other / "mixture.json").write_text("{}")
    (other / "train.bin").write_bytes((other / "train.bin").read_bytes()[:-2])
    with pytest.raises(Refusal, match="cut short"):
        run(model, other, tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"id": "a", "prompt": "b"}\n')
    with pytest.raises(Refusal, match="line 1"):
        finetune(Finetuning(**BASIC | {"benchmarks": ("x",)}), model=model, examples=tmp_path / "bad.jsonl", replay=None,
                 out=tmp_path / "o", state=tmp_path / "s", seed=1, progress=Silent())


def test_a_run_that_diverges_stops_and_names_the_step(model: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Diverged, match=r"step \d+ of \d+: the loss is"):
        run(model, corpus, tmp_path, rate=1e30, warmup=0.0, clip=1e30)

"""The loop: the mathematics of a step, resuming to the same bits, and refusals."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
from medloom.model import ModelConfig, TokenStoreWriter, extend_tokenizer, load_model, load_tokenizer
from medloom.recipe import Finetuning, Training
from medloom.schedule import rate
from medloom.train import Diverged, finetune, pretrain
from medloom.train.data import batch, open_corpus
from medloom.train.learner import Learner, cross_entropy
from medloom.train.optimise import adamw

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
    assert data.segments is not None
    arrays = (data.inputs, data.positions, data.segments, data.targets, data.counted)
    inputs, positions, segments, targets, counted = (torch.from_numpy(array.copy()) for array in arrays)
    expected, tokens = 0.0, 0
    with torch.no_grad():
        packed = Learner(network)(inputs, positions=positions, segments=segments, targets=targets, counted=counted).item()
        for row in range(4):
            for segment in segments[row].unique():
                piece = inputs[row][segments[row] == segment]
                wanted = targets[row][(segments[row] == segment) & counted[row]]
                logits = network.logits(network(piece[None]))[0, : len(wanted)]
                expected += F.cross_entropy(logits, wanted, reduction="sum").item()
                tokens += len(wanted)
    assert tokens == int(counted.sum())
    assert packed == pytest.approx(expected, rel=1e-5)


def test_the_cross_entropy_and_its_gradient_are_torch_s() -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(3, 5, 40, generator=generator, dtype=torch.float64).mul(9).requires_grad_()
    targets = torch.randint(40, (3, 5), generator=generator)
    loss, normaliser = cross_entropy(scores, targets)
    assert torch.allclose(loss, F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view(3, 5))
    assert torch.allclose(normaliser, scores.logsumexp(-1))
    weights = torch.rand(2, 3, 5, generator=generator, dtype=torch.float64)
    (found,) = torch.autograd.grad((loss * weights[0] + normaliser.square() * weights[1]).sum(), scores)
    plain = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), reduction="none").view(3, 5)
    (wanted,) = torch.autograd.grad((plain * weights[0] + scores.logsumexp(-1).square() * weights[1]).sum(), scores)
    assert torch.allclose(found, wanted)


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
    stable = [rate(settings.model_copy(update={"schedule": "wsd", "decay": 0.2}), step, 100) for step in range(100)]
    assert stable[10:80] == [1.0] * 70 and stable[90] == pytest.approx(0.55) and stable[-1] == pytest.approx(0.145)
    # Meditron 7B: a cosine over two epochs of which one was trained, which ended at 1.68e-4 by the paper's numbers.
    original = Training(rate=3e-4, warmup=2000 / 14_250, decay_to=1e-6 / 3e-4, horizon=2.0)
    assert rate(original, 14_249, 14_250) == pytest.approx(1.68e-4, rel=0.01)
    network = load_model(model)
    decayed, plain = adamw(network.parameters(), settings).param_groups
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
    calm = Training(**BASIC | {"batch": 2, "micro_batch": 2, "length": 16})
    pretrain(calm, model=model, tokens=corpus, out=tmp_path / "calm/out", state=tmp_path / "calm/state", seed=1, progress=Silent())
    settings = calm.model_copy(update={"checkpoint_seconds": 0.05})
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

    pretrain(calm, model=model, tokens=corpus, out=tmp_path / "rough/out", state=tmp_path / "rough/state", seed=1, progress=Watching())
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
    with pytest.raises(Diverged, match=r"step \d+ of \d+ \(rows \d+ to \d+\): the loss is"):
        run(model, corpus, tmp_path, rate=1e30, warmup=0.0, clip=1e30)


def test_a_step_far_off_is_named_kept_and_passed_over(model: Path, corpus: Path, tmp_path: Path) -> None:
    """Rows of one word over and over, in the middle of text: their loss stands out."""
    odd = tmp_path / "odd"
    odd.mkdir()
    tokenizer = load_tokenizer(model)
    plain = [np.asarray(ids) for ids in tokenizer.encode_documents(sentences(model, corpus))] * 8
    with TokenStoreWriter(odd / "train", tokenizer.vocab_size) as writer:
        for ids in [*plain[:200], *[np.asarray([300, 7] * 16)] * 16, *plain[200:]]:
            writer.add(ids)
    np.save(odd / "order.npy", np.arange(len(plain) + 16, dtype=np.int64))
    with pytest.raises(Diverged, match=r"the batch is kept in .*bad-batch-0000") as stopped:
        run(model, odd, tmp_path / "a", spike=3.0)
    assert 'bad_batch = "skip"' in str(stopped.value)
    figures = run(model, odd, tmp_path / "b", spike=3.0, bad_batch="skip")
    lines = [json.loads(line) for line in (tmp_path / "b/out/metrics.jsonl").read_text().splitlines()]
    skipped = [line["step"] for line in lines if line.get("skipped")]
    assert 1 <= len(skipped) == figures["skipped"] <= 3 and figures["steps"] == len(lines)
    with np.load(next((tmp_path / "b/state").glob("bad-batch-*.npz"))) as kept:
        assert (kept["inputs"] == 300).sum() > 50


def test_what_is_not_finite_can_be_passed_over(model: Path, corpus: Path, tmp_path: Path) -> None:
    figures = run(model, corpus, tmp_path, rate=1e30, warmup=0.0, clip=1e30, bad_batch="skip")
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert figures["skipped"] == sum(line["grad_norm"] is None for line in lines) > 0
    assert lines[-1]["skipped"] and figures["last_loss"] == next(line["loss"] for line in reversed(lines) if not line.get("skipped"))


def kept(state: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in state.glob("step-*"))


def test_checkpoints_are_kept_as_asked_and_a_damaged_one_is_passed_over(model: Path, corpus: Path, tmp_path: Path) -> None:
    calm = run(model, corpus, tmp_path / "calm", batch=4, micro_batch=4)
    often = {"batch": 4, "micro_batch": 4, "checkpoint_seconds": 1e-9, "keep_last": 2, "keep_every": 10}
    figures = run(model, corpus, tmp_path / "often", **often)
    steps = figures["steps"]
    assert kept(tmp_path / "often/state") == [*range(10, steps - 2, 10), steps - 2, steps - 1]
    newest = tmp_path / f"often/state/step-{steps - 1:08d}"
    file = next(newest.glob("*.distcp"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    (tmp_path / "often/state/.step-00000099.tmp").mkdir()  # of a run that was killed while it saved
    again = run(model, corpus, tmp_path / "often", **often)
    assert again["damaged_checkpoints"] == [newest.name]
    assert again["last_loss"] == figures["last_loss"] == calm["last_loss"]
    for folder in (tmp_path / "often/state").glob("step-*"):
        (folder / "checkpoint.json").write_text("{}")
    with pytest.raises(Refusal, match="no checkpoint here is whole"):
        run(model, corpus, tmp_path / "often", **often)


@pytest.mark.slow
def test_asked_to_stop_it_saves_and_goes_on_later(model: Path, corpus: Path, tmp_path: Path) -> None:
    settings = Training(**BASIC | {"batch": 2, "micro_batch": 2, "length": 16})
    pretrain(settings, model=model, tokens=corpus, out=tmp_path / "calm/out", state=tmp_path / "calm/state", seed=1, progress=Silent())
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen([sys.executable, "-c", RUN, str(model), str(corpus), str(tmp_path / "asked")], stdin=subprocess.PIPE,
                             env=environment, text=True)
    assert child.stdin is not None
    child.stdin.write(settings.model_dump_json())
    child.stdin.close()
    lines = tmp_path / "asked/state/metrics.jsonl"
    while (not lines.exists() or lines.read_bytes().count(b"\n") < 3) and child.poll() is None:
        time.sleep(0.005)
    child.send_signal(signal.SIGUSR1)
    child.wait(timeout=60)
    done = kept(tmp_path / "asked/state")
    assert child.returncode != 0 and len(done) == 1 and done[0] == lines.read_bytes().count(b"\n")
    pretrain(settings, model=model, tokens=corpus, out=tmp_path / "asked/out", state=tmp_path / "asked/state", seed=1, progress=Silent())
    assert digests(tmp_path / "asked/out") == digests(tmp_path / "calm/out")


def test_a_full_disk_is_a_safe_stop(model: Path, corpus: Path, tmp_path: Path) -> None:
    """A state folder on a file system with room for one checkpoint and not for two."""
    small = tmp_path / "small"
    small.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", str(small)], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        with pytest.raises(OSError, match="No space left"):
            pretrain(Training(**BASIC | {"checkpoint_seconds": 1e-9}), model=model, tokens=corpus, out=tmp_path / "out", state=small,
                     seed=1, progress=Silent())
        assert len(kept(small)) == 1 and not list(small.glob(".step-*"))
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)
    assert not (tmp_path / "out").exists()


def test_a_network_grows_by_the_tokens_of_its_corpus(model: Path, corpus: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    shutil.copytree(corpus, grown)
    extend_tokenizer(model, ["<EOD>", "[fig]"], grown / "tokenizer", document_end="<EOD>", adds_bos=False)
    tokenizer = load_tokenizer(grown / "tokenizer")
    texts = [f"{text} [fig]" for text in sentences(model, corpus)]
    with TokenStoreWriter(grown / "train", tokenizer.vocab_size) as writer:
        for ids in tokenizer.encode_documents(texts):
            writer.add(ids)
    (grown / "mixture.json").write_text(json.dumps({"tokenizer": tokenizer.digest}))
    figures = run(model, grown, tmp_path, rate=1e-2)
    assert figures["start_loss"] == pytest.approx(figures["base_loss"], abs=1e-4)
    assert figures["last_loss"] < 0.7 * figures["first_loss"]
    after = ModelConfig.from_folder(tmp_path / "out")
    assert after.vocab_size == tokenizer.vocab_size == 322  # no padding is left in what is saved
    assert load_tokenizer(tmp_path / "out").digest == tokenizer.digest
    network = load_model(tmp_path / "out")
    ids = torch.from_numpy(tokenizer.encode_documents(texts)[0].astype(np.int64))[None]
    with torch.no_grad():
        ahead = network.logits(network(ids))[0].argmax(-1)
    assert ahead[-2] == tokenizer.vocab_size - 2 and ids[0, -1] == tokenizer.vocab_size - 2  # it has learned where documents end

"""The training loop, one for continued pretraining and finetuning: rows in, a trained network and its metrics out.

It knows nothing of corpora, prompts or folders of models. The network arrives with float32 weights, which are the master weights;
matrix products may run in bfloat16. The loss is that of the whole batch, the sum over counted tokens divided by their number, so
the split into micro-batches (and later over ranks) does not change it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ..ledger import Progress, Refusal
from ..model import Llama
from ..recipe import Training
from . import checkpoint
from .data import PADDING, Batch, Rows, batch, hashed
from .device import choose_device, choose_precision, computing
from .optimise import adamw, rate


class Diverged(Refusal):
    """The loss or its gradient is no longer a finite number."""


@dataclass(frozen=True)
class Trained:
    """What a run leaves: the network, one row of metrics a step, and figures."""

    model: Llama
    metrics: list[dict[str, float]]
    figures: dict[str, Any]


def loss_sum(model: Llama, inputs: Tensor, segments: Tensor, targets: Tensor, counted: Tensor) -> Tensor:
    """Summed cross-entropy in nats over the counted positions; all arguments [rows, length].

    Only counted positions reach the head, which is most of the work where few tokens of a long prompt are learned.
    """
    hidden = model(inputs, segments=segments)
    chosen = hidden.flatten(0, 1) if bool(counted.all()) else hidden[counted]
    return F.cross_entropy(model.logits(chosen).float(), targets[counted], reduction="sum")


def train(model: Llama, rows: Rows, settings: Training, *, name: str, state: Path, identity: dict[str, Any], progress: Progress) -> Trained:
    """Run over all rows once, `settings.batch` of them a step, and go on from what `state` holds.

    name: what the progress bar says. identity: what tells this run's checkpoints from another's. With the same build of torch, the same
    number of threads and the same device, a run that was killed and resumed ends with the same bits as one that was not.
    Raises Refusal where the network cannot read rows of this length, where no token is counted in a batch, and Diverged.
    """
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    if settings.length > model.config.max_positions:
        raise Refusal(f"length = {settings.length} is more than the {model.config.max_positions} positions of the model; "
                      f"set it to {model.config.max_positions} or less")
    if len(rows) < settings.batch:
        raise Refusal(f"{len(rows)} rows of {settings.length} tokens are fewer than one batch of {settings.batch}; "
                      "give more text, or make batch or length smaller")
    steps = math.ceil(len(rows) / settings.batch)
    model = model.to(device).train()
    optimiser = adamw(model, settings)
    identity = {**identity, "precision": str(precision), "steps": steps}
    done = checkpoint.restore(state, model, optimiser, identity)
    metrics = checkpoint.Metrics(state, done)
    started = saved = time.monotonic()
    tokens = sum(int(row["tokens"]) for row in metrics.rows)
    before = tokens
    with progress.task(name, total=steps, unit="steps") as task:
        if done:
            task.advance(done, f"going on from step {done}")
        for step in range(done, steps):
            torch.manual_seed(hashed(identity.get("seed", 0), step) >> 1)  # what an adapter drops out follows from the step
            data = batch(rows, step, settings.batch, model.config.vocab_size)
            row = _step(model, optimiser, data, settings, step, steps, device, precision)
            tokens += int(row["tokens"])
            metrics.add(row)
            now = time.monotonic()
            task.advance(1, f"loss {row['loss']:.3f}  {(tokens - before) / (now - started):,.0f} tokens/s")
            if now - saved >= settings.checkpoint_seconds and step + 1 < steps:
                metrics.flush_to_disk()
                checkpoint.save(state, model, optimiser, step + 1, identity)
                saved = time.monotonic()
    metrics.close()
    seconds = time.monotonic() - started
    return Trained(model.eval(), metrics.rows, {
        "steps": steps, "tokens": tokens, "learned_tokens": sum(int(row["learned"]) for row in metrics.rows), "rows": len(rows),
        "first_loss": metrics.rows[0]["loss"], "last_loss": metrics.rows[-1]["loss"],
        "precision": "bf16" if precision == torch.bfloat16 else "fp32", "device": device.type,
        "training_seconds": seconds, "tokens_per_second": (tokens - before) / max(seconds, 1e-9)})


def _step(model: Llama, optimiser: torch.optim.Optimizer, data: Batch, settings: Training, step: int, steps: int,
          device: torch.device, precision: torch.dtype) -> dict[str, float]:
    """One optimiser step; its line of metrics. `tokens` are those read, `learned` those counted in the loss."""
    learned = int(data.counted.sum())
    if not learned:
        raise Refusal(f"step {step}: no token of this batch is to be learned; are all the masks 0, or the documents one token long?")
    total = torch.zeros((), device=device)
    for first in range(0, settings.batch, settings.micro_batch):
        part = slice(first, first + settings.micro_batch)
        if not data.counted[part].any():
            continue  # padding only: no loss, no gradient
        inputs, segments, targets, counted = (torch.from_numpy(array[part].copy()).to(device, non_blocking=True)
                                              for array in (data.inputs, data.segments, data.targets, data.counted))
        with computing(precision, device):
            loss = loss_sum(model, inputs, segments, targets, counted) / learned
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
    loss_now, norm_now = float(total), float(norm)
    if not math.isfinite(loss_now) or not math.isfinite(norm_now):
        raise Diverged(f"step {step} of {steps}: the loss is {loss_now} and its gradient's norm {norm_now}, so the run has stopped; "
                       f"lower rate (now {settings.rate:g}) or lengthen warmup")
    now = rate(settings, step, steps)
    for group in optimiser.param_groups:
        group["lr"] = now
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    read = int((data.segments != PADDING).sum())
    return {"step": step, "tokens": read, "learned": learned, "loss": loss_now, "rate": now, "grad_norm": norm_now}

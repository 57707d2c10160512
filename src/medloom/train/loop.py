"""The training loop, one for continued pretraining and finetuning: rows in, a trained network and its metrics out.

It knows nothing of corpora, prompts or folders of models. Every rank of a layout runs it, step for step the same. The network's float32
weights are the master weights; matrix products may run in bfloat16. The loss is that of the whole batch, the sum over counted tokens
divided by their number, so that no split of it, into micro-batches or over ranks, changes it.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

from ..ledger import Progress, Refusal, Stopped
from ..schedule import rate
from .checkpoint import Checkpoints, Metrics
from .data import Rows, hashed
from .engine import Engine
from .gradients import gradient_norm, scale_gradients
from .held import Held
from .loader import Loaded, Loader
from .mesh import DATA
from .optimise import adamw
from .watch import Watch

REMEMBERED = 100  # losses before a step that tell what is usual
USUAL = 20  # of them at least


class Diverged(Refusal):
    """The loss or its gradient is no longer a finite number, or far above what it was."""


@dataclass(frozen=True)
class Trained:
    """What a run leaves: one row of metrics a step, and figures."""

    metrics: list[dict[str, Any]]
    figures: dict[str, Any]


def train(engine: Engine, rows: Rows, *, name: str, state: Path, identity: Mapping[str, Any], progress: Progress,
          heldout: Callable[[], Mapping[str, float]] | None = None,
          watched: Callable[[int], AbstractContextManager[Watch]] | None = None) -> Trained:
    """Run over all rows once, `settings.batch` of them a step, and go on from what `state` holds.

    name: what the progress bar says. identity: what tells this run's checkpoints from another's. heldout: measures the loss on held-out
    text, in nats a token by domain. watched: opens what each step is told to, from a given step on. With the same build of torch, the same
    number of threads, device and layout, a run that was killed and resumed ends with the same bits as one that was not. Raises
    Refusal where no token is counted in a batch, Diverged, and Stopped.
    """
    settings, ranks = engine.settings, engine.ranks
    steps = math.ceil(len(rows) / settings.batch)
    parameters = dict(engine.parameters())
    optimiser = adamw(parameters.values(), settings)
    checkpoints = Checkpoints(state, ranks, parameters, optimiser, {**identity, "precision": str(engine.precision), "steps": steps},
                              settings.keep_last, settings.keep_every)
    done = checkpoints.restore()
    metrics = Metrics(state, done) if ranks.first else None
    past: list[dict[str, Any]] = ranks.share(metrics.before if metrics is not None else None)
    tokens = before = sum(int(row["tokens"]) for row in past)
    saving = 0.0
    started = saved = time.monotonic()
    loader = Loader(rows, size=settings.batch, vocab_size=engine.vocabulary, start=done, steps=steps, rank=ranks.data,
                    ranks=ranks.layout.data, device=ranks.device)
    opened = watched(done) if watched is not None else nullcontext(Watch((), 0.0, None))
    held = Held(ranks.device, parameters.values(), lambda: checkpoints.copied)
    with loader, held, _asked_to_stop() as asked, opened as told, progress.task(name, total=steps, unit="steps") as task:
        if done or checkpoints.damaged:
            lost = f"; {', '.join(path.name for path in checkpoints.damaged)} damaged and passed over" if checkpoints.damaged else ""
            task.advance(done, f"going on from step {done}{lost}")
        for step, batch in enumerate(loader, done):
            torch.manual_seed(hashed(identity.get("seed", 0), step, ranks.data) >> 1)  # what an adapter drops out follows from the step
            row = _step(engine, optimiser, batch, past, step, steps, state)
            last = step + 1 == steps
            if heldout is not None and settings.heldout_every and ((step + 1) % settings.heldout_every == 0 or last):
                row["heldout"] = dict(heldout())
            tokens += int(row["tokens"])
            past.append(row)
            if metrics is not None:
                metrics.add(row)
            now = time.monotonic()
            task.advance(1, told.add(row))
            stop, due = ranks.any(asked(), now - saved >= settings.checkpoint_seconds)
            if (stop or due) and not last:
                checkpoints.save(step + 1, sum(not row.get("skipped") for row in past), metrics)
                saved = time.monotonic()
                saving += saved - now
            if stop and not last:
                checkpoints.finish()
                raise Stopped(f"stopped on request after step {step + 1} of {steps}, which is saved")
    checkpoints.finish()
    if metrics is not None:
        metrics.close()
    seconds = time.monotonic() - started
    losses = [row["loss"] for row in past if not row.get("skipped")] or [None]
    return Trained(past, {
        "steps": steps, "tokens": tokens, "learned_tokens": sum(int(row["learned"]) for row in past), "rows": len(rows),
        "skipped": sum(bool(row.get("skipped")) for row in past), "damaged_checkpoints": [path.name for path in checkpoints.damaged],
        "first_loss": losses[0], "last_loss": losses[-1],
        "precision": "bf16" if engine.precision == torch.bfloat16 else "fp32", "device": ranks.device.type,
        "layout": ranks.layout.model_dump(mode="json"), "training_seconds": seconds, "saving_seconds": saving,
        "waited_seconds": loader.waited, "memory_gb": held.peak_gb, "tokens_per_second": (tokens - before) / max(seconds, 1e-9)})


def _step(engine: Engine, optimiser: torch.optim.Optimizer, batch: Loaded, past: list[dict[str, Any]], step: int, steps: int,
          state: Path) -> dict[str, Any]:
    """One optimiser step; its line of metrics. `tokens` are those read, `learned` those counted in the loss."""
    settings, ranks = engine.settings, engine.ranks
    here = torch.tensor([batch.tokens, int(batch.counted.sum())], device=ranks.device)
    read, learned = (int(count) for count in ranks.total(here, *DATA).tolist())
    if not learned:
        raise Refusal(f"step {step}: no token of this batch is to be learned; are all the masks 0, or the documents one token long?")
    loss_sum = engine.forward_backward(batch, 1 / learned)
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = float(gradient_norm(weights, ranks))
    loss = float(ranks.total(loss_sum.double(), *DATA, "pipeline")) / learned
    row = {"step": step, "tokens": read, "learned": learned, "loss": loss, "rate": rate(settings, step, steps), "grad_norm": norm}
    fault = _fault(loss, norm, past, settings.spike)
    if fault:
        place = _keep(batch, state, step, engine)
        words = (f"step {step} of {steps} (rows {step * settings.batch} to {(step + 1) * settings.batch - 1}): {fault}; "
                 f"the batch is kept in {place}")
        if settings.bad_batch == "stop":
            raise Diverged(f'{words}. Lower rate (now {settings.rate:g}), lengthen warmup, or pass such batches over: bad_batch = "skip"')
        optimiser.zero_grad(set_to_none=True)
        finite = {key: value if math.isfinite(value) else None for key, value in (("loss", loss), ("grad_norm", norm))}
        return {**row, **finite, "skipped": True}
    if norm > settings.clip:
        scale_gradients(weights, settings.clip / (norm + 1e-6))
    for group in optimiser.param_groups:
        group["lr"] = row["rate"]
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return row


def _fault(loss: float, norm: float, past: list[dict[str, Any]], spike: float | None) -> str:
    """What is wrong with a step, if anything is."""
    if not math.isfinite(loss) or not math.isfinite(norm):
        return f"the loss is {loss} and its gradient's norm {norm}"
    usual = [row["loss"] for row in past[-REMEMBERED:] if not row.get("skipped")]
    if spike is not None and len(usual) >= USUAL:
        mean, deviation = float(np.mean(usual)), float(np.std(usual))
        if loss > mean + spike * deviation:
            return f"the loss is {loss:.3f}, where the {len(usual)} before have a mean of {mean:.3f} and a deviation of {deviation:.3f}"
    return ""


def _keep(batch: Loaded, state: Path, step: int, engine: Engine) -> Path:
    """Leave the rows of a bad batch for whoever looks into it, a file for each data-parallel rank."""
    path = state / f"bad-batch-{step:08d}-{engine.ranks.data}.npz"
    if engine.ranks.along("pipeline") == 0 and engine.ranks.along("tensor") == 0:
        state.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in batch.on(torch.device("cpu")).items()}
        np.savez_compressed(path, **arrays)
    return path


@contextmanager
def _asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM or SIGUSR1 has come (Slurm sends them before it takes a machine away); they no longer end the process."""
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGUSR1)}
    except ValueError:  # not in the main thread, where signals do not come
        before = {}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

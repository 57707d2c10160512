"""Our side of training: the product's own road, `medloom.train.pretrain`, on a model folder and a token store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sides.clock import run
from sides.train_steps import Steps

SEEDLING = "demo/seedling"  # whose tokenizer a made model carries: a model folder must have one, and here nothing reads it


def draw(folder: str, config: dict[str, Any], dtype: str, device: str) -> Callable[[], Any]:
    """A model folder with random weights of a shape (the fields of ModelConfig), drawn on `device`.

    Spread so that every product of a normalised input has the deviation 0.8, wider than small networks begin: losses then depend on
    what attention sees, and a wrong mask shows.
    """
    import medloom
    from medloom.model import Llama, ModelConfig, save_model

    def work() -> dict[str, int]:
        with torch.device("meta"):
            network = Llama(ModelConfig(**config))
        network = network.to(getattr(torch, dtype)).to_empty(device=device)
        generator = torch.Generator(device).manual_seed(1)
        with torch.no_grad():
            for weight in network.parameters():
                if weight.dim() == 1:
                    weight.fill_(1.0)
                else:
                    weight.normal_(std=0.8 / network.config.hidden_size**0.5, generator=generator)
        save_model(network, Path(folder), like=Path(medloom.__file__).parent / SEEDLING, dtype=dtype)
        return {"parameters": network.config.parameters}

    return work


def _pretrain(model: str, tokens: str, scratch: str, training: dict[str, Any], layout: dict[str, Any], steps: Any) -> dict[str, Any]:
    from medloom.recipe import Layout, Training
    from medloom.train import pretrain

    with TemporaryDirectory(dir=scratch, prefix="run-") as folder:
        out, state = Path(folder) / "out", Path(folder) / "state"
        figures = pretrain(Training(**training), model=Path(model), tokens=Path(tokens), out=out, state=state, seed=1, progress=steps,
                           layout=Layout(**layout))
        rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {**figures, "counted": [row["learned"] for row in rows]}


def steps(model: str, tokens: str, scratch: str, training: dict[str, Any], layout: dict[str, Any]) -> Callable[[], Any]:
    """A run, step by step; also the seconds that it waited for its loader, and peak GPU memory in GB."""

    def work() -> dict[str, Any]:
        clock = Steps()
        figures = _pretrain(model, tokens, scratch, training, layout, clock)
        peak = torch.cuda.max_memory_allocated() / 1e9 if training["device"] == "cuda" else 0.0
        return {**clock.result(figures["first_loss"], figures["counted"]), "waited": figures["waited_seconds"], "gpu_peak_gb": peak}

    return work


class _Saves(Steps):
    """Also notes after which steps a checkpoint was begun: each shows as a folder, under a temporary or its final name."""

    def __init__(self, scratch: Path) -> None:
        super().__init__()
        self._scratch, self.saved = scratch, set[int]()

    def advance(self, amount: float = 1, note: str = "") -> None:
        super().advance(amount, note)
        for path in self._scratch.glob("run-*/state/*step-*"):
            self.saved.add(int(path.name.removeprefix(".").removesuffix(".tmp").removeprefix("step-")))


def checkpoint(model: str, short: str, tokens: str, scratch: str, training: dict[str, Any], layout: dict[str, Any],
               every: float) -> Callable[[], Any]:
    """A run over `short` to learn how long a step takes, then one over `tokens` that saves each `every` such steps."""

    def work() -> dict[str, Any]:
        clock = Steps()
        figures = _pretrain(model, short, scratch, training, layout, clock)
        usual = median(clock.result(figures["first_loss"], figures["counted"])["wall"])
        saves = _Saves(Path(scratch))
        figures = _pretrain(model, tokens, scratch, {**training, "checkpoint_seconds": every * usual}, layout, saves)
        result = saves.result(figures["first_loss"], figures["counted"])
        return {**result, "saved": sorted(saves.saved), "saving": figures["saving_seconds"]}

    return work


def chip() -> Callable[[], Any]:
    """The GPU: its name, its memory, and what a plain bfloat16 product of two 8192 by 8192 matrices gets of it. None without CUDA."""

    def work() -> dict[str, Any] | None:
        if not torch.cuda.is_available():
            return None
        size, times = 8192, []
        a, b = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
        for _ in range(30):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            a @ b
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / 1e3)
        middle = sorted(times[10:])[10]
        return {"name": torch.cuda.get_device_name(), "memory": torch.cuda.get_device_properties(0).total_memory,
                "matmul_tflops": 2 * size**3 / middle / 1e12}

    return work


if __name__ == "__main__":
    run({work.__name__: work for work in (draw, steps, checkpoint, chip)})

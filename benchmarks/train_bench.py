"""What the rows of training share: the two sides, and the figures of their samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import measure
import train_inputs as inputs
from measure import Row, Sample

from medloom.model import ModelConfig

SETTLING = 2  # steps after the first that are not counted: caches fill, compiled code is loaded
SAME = 1e-3  # nats a token by which first losses on the same weights and batch may differ in float32
SAME_BF16 = 1e-2  # and where products are in bfloat16, which each side rounds in places of its own
FIXED = {"rate": 3e-4, "schedule": "constant", "warmup": 0.0, "clip": 1.0, "weight_decay": 0.1, "checkpoint_seconds": 1e9,
         "device": "cpu", "precision": "fp32", "documents": "together"}


class Bench(measure.Bench):
    """Training against its peers."""

    sides = "train"

    def model(self, config: ModelConfig, dtype: str = "float32", device: str = "cpu") -> Path:
        """A new model folder of this shape."""
        self.ours("draw", folder=self.folder / "model", config=inputs.shape(config), dtype=dtype, device=device)()
        return self.folder / "model"

    def steps(self, model: Path, tokens: Path, *, compiled: bool, **training: Any) -> Callable[[], Sample]:
        """Our side over a token store, on a CPU in float32 where `training` says nothing else."""
        return self.ours("steps", model=model, tokens=tokens, scratch=self.folder, training={**FIXED, **training},
                         layout={"compile": compiled})


def each(samples: Sequence[Sample], clock: str) -> list[float]:
    """Seconds of every step that counts, of all samples."""
    return [seconds for sample in samples for seconds in sample.result[clock][SETTLING:]]


def speed(samples: Sequence[Sample], clock: str) -> float:
    """Counted targets a second, by the median step; steps are of equal work."""
    return samples[0].result["counted"][-1] / median(each(samples, clock))


def useful(samples: Sequence[Sample], clock: str) -> float:
    """Counted targets a second over all steps, of which none is like another; the median of the samples."""
    return median(sum(sample.result["counted"][SETTLING:]) / sum(sample.result[clock][SETTLING:]) for sample in samples)


def begin_alike(ours: float, peer: float, within: float = SAME) -> tuple[bool, str]:
    """Whether two first losses agree, and the words for it."""
    alike = abs(ours - peer) <= within
    return alike, f"first losses {ours:.4f} and {peer:.4f}: {'the same work' if alike else 'NOT THE SAME WORK'}"


def compared(work: str, unit: str, clock: str, ours: list[Sample], peer: list[Sample], goal: float, note: str, *,
             same: float = SAME, **details: Any) -> Row:
    """A row of tokens a second; met only where both sides begin at the same loss."""
    rates = speed(ours, clock), speed(peer, clock)
    alike, words = begin_alike(ours[0].result["first_loss"], peer[0].result["first_loss"], same)
    ratio = rates[0] / rates[1]
    seconds = {f"{who}_{kind}_seconds": each(samples, kind)
               for who, samples in (("ours", ours), ("peer", peer)) for kind in ("cpu", "wall")}
    return Row(work, *rates, unit, ratio, goal, alike and ratio >= goal, f"{note}; {words}", {**seconds, **details})

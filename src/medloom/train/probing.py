"""Real steps of a stage on random tokens, on this machine: how long one takes, and what its tensors take.

One rank computes alone, as much as a rank has to do in a step of the layout. Where the network does not fit here, networks of fewer
layers are timed, and the time of all layers is read from the line through them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from ..fit import ROWS
from ..ledger import Refusal
from ..model import ModelConfig
from ..recipe import Finetuning, Layout, Training
from .adapters import adapt, initialise_adapters
from .device import choose_device, choose_precision
from .engine import Engine
from .gradients import gradient_norm, scale_gradients
from .held import Held
from .loader import Loaded
from .mesh import Ranks, joined
from .optimise import adamw

STEPS = 20
WARM = 2  # steps before them, in which kernels are compiled and the optimiser makes its averages
ENOUGH = 5  # steps, where they are slow
PATIENCE = 120.0  # seconds after which no more than these are taken
SLABS = (2, 1)  # parts of the layers that fit, in halves


@dataclass(frozen=True)
class Probe:
    """What steps of a stage took. `seconds` for one whole step of one rank: `micro_batches` of `micro_seconds` and one update.

    `memory_gb`: what tensors took at most, 1e9 bytes, where all layers were there; None otherwise. `layers` lists those that were timed.
    """

    steps: int
    layers: tuple[int, ...]
    all_layers: int
    micro_batches: int
    micro_seconds: float
    update_seconds: float
    memory_gb: float | None
    device: str
    precision: str

    @property
    def seconds(self) -> float:
        """Of one optimiser step."""
        return self.micro_batches * self.micro_seconds + self.update_seconds

    def __str__(self) -> str:
        whole = self.layers == (self.all_layers,)
        slab = "" if whole else f", with {' and '.join(map(str, self.layers))} of {self.all_layers} layers, the others reckoned"
        return (f"{self.steps} steps on random tokens on {self.device} in {self.precision}{slab}: {self.micro_batches} micro-batches of "
                f"{self.micro_seconds:.3g} s and {self.update_seconds:.3g} s for the update")


@dataclass(frozen=True)
class _Timed:
    steps: int
    micro_seconds: float
    update_seconds: float
    memory_gb: float | None


def probe(config: ModelConfig, layout: Layout, settings: Training, fitting_layers: int,
          tell: Callable[[str], None] = lambda _: None) -> Probe:
    """Time steps of a stage. `fitting_layers`: how many of the network's layers one process of this machine can hold.

    Of a layout of several ranks the rows of one are computed, by the whole network, and its time divided by the ranks that share
    it; what they say to each other is not measured. Raises Refusal where not one layer fits.
    """
    if fitting_layers < 1:
        raise Refusal("--probe: not even one layer of this network fits on this machine; lower micro_batch, or probe on a larger one")
    rows = max(1, settings.micro_batch // layout.data)
    sharing = layout.tensor * layout.pipeline
    alone = Layout(recompute=layout.recompute, compile=layout.compile)
    micro = min(2, settings.batch // settings.micro_batch)  # with more of them the gradients of those before lie there, too
    own = settings.model_copy(update={"batch": micro * rows, "micro_batch": rows})
    counts = (config.layers,) if fitting_layers >= config.layers else tuple(sorted({max(1, fitting_layers // part) for part in SLABS}))
    if len(counts) == 1 and counts[0] < config.layers:
        raise Refusal("--probe: one layer fits on this machine and two do not, so the time of more cannot be reckoned; lower micro_batch")
    device = choose_device(settings.device)
    with joined(alone, device) as ranks:
        precision = choose_precision(settings.precision, ranks.device)
        found = []
        for layers in counts:
            tell(f"probing {layers} of {config.layers} layers, {rows} x {settings.length} tokens")
            found.append(_timed(replace(config, layers=layers).padded(ROWS), own, ranks, precision))

    def reckoned(values: list[float]) -> float:
        if len(values) == 1:
            return values[0]
        slope = (values[1] - values[0]) / (counts[1] - counts[0])
        return values[1] + slope * (config.layers - counts[1])

    return Probe(steps=min(one.steps for one in found), layers=counts, all_layers=config.layers,
                 micro_batches=settings.batch // settings.micro_batch,
                 micro_seconds=reckoned([one.micro_seconds for one in found]) / sharing,
                 update_seconds=reckoned([one.update_seconds for one in found]) / (sharing * layout.shards),
                 memory_gb=found[0].memory_gb if counts == (config.layers,) and layout.processes == 1 else None,
                 device=torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} threads of the processor",
                 precision="bfloat16" if precision == torch.bfloat16 else "float32")


def _timed(config: ModelConfig, settings: Training, ranks: Ranks, precision: torch.dtype) -> _Timed:
    """Medians of the seconds of a micro-batch, forward and back, and of an update."""
    lora = settings.lora if isinstance(settings, Finetuning) else None
    engine = Engine.build(config, settings, ranks, precision, adapt=None if lora is None else lambda network: adapt(network, lora, 0))
    engine.materialise()
    for network in engine.networks:
        network.initialise(0)
        initialise_adapters(network, 0)
    parameters = [parameter for _, parameter in engine.parameters()]
    optimiser = adamw(parameters, settings)
    generator = torch.Generator().manual_seed(0)
    micro: list[float] = []
    update: list[float] = []
    with Held(ranks.device, parameters) as held:
        began = time.perf_counter()
        while len(micro) < WARM + STEPS and not (len(micro) >= WARM + ENOUGH and time.perf_counter() - began > PATIENCE):
            batch = _random(config.vocab_size, settings, ranks, generator)
            start = _now(ranks)
            engine.forward_backward(batch, 1 / batch.tokens)
            middle = _now(ranks)
            scale_gradients(parameters, settings.clip / max(settings.clip, float(gradient_norm(parameters, ranks))))
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            micro.append((middle - start) * settings.micro_batch / settings.batch)
            update.append(_now(ranks) - middle)
    return _Timed(len(micro) - WARM, statistics.median(micro[WARM:]), statistics.median(update[WARM:]), held.peak_gb)


def _now(ranks: Ranks) -> float:
    if ranks.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _random(vocabulary: int, settings: Training, ranks: Ranks, generator: torch.Generator) -> Loaded:
    """Rows of one document each, every token of which is learned."""
    tokens = torch.randint(vocabulary, (settings.batch, settings.length + 1), generator=generator)
    shape = tokens[:, 1:].shape
    segments = torch.zeros(shape, dtype=torch.int64) if settings.documents == "apart" else None
    positions = torch.arange(settings.length).expand(shape).contiguous()
    return Loaded(tokens[:, :-1].contiguous(), positions, segments, tokens[:, 1:].contiguous(),
                  torch.ones(shape, dtype=torch.bool), tokens[:, 1:].numel())

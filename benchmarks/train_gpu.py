"""Training on one GPU: how much of the chip it uses, and transformers' Trainer beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import train_inputs as inputs
from measure import Row, Sample, in_turns
from train_bench import SAME_BF16, Bench, compared, each, speed

from medloom.model import ModelConfig

PEAK = 989e12  # bfloat16 operations a second without sparsity: NVIDIA's data sheet of the H100 SXM, and the H200's
PUBLISHED_8B = 57.8  # % of PEAK, KempnerForge on one H200 for its 8B at 4096 (mfu_scaling.md), by the same formula
BATCH_1B, STEPS_1B, LENGTH_1B = 8, 25, 2048
BATCH_8B, STEPS_8B, LENGTH_8B = 4, 13, 4096
BF16 = {"device": "cuda", "precision": "bf16"}
GOAL_1B, GOAL_TRAINER = 52.0, 1.3


def _on_gpu(work: str, goal: float, unit: str, measure: Callable[[Bench, dict[str, Any]], Row]) -> Callable[[Bench], Row]:
    """The row where there is CUDA, else one that says that there is none."""
    def row(bench: Bench) -> Row:
        chip = bench.ours("chip")().result
        if chip is None:
            return Row(work, None, None, unit, None, goal, None, "not measured: torch sees no CUDA accelerator here")
        made = measure(bench, chip)
        return replace(made, note=f"{chip['name']}; {made.note}; a plain bfloat16 product of two 8192 x 8192 matrices: "
                                  f"{chip['matmul_tflops']:.0f} TFLOP/s", details={**made.details, "chip": chip})

    return row


def _utilisation(work: str, samples: list[Sample], config: ModelConfig, length: int, goal: float, peer: float | None, note: str,
                 *, embedding: bool) -> Row:
    rate = speed(samples, "wall")
    mfu, plain = (100 * rate * inputs.flops(config, length, embedding=counts) / PEAK for counts in (embedding, True))
    return Row(work, mfu, peer, "% of 989 TFLOP/s", mfu / peer if peer else None, goal, mfu >= goal,
               f"{config.parameters / 1e9:.2f} B parameters at {length}: {rate:,.0f} tokens/s, "
               f"peak {samples[0].result['gpu_peak_gb']:.0f} GB; {note}",
               {"tokens_per_second": rate, "mfu_by_all_parameters": plain, "wall_seconds": each(samples, "wall"),
                "first_loss": samples[0].result["first_loss"]})


def _gpu_mfu_1b(bench: Bench, chip: dict[str, Any]) -> Row:
    config = inputs.BILLION
    tokens, _ = inputs.drawn_rows(bench.folder, BATCH_1B * STEPS_1B, LENGTH_1B, config.vocab_size)
    (samples,) = in_turns(bench.rounds(1), bench.steps(bench.model(config, "bfloat16", "cuda"), tokens, compiled=True, length=LENGTH_1B,
                                                       batch=BATCH_1B, micro_batch=BATCH_1B, **BF16))
    return _utilisation("gpu-mfu-1b", samples, config, LENGTH_1B, GOAL_1B, None,
                        f"{BATCH_1B} rows a step; float32 weights and AdamW, bfloat16 products, compiled; "
                        "6 N + 12 layers width length a token", embedding=True)


def slab(memory: int) -> ModelConfig:
    """Llama 3 8B with as many of its layers as a GPU of `memory` bytes trains, one row of 4096 at a time, without recomputation.

    Bytes: 18 a weight (float32 weight, gradient and two averages, bfloat16 copy), 12 a score (bfloat16, float32 and gradient), about
    200,000 a token and layer of activations; a fifth of the memory stays free.
    """
    whole = inputs.LLAMA3_8B

    def needs(layers: int) -> float:
        return 18 * replace(whole, layers=layers).parameters + LENGTH_8B * (12 * whole.vocab_size + 200_000 * layers)

    return replace(whole, layers=max(layers for layers in range(1, whole.layers + 1) if layers == 1 or needs(layers) <= 0.8 * memory))


def _gpu_mfu_7b_slab(bench: Bench, chip: dict[str, Any]) -> Row:
    config = slab(chip["memory"])
    tokens, _ = inputs.drawn_rows(bench.folder, BATCH_8B * STEPS_8B, LENGTH_8B, config.vocab_size)
    (samples,) = in_turns(bench.rounds(1), bench.steps(bench.model(config, "bfloat16", "cuda"), tokens, compiled=True, length=LENGTH_8B,
                                                       batch=BATCH_8B, micro_batch=1, **BF16))
    whole = config.layers == inputs.LLAMA3_8B.layers
    head = 6 * config.vocab_size * config.hidden_size / inputs.flops(config, LENGTH_8B, embedding=False)
    note = "the whole network" if whole else (
        f"{config.layers} of the {inputs.LLAMA3_8B.layers} layers of Llama 3 8B, as many as fit; the embedding, a lookup, is not "
        f"counted, and the head is {head:.0%} of the work, which is 7 % in the whole")
    return _utilisation("gpu-mfu-7b-slab", samples, config, LENGTH_8B, PUBLISHED_8B, PUBLISHED_8B,
                        f"{note}; peer: KempnerForge's published figure for its 8 B on one H200", embedding=whole)


def _gpu_hf_trainer(bench: Bench, chip: dict[str, Any]) -> Row:
    config = inputs.BILLION
    tokens, rows = inputs.drawn_rows(bench.folder, BATCH_1B * STEPS_1B, LENGTH_1B, config.vocab_size)
    model = bench.model(config, "bfloat16", "cuda")
    ours, peer = in_turns(
        bench.rounds(1),
        bench.steps(model, tokens, compiled=True, length=LENGTH_1B, batch=BATCH_1B, micro_batch=BATCH_1B, **BF16),
        bench.peer("hf_trainer", model=model, rows=rows, scratch=bench.folder, batch=BATCH_1B, device="cuda", bf16=True, compiled=True))
    return compared("gpu-hf-trainer", "tokens/s", "wall", ours, peer, GOAL_TRAINER,
                    f"{config.parameters / 1e9:.2f} B parameters, {BATCH_1B} x {LENGTH_1B} tokens a step, float32 weights and bfloat16 "
                    "products, both compiled, scaled_dot_product_attention on both; peak "
                    f"{ours[0].result['gpu_peak_gb']:.0f} GB and {peer[0].result['gpu_peak_gb']:.0f} GB", same=SAME_BF16)


ROWS = {"gpu-mfu-1b": _on_gpu("gpu-mfu-1b", GOAL_1B, "% of 989 TFLOP/s", _gpu_mfu_1b),
        "gpu-mfu-7b-slab": _on_gpu("gpu-mfu-7b-slab", PUBLISHED_8B, "% of 989 TFLOP/s", _gpu_mfu_7b_slab),
        "gpu-hf-trainer": _on_gpu("gpu-hf-trainer", GOAL_TRAINER, "tokens/s", _gpu_hf_trainer)}

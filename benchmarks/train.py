"""Training against its peers: steps on a CPU and on a GPU, packing, the loader, checkpoints.

    python benchmarks/train.py --data DIR --peers peers-train/bin/python [--only ROW ...] [--repeat N] [--json FILE] [--work DIR]

benchmarks/README.md says how the peers are installed and what is measured. The GPU rows need neither DIR nor litgpt. Exit code 1 where a
goal is not met; a row that cannot be measured here says why and is neither.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import train_gpu
import train_inputs as inputs
from measure import Row, in_slices, in_turns, measure_rows
from train_bench import FIXED, SETTLING, Bench, begin_alike, compared, each, speed, useful

ROWS_A_STEP, LENGTH, STEPS = 4, 512, 14


def _cpu(bench: Bench, work: str, goal: float, note: str, *peers: tuple[str, dict[str, Any]]) -> Row:
    """Ours, compiled, against the first peer; others are told of in the note, whose {1} is the ratio to the second."""
    model = bench.model(inputs.SMALL)
    tokens, rows = inputs.drawn_rows(bench.folder, ROWS_A_STEP * STEPS, LENGTH, inputs.SMALL.vocab_size)
    first, *others = (bench.peer(name, model=model, rows=rows, batch=ROWS_A_STEP, **arguments) for name, arguments in peers)
    ours, *theirs = in_slices(bench.rounds(2), bench.steps(model, tokens, compiled=True, length=LENGTH, batch=ROWS_A_STEP,
                                                           micro_batch=ROWS_A_STEP), first, *others)
    peer = theirs[0]
    note = (f"{inputs.SMALL.parameters / 1e6:.1f} M parameters, {ROWS_A_STEP} x {LENGTH} tokens a step, float32, one thread; "
            f"{note.format(*(speed(ours, 'cpu') / speed(other, 'cpu') for other in theirs))}; the sides ran in slices of a second each")
    return compared(work, "tokens/CPU s", "cpu", ours, peer, goal, note,
                    other_peers_cpu_seconds=[each(other, "cpu") for other in theirs[1:]])


def cpu_hf_trainer(bench: Bench) -> Row:
    """Against transformers' Trainer as it comes; with its torch_compile in the note."""
    usual = {"scratch": bench.folder, "device": "cpu", "bf16": False}
    return _cpu(bench, "cpu-hf-trainer", 1.08,
                "ours compiled, the Trainer not; against the Trainer with torch_compile the ratio is {1:.3f}",
                ("hf_trainer", {**usual, "compiled": False}), ("hf_trainer", {**usual, "compiled": True}))


def cpu_litgpt(bench: Bench) -> Row:
    """Against litgpt's pretraining loop as it comes; with a fused AdamW in the note."""
    return _cpu(bench, "cpu-litgpt", 1.05,
                "both compiled, litgpt its network as one; given the fused AdamW that it has on a GPU alone the ratio is {1:.3f}",
                *(("litgpt", {"scratch": bench.folder, "fused": fused}) for fused in (False, True)))


def cpu_bare_loop(bench: Bench) -> Row:
    """Against a plain loop over transformers' LlamaForCausalLM."""
    return _cpu(bench, "cpu-bare-loop", 1.05, "ours compiled, the loop not", ("bare_loop", {}))


PADDED_BATCH, PACKED_LENGTH, PACKED_STEPS, PADDED_STEPS = 8, 2048, 19, 19
OVER_PADDING, OVER_TOGETHER = 1.8, 1.3


def packing(bench: Bench) -> Row:
    """Abstracts packed with attention within each, against padding them to the longest of 8, and against packing without that."""
    config = inputs.SMALL
    model = bench.model(config)
    medline = bench.data / "corpus" / "medline" / "pubmed20n0014.xml.gz"
    real = inputs.abstracts(medline, bench.data / "tokenizers" / "llama2" / "tokenizer.model", config.vocab_size, PADDED_BATCH)
    packed = inputs.first(real.documents, PACKED_STEPS * PACKED_LENGTH + 1)
    padded = [ids[:PACKED_LENGTH] for ids in real.documents[: PADDED_STEPS * PADDED_BATCH]]
    tokens = inputs.write_store(bench.folder / "tokens", packed, config.vocab_size)
    row = inputs.first(packed, PACKED_LENGTH + 1)
    sets = {"apart": row, "together": [np.concatenate(row)], "padded": padded[:PADDED_BATCH]}
    paths = {name: str(inputs.write_documents(bench.folder / f"{name}.npz", held)) for name, held in sets.items()}
    whole = inputs.write_documents(bench.folder / "documents.npz", padded)
    settings = {"length": PACKED_LENGTH, "batch": 1, "micro_batch": 1, "compiled": False}
    ran = dict(zip(("apart", "together", "padded"), in_turns(
        bench.rounds(1), bench.steps(model, tokens, **settings, documents="apart"), bench.steps(model, tokens, **settings),
        bench.peer("hf_padded", model=model, documents=whole, scratch=bench.folder, batch=PADDED_BATCH)), strict=True))
    reference = bench.peer("losses", model=model, documents=paths)().result
    checks = {name: begin_alike(samples[0].result["first_loss"], reference[name]) for name, samples in ran.items()}
    rates = {name: useful(samples, "cpu") for name, samples in ran.items()}
    over_padding, over_together = (rates["apart"] / rates[name] for name in ("padded", "together"))
    peer = ran["padded"][0].result
    wasted = 1 - sum(count + PADDED_BATCH for count in peer["counted"]) / sum(peer["positions"])
    said = "; ".join(f"{name}, against transformers on the same documents one by one: {words}" for name, (_, words) in checks.items())
    return Row("packing", rates["apart"], rates["padded"], "counted tokens/CPU s", over_padding, OVER_PADDING,
               over_padding >= OVER_PADDING and over_together >= OVER_TOGETHER and all(alike for alike, _ in checks.values()),
               f"{len(real.documents):,} MEDLINE abstracts of {real.mean:.0f} tokens in the mean; ours {PACKED_LENGTH} tokens a step with "
               f"attention within documents, HF Trainer {PADDED_BATCH} documents a step, of whose positions {wasted:.0%} are padding "
               f"({real.padding:.0%} in the whole file); nothing is compiled; against ours with documents together "
               f"({rates['together']:,.0f}) the ratio is {over_together:.2f}, goal {OVER_TOGETHER}; {said}",
               {"counted_tokens_per_cpu_second": rates, "over_together": over_together, "reference_losses": reference,
                **{f"{name}_cpu_seconds": each(samples, "cpu") for name, samples in ran.items()}})


LARGE_STEP = {"length": LENGTH, "batch": 16, "micro_batch": 16}
WAITING, STALL = 2.0, 5.0  # % of a step, at most


def loader(bench: Bench) -> Row:
    """The share of a step that training waits for its loader."""
    tokens, _ = inputs.drawn_rows(bench.folder, 16 * 8, LENGTH, inputs.SMALL.vocab_size)
    (samples,) = in_turns(bench.rounds(1), bench.steps(bench.model(inputs.SMALL), tokens, compiled=True, **LARGE_STEP))
    step = median(each(samples, "wall"))
    waited = median(sample.result["waited"] / (len(sample.result["wall"]) + 1) for sample in samples)
    share = 100 * waited / step
    return Row("loader", share, None, "% of a step", None, WAITING, share < WAITING,
               f"a step of 16 x {LENGTH} tokens takes {step:.2f} s, of which {1e3 * waited:.2f} ms are spent waiting for its batch, as the "
               f"loop counts them; goal: less than {WAITING:g} %", {"wall_seconds": each(samples, "wall"), "waited_seconds_a_step": waited})


def checkpoint(bench: Bench) -> Row:
    """What one asynchronous checkpoint costs the training, as a share of a step."""
    stores = {steps: inputs.drawn_rows(bench.folder / str(steps), 16 * steps, LENGTH, inputs.SMALL.vocab_size)[0] for steps in (4, 18)}
    settings = {**FIXED, **LARGE_STEP}
    (samples,) = in_turns(bench.rounds(1), bench.ours("checkpoint", model=bench.model(inputs.SMALL), short=stores[4], tokens=stores[18],
                                                      scratch=bench.folder, training=settings, layout={"compile": True}, every=3.5))
    steps, extras = [], []
    for sample in samples:
        # wall[k] is the time from the end of step k + 1 to that of step k + 2 (steps counted from 1): a save after step s is in
        # wall[s - 1], and what it still writes in wall[s].
        wall, saved = sample.result["wall"], [step for step in sample.result["saved"] if SETTLING < step < len(sample.result["wall"])]
        touched = {place for step in saved for place in (step - 1, step)}
        usual = median(seconds for place, seconds in enumerate(wall) if place >= SETTLING and place not in touched)
        steps.append(usual)
        extras += [(wall[step - 1] + wall[step] - 2 * usual) / usual for step in saved]
    share, step = 100 * median(extras), median(steps)
    blocked = median(sample.result["saving"] / max(len(sample.result["saved"]), 1) for sample in samples)
    return Row("checkpoint", share, None, "% of a step", None, STALL, share < STALL,
               f"a step of 16 x {LENGTH} tokens takes {step:.2f} s; saves of {inputs.SMALL.parameters * 12 / 1e6:.0f} MB lengthened the "
               f"step they began in and the one after by {', '.join(f'{extra:.1%}' for extra in extras)} of a step together; the call "
               f"itself holds the loop for {1e3 * blocked:.0f} ms, {blocked / step:.1%}; goal: less than {STALL:g} %",
               {"wall_seconds": [sample.result["wall"] for sample in samples],
                "saved_after": [sample.result["saved"] for sample in samples], "blocked_seconds": blocked})


ROWS = {"cpu-hf-trainer": cpu_hf_trainer, "cpu-litgpt": cpu_litgpt, "cpu-bare-loop": cpu_bare_loop, "packing": packing, "loader": loader,
        "checkpoint": checkpoint, **train_gpu.ROWS}
PEERLESS = {"loader", "checkpoint", "gpu-mfu-1b", "gpu-mfu-7b-slab"}


if __name__ == "__main__":
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(Path(tempfile.gettempdir()) / "train-benchmark-inductor"))
    sys.exit(measure_rows(Bench, ROWS, __doc__, "peers-train/bin/python", dataless=ROWS.keys() - {"packing"}, peerless=PEERLESS))

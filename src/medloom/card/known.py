"""Published facts that a card may lean on without stating them: devices, base models, benchmarks."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Peak of dense bfloat16 (float16 where there is none) matrix products, TFLOP/s, from the makers' data sheets.
PEAK_TFLOPS = {"V100": 125.0, "A100": 312.0, "A800": 312.0, "H100": 989.4, "H800": 989.4, "H200": 989.4, "B200": 2250.0, "A40": 149.7,
               "A6000": 154.8, "A10G": 70.0, "L40S": 362.05, "L4": 121.0, "T4": 65.0, "RTX 3090": 71.0, "RTX 4090": 165.2, "MI250X": 383.0,
               "MI300X": 1307.4}

# Weights of base models as their files hold them.
PARAMETERS = {"llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320, "llama-2-70b": 68_976_648_192, "llama-3-8b": 8_030_261_248,
              "llama-3-70b": 70_553_706_496, "mistral-7b": 7_241_732_096}

UTILISATION = 0.70  # no published training run of a dense transformer in 16 bits has kept more than this share of its peak


@dataclass(frozen=True)
class Known:
    """A benchmark: how its name reads, how many questions, the share that guessing gets right, and the set its questions are from."""

    pattern: str
    n: int
    chance: float
    questions: str


# Most particular first. TruthfulQA's chance is of single-answer multiple choice over all options (MC1).
BENCHMARKS = (
    Known(r"(?<!pub)medqa.*\b4|medqa4", 1273, 0.25, "medqa"),
    Known(r"(?<!pub)medqa", 1273, 0.20, "medqa"),
    Known(r"medmcqa", 4183, 0.25, "medmcqa"),
    Known(r"pubmedqa", 500, 1 / 3, "pubmedqa"),
    Known(r"mmlu[ -]*med", 1871, 0.25, "mmlu-medical"),
)
TRUTHFULQA = (
    Known(r"^health$", 55, 0.220, "truthfulqa-health"),
    Known(r"^nutrition$", 16, 0.224, "truthfulqa-nutrition"),
    Known(r"^psychology$", 19, 0.200, "truthfulqa-psychology"),
    Known(r"^science$", 9, 0.158, "truthfulqa-science"),
)


def benchmark(label: str, text: str) -> Known | None:
    """The benchmark that a label names; categories of TruthfulQA only in a text that speaks of TruthfulQA."""
    known = BENCHMARKS + (TRUTHFULQA if "truthfulqa" in text.lower() else ())
    return next((found for found in known if re.search(found.pattern, label.lower())), None)


def bare(name: str) -> str:
    """A model's name for comparing: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def base_parameters(name: str) -> int | None:
    """Weights of the base model that a name means."""
    return next((count for known, count in PARAMETERS.items() if bare(known) in bare(name)), None)

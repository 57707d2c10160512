"""Published facts that a card may lean on without stating them: devices, base models, corpora."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Peak of dense bfloat16 (float16 where there is none) matrix products, TFLOP/s, and the board's highest power, W, from the makers'
# data sheets.
DEVICES = {
    "V100": (125.0, 300), "A100": (312.0, 400), "A800": (312.0, 400), "H100": (989.4, 700), "H800": (989.4, 700), "H200": (989.4, 700),
    "GH200": (989.4, 1000), "H20": (148.0, 400), "B200": (2250.0, 1000), "GB200": (2500.0, 1200), "A30": (165.0, 165), "A40": (149.7, 300),
    "A6000": (154.8, 300), "A10G": (70.0, 300), "A10": (125.0, 150), "L40S": (362.05, 350), "L40": (181.05, 300), "L4": (121.0, 72),
    "T4": (65.0, 70), "P100": (21.2, 300), "RTX 3090": (71.0, 350), "RTX 4090": (165.2, 450), "RTX 5090": (209.5, 575),
    "MI250X": (383.0, 560), "MI300X": (1307.4, 750), "TPU v3": (123.0, 450), "TPU v4": (275.0, 192), "TPU v5e": (197.0, 250),
    "TPU v5p": (459.0, 500), "TPUv3": (123.0, 450), "TPUv4": (275.0, 192), "TPUv5e": (197.0, 250), "TPUv5p": (459.0, 500),
    "Gaudi2": (432.0, 600), "Gaudi 2": (432.0, 600),
}
DEVICE = rf"(?:NVIDIA\s|AMD\s|Google\s|Intel\s)?(?:{'|'.join(re.escape(name) for name in sorted(DEVICES, key=len, reverse=True))})s?\b"

# Weights of base models as their files hold them.
PARAMETERS = {"llama-2-7b": 6_738_415_616, "llama-2-13b": 13_015_864_320, "llama-2-70b": 68_976_648_192, "llama-3-8b": 8_030_261_248,
              "llama-3.1-8b": 8_030_261_248, "llama-3-70b": 70_553_706_496, "llama-3.1-70b": 70_553_706_496, "mistral-7b": 7_241_732_096}

UTILISATION = 0.70  # no published training run of a dense transformer in 16 bits has kept more than this share of its peak
DIRTIEST_GRID = 1.4  # kg CO2 equivalent per kWh at the plug; hard coal and lignite plants give 0.8 to 1.3 (IPCC AR5 WG3, annex III)


@dataclass(frozen=True)
class Corpus:
    """A corpus whose parts were published: tokens to train on and tokens held out, and where that stands."""

    pattern: str
    training: float
    validation: float
    source: str


CORPORA = (Corpus(r"\bGAP-Replay\b", 46.7e9, 1.4e9, "arXiv:2311.16079, table 1"),)


def bare(name: str) -> str:
    """A model's name for comparing: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def base_parameters(name: str) -> int | None:
    """Weights of the base model that a name means."""
    return next((count for known, count in PARAMETERS.items() if bare(known) in bare(name)), None)

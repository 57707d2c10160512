"""Which type each tensor of a quantised file gets: llama.cpp's mixtures for the Llama family.

The names (Q4_K_M) are those of mixtures, not of one type: matrices that cost most when coarse (values, the second
feed-forward matrix, the output) get more bits in some layers. Rules as in llama.cpp's `llama-quant.cpp` (MIT), for which no
paper exists; re-stated here for dense models of the `llama` architecture only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

BASE = {"Q8_0": "Q8_0", "Q6_K": "Q6_K", "Q5_K_M": "Q5_K", "Q4_K_M": "Q4_K", "Q3_K_M": "Q3_K", "Q2_K": "Q2_K"}
FILE_TYPES = {"Q8_0": 7, "Q2_K": 10, "Q3_K_M": 12, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # for rows that 256 does not divide


@dataclass(frozen=True)
class Network:
    """What of a network the mixtures look at."""

    layers: int
    heads: int
    kv_heads: int
    tied: bool


def block(type: str) -> int:
    """Weights that share their scales: a row must be a multiple of it."""
    return 256 if type.endswith("_K") else 32 if type.startswith("Q") else 1


def tensor_type(name: str, shape: tuple[int, ...], mixture: str, network: Network) -> str:
    """The type of one tensor. shape: [rows, columns] or [features]; mixture: a key of BASE."""
    if len(shape) < 2 or not name.endswith(".weight"):
        return "F32"
    wanted = _wanted(name, shape[-1], mixture, network)
    if shape[-1] % block(wanted):
        wanted = _NARROW.get(wanted, "F16")
        return wanted if shape[-1] % block(wanted) == 0 else "F16"
    return wanted


def _wanted(name: str, columns: int, mixture: str, network: Network) -> str:
    base = BASE[mixture]
    part = name.removesuffix(".weight").rpartition(".")[2]
    if part == "output" or (part == "token_embd" and network.tied):
        return "Q8_0" if base == "Q8_0" or columns % block(base) else "Q6_K"
    found = re.match(r"blk\.(\d+)\.", name)
    layer, layers = int(found[1]) if found else 0, network.layers
    favoured = layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2
    if part == "attn_v":
        chosen = base
        if mixture == "Q2_K":
            chosen = "Q4_K" if network.heads // network.kv_heads >= 4 else "Q3_K"
        elif mixture == "Q3_K_M":
            chosen = "Q5_K" if layer < 2 else "Q4_K"
        elif mixture in ("Q4_K_M", "Q5_K_M") and favoured:
            chosen = "Q6_K"
        # 80 layers with shared values is Llama 2 70B's shape, where they are too small to be worth saving on.
        return "Q5_K" if layers == 80 and network.heads != network.kv_heads and chosen in ("Q3_K", "Q4_K") else chosen
    if part == "ffn_down":
        if mixture == "Q3_K_M":
            return "Q5_K" if layer < layers // 16 else "Q4_K"
        return "Q3_K" if mixture == "Q2_K" else "Q6_K" if mixture in ("Q4_K_M", "Q5_K_M") and favoured else base
    if part == "attn_output":
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K"}.get(mixture, base)
    return base

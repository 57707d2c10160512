"""Which type each tensor of a quantised file gets: llama.cpp's mixtures for the Llama family.

The names (Q4_K_M) are those of mixtures, not of one type: matrices that cost most when coarse (values, the second
feed-forward matrix, the output) get more bits, some of them in some layers only. No paper exists for them: the rules are those of
llama.cpp's `llama-quant.cpp` (MIT), re-stated here as a table for dense models of the `llama` architecture.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Network:
    """What of a network the mixtures look at."""

    layers: int
    heads: int
    kv_heads: int
    tied: bool


@dataclass(frozen=True)
class Place:
    """Where a matrix stands: its layer, the network, and whether an importance matrix is given."""

    layer: int
    network: Network
    importance: bool = False


Condition = Callable[[Place], bool]


def first(count: int) -> Condition:
    """In the first `count` layers."""
    return lambda place: place.layer < count


def within(share: int) -> Condition:
    """In the first 1/share of the layers, rounded down."""
    return lambda place: place.layer < place.network.layers // share


def middle(place: Place) -> bool:
    """In neither the first nor the last eighth of the layers."""
    return place.network.layers // 8 <= place.layer < 7 * place.network.layers // 8


def favoured(place: Place) -> bool:
    """In the first or last eighth of the layers, or every third of those between."""
    return not middle(place) or (place.layer - place.network.layers // 8) % 3 == 2


def grouped(place: Place) -> bool:
    """Four query heads or more share a value head, so that its matrix is small beside the others."""
    return place.network.heads // place.network.kv_heads >= 4


def early_with_importance(place: Place) -> bool:
    """In the first eighth, with an importance matrix: without one Q4_1 and Q5_1 do worse there."""
    return within(8)(place) and place.importance


def blind(place: Place) -> bool:
    """Nothing says which columns matter."""
    return not place.importance


def early_and_blind(place: Place) -> bool:
    """In the first eighth, with nothing to say which columns matter."""
    return within(8)(place) and blind(place)


def always(_: Place) -> bool:
    """Everywhere."""
    return True


@dataclass(frozen=True)
class Mixture:
    """The type of most matrices, and of the exceptions: by the matrix's part, the first rule whose condition holds."""

    base: str
    parts: Mapping[str, tuple[tuple[Condition, str], ...]] = field(default_factory=dict)
    output: str = "Q6_K"


NEEDS_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS")  # types that are garbage without an importance matrix
_MEDIUM = dict.fromkeys(("attn_v", "ffn_down"), ((favoured, "Q6_K"),))
_NONLINEAR = {"attn_v": ((grouped, "Q5_K"),), "ffn_down": ((early_and_blind, "Q5_K"),)}
_TWO_BITS = {"attn_v": ((grouped, "Q4_K"), (always, "IQ3_S")), "ffn_down": ((within(8), "IQ3_S"),), "attn_output": ((always, "IQ3_S"),),
             "token_embd": ((always, "IQ3_S"),)}
_BARE_TWO_BITS = {"attn_v": ((grouped, "Q4_K"), (always, "Q2_K")), "ffn_down": ((within(8), "Q2_K"),), "token_embd": ((always, "Q2_K"),)}

MIXTURES = {
    "Q8_0": Mixture("Q8_0", output="Q8_0"),
    "Q6_K": Mixture("Q6_K"),
    "Q5_K_M": Mixture("Q5_K", _MEDIUM),
    "Q5_K_S": Mixture("Q5_K"),
    "Q5_1": Mixture("Q5_1"),
    "Q5_0": Mixture("Q5_0", {"ffn_down": ((early_with_importance, "Q5_1"),)}),
    "Q4_K_M": Mixture("Q4_K", _MEDIUM),
    "Q4_K_S": Mixture("Q4_K", {"attn_v": ((first(4), "Q5_K"),), "ffn_down": ((within(8), "Q5_K"),)}),
    "Q4_1": Mixture("Q4_1"),
    "Q4_0": Mixture("Q4_0", {"ffn_down": ((early_with_importance, "Q4_1"),)}),
    "IQ4_NL": Mixture("IQ4_NL", _NONLINEAR),
    "IQ4_XS": Mixture("IQ4_XS", _NONLINEAR),
    "Q3_K_L": Mixture("Q3_K", dict.fromkeys(("attn_v", "ffn_down", "attn_output"), ((always, "Q5_K"),))),
    "Q3_K_M": Mixture("Q3_K", {"attn_v": ((first(2), "Q5_K"), (always, "Q4_K")), "ffn_down": ((within(16), "Q5_K"), (always, "Q4_K")),
                               "attn_output": ((always, "Q4_K"),)}),
    "Q3_K_S": Mixture("Q3_K"),
    "IQ3_M": Mixture("IQ3_S", {"attn_v": ((always, "Q4_K"),), "ffn_down": ((within(8), "Q4_K"),), "attn_output": ((always, "Q4_K"),)}),
    "IQ3_S": Mixture("IQ3_S", {"attn_v": ((grouped, "Q4_K"),)}),
    "IQ3_XS": Mixture("IQ3_S", {"attn_v": ((grouped, "Q4_K"),), "attn_q": ((always, "IQ3_XXS"),), "attn_k": ((always, "IQ3_XXS"),),
                                "ffn_gate": ((middle, "IQ3_XXS"),), "ffn_up": ((middle, "IQ3_XXS"),)}),
    "IQ3_XXS": Mixture("IQ3_XXS", {"attn_v": ((grouped, "Q4_K"), (blind, "IQ3_S")), "attn_q": ((always, "IQ2_S"),),
                                   "attn_k": ((always, "IQ2_S"),), "ffn_down": ((early_and_blind, "Q4_K"), (blind, "Q3_K")),
                                   "attn_output": ((always, "IQ3_S"),), "token_embd": ((always, "IQ3_S"),)}, output="Q5_K"),
    "Q2_K": Mixture("Q2_K", {"attn_v": ((grouped, "Q4_K"), (always, "Q3_K")), "ffn_down": ((always, "Q3_K"),),
                             "attn_output": ((always, "Q3_K"),)}),
    "IQ2_M": Mixture("IQ2_S", _TWO_BITS, output="Q5_K"),
    "IQ2_S": Mixture("IQ2_XS", _TWO_BITS, output="Q5_K"),
    "IQ2_XS": Mixture("IQ2_XS", _BARE_TWO_BITS, output="Q5_K"),
    "IQ2_XXS": Mixture("IQ2_XXS", _BARE_TWO_BITS, output="Q5_K"),
}

_SMALL_BLOCKS = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "IQ4_NL")
_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}  # for rows that 256 does not divide


def block(type: str) -> int:
    """Weights that share their scales: a row must be a multiple of it."""
    return 32 if type in _SMALL_BLOCKS else 256


def tensor_type(name: str, shape: tuple[int, ...], mixture: str, network: Network, importance: bool = False) -> str | None:
    """The type of one tensor, or None where it keeps that which it has. shape: [rows, columns] or [features]; mixture: a key of MIXTURES.

    importance: whether an importance matrix is given, which some rules ask for.
    """
    if len(shape) < 2 or not name.endswith(".weight") or name.endswith("_norm.weight"):
        return None
    wanted = _wanted(name, shape[-1], MIXTURES[mixture], network, importance)
    if shape[-1] % block(wanted):
        wanted = _NARROW.get(wanted, "IQ4_NL" if wanted.startswith("IQ") else wanted)
    return wanted if shape[-1] % block(wanted) == 0 else "F16"


def _wanted(name: str, columns: int, mixture: Mixture, network: Network, importance: bool) -> str:
    part = name.removesuffix(".weight").rpartition(".")[2]
    if part == "output" or (part == "token_embd" and network.tied):
        return "Q8_0" if columns % block(mixture.base) else mixture.output
    found = re.match(r"blk\.(\d+)\.", name)
    place = Place(int(found[1]) if found else 0, network, importance)
    chosen = next((type for holds, type in mixture.parts.get(part, ()) if holds(place)), mixture.base)
    # 80 layers with shared values is Llama 2 70B's shape, where they are too small to be worth saving on; at two bits all is.
    if part == "attn_v" and network.layers == 80 and network.heads != network.kv_heads and not mixture.base.startswith("IQ2"):
        return "Q5_K" if chosen in ("Q3_K", "Q4_K") else chosen
    return chosen

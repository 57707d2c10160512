"""Two shares of which only the figures are known, as published tables give them."""

from __future__ import annotations

import math


def shares_differ(share: float, n: int, other: float, other_n: int) -> tuple[float, float]:
    """z and two-sided p-value of two independent shares being one (pooled normal approximation).

    Weaker than a paired test on the same questions, and all that can be said where single answers were not published.
    """
    pooled = (share * n + other * other_n) / (n + other_n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / other_n))
    if error == 0:
        return 0.0, 1.0
    z = (share - other) / error
    return z, math.erfc(abs(z) / math.sqrt(2))

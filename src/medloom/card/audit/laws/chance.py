"""The law of chance: who knows nothing guesses, and guessing has its share."""

from __future__ import annotations

from collections.abc import Iterator

from ....numbers import wilson
from ..claims import Card
from ..finding import Finding
from ..scores import results


def below_chance(card: Card) -> Iterator[Finding]:
    """A score whose whole interval lies below guessing measures how answers are read, not what is known. Of several published sizes the
    smallest is taken, whose interval is the widest."""
    for table in results(card):
        low = []
        for label in table.rows:
            for model in table.models:
                found = table.testable(label, model)
                if found is None or not found[1].chance:
                    continue
                score, known = found
                n = min(known.sizes)
                high = 100 * wilson(score.value / 100 * n, n)[1]
                if high < 100 * known.chance:
                    sums = f"{score.printed} % of {n}, 95 % interval up to {high:.1f}, guessing {100 * known.chance:.1f}"
                    low.append((f"{model} on {label}", sums, f"{label}: {model} {score.printed}"))
        if low:
            yield Finding("below-chance", "warning", f"Below what guessing gives: {', '.join(which for which, _, _ in low)}.",
                          "; ".join(f"{which}: {sums}" for which, sums, _ in low),
                          "Print how many answers could not be read, and do not count a model that fails at the format as a baseline.",
                          low[0][2])

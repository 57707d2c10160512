"""What replay saves: the demo's continued pretraining with its share of general text and without any.

    python benchmarks/replay.py [--seeds 1 2 3] [--out DIR] [--json FILE]

Both sides read the same number of medical tokens. `ours` and `peer` are the rise of bits per byte on held-out general text, which neither
side was trained on, over the base model's; the goal is that replay lets it rise less. Runs are kept in DIR and not repeated.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from medloom.demo import demo_recipe
from medloom.ledger import Bars, Ledger
from medloom.ledger.files import write_json
from medloom.road import Road

DOMAINS = ("general", "medical")


def bits_per_byte(root: Path, seed: int, *, replay: bool) -> dict[str, tuple[float, float]]:
    """(base, pretrained) bits per byte of each domain's held-out text."""
    recipe = demo_recipe(seed)
    if not replay:
        assert recipe.corpus is not None and recipe.pretrain is not None and recipe.pretrain.tokens is not None
        share = sum(source.share or 0 for source in recipe.corpus.sources)
        recipe = demo_recipe(seed, ["corpus.sources.general.share=0", f"pretrain.tokens={round(recipe.pretrain.tokens * (1 - share))}"])
    road = Road(recipe)
    ledger = Ledger(root)
    with ledger.opened():
        done = {step.name: result for step, result in ledger.walk([road.steps["heldout-base"], road.steps["heldout-pretrained"]], Bars())}
    return {domain: (done["heldout-base"].figures[domain]["bits_per_byte"], done["heldout-pretrained"].figures[domain]["bits_per_byte"])
            for domain in DOMAINS}


def main() -> int:
    """Print a line for each seed and domain; exit code 1 where the goal is not met."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("runs/replay"))
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    rows = []
    for seed in asked.seeds:
        found = {replay: bits_per_byte(asked.out, seed, replay=replay) for replay in (True, False)}
        for domain in DOMAINS:
            rise = {replay: after - before for replay, (before, after) in ((r, f[domain]) for r, f in found.items())}
            goal = "less" if domain == "general" else "-"
            rows.append({"work": f"{domain}, seed {seed}", "ours": rise[True], "peer": rise[False], "unit": "bits per byte over base",
                         "ratio": rise[True] / rise[False], "goal": goal, "met": domain != "general" or rise[True] < rise[False]})
            print(f"{rows[-1]['work']:<18} with replay {rise[True]:+.4f}   without {rise[False]:+.4f}   ratio {rows[-1]['ratio']:.3f}")
    if asked.json:
        write_json(asked.json, rows)
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())

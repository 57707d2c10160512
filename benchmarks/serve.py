"""`medloom serve` against the bare engine: llama.cpp's server with the same file, context, slots and threads, without a gateway.

    python benchmarks/serve.py [--model GGUF] [--only ROW ...] [--repeat N] [--json FILE]

Both are processes of their own, and so are the clients. Exit code 1 where a goal is not met.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import serve_standing as standing
from measure import Row, measure_all
from serve_bench import Server, bare, bodies, find_model, gateway, long_prompts, under_load
from serve_page import page

from medloom.ledger import Refusal

SECONDS = 1.5  # of one side in one round


@dataclass(frozen=True)
class Bench:
    """What a row is given: the model to serve, rounds, and a folder for what it makes."""

    model: Path
    repeat: int | None
    folder: Path


def _rates(bench: Bench, clients: int, slots: int) -> dict[bool, list[tuple[dict[str, Any], dict[str, Any]]]]:
    """What ours and the bare engine did in each round, streaming and not; a side that was first in one round is second in the next."""
    done: dict[bool, list[tuple[dict[str, Any], dict[str, Any]]]] = {True: [], False: []}
    with gateway(bench.model, slots=slots) as ours, bare(bench.model, slots=slots) as peer:
        prompts = long_prompts(peer, max(16, 2 * clients))
        for number in range(1 + (bench.repeat or 20)):
            for stream, rounds in done.items():
                asked = bodies(prompts, stream=stream)
                order: tuple[Server, ...] = (ours, peer) if number % 2 else (peer, ours)
                said = {server.url: under_load(server, asked, clients, seconds=SECONDS) for server in order}
                if number:  # the first round warms both
                    rounds.append((said[ours.url], said[peer.url]))
    return done


def _throughput(bench: Bench, clients: int, slots: int) -> Row:
    done = _rates(bench, clients, slots)
    found: dict[bool, tuple[float, float, float]] = {}
    for stream, rounds in done.items():
        rates = [[side["tokens"] / side["wall"] for side in both] for both in rounds]
        found[stream] = (median(one for one, _ in rates), median(other for _, other in rates), median(one / other for one, other in rates))

    def cpu(stream: bool, which: int, part: str) -> float:
        """Microseconds a token, in the least disturbed round."""
        return min(both[which][part] / both[which]["tokens"] for both in done[stream]) * 1e6

    sides = [side for rounds in done.values() for both in rounds for side in both]
    clean = not any(side["broken"] or side["others"] or side["refused"] for side in sides)
    ours, peer, ratio = found[True]
    kept = ("tokens", "wall", "cpu", "server_cpu", "engine_cpu")
    return Row(
        f"throughput-{clients}", ours, peer, "tokens/s", ratio, 0.97, clean and ratio >= 0.97,
        f"streamed; whole answers {found[False][0]:,.0f} and {found[False][1]:,.0f}, {found[False][2]:.3f} times; CPU a token, streamed: "
        f"gateway {cpu(True, 0, 'server_cpu'):.0f} µs and its engine {cpu(True, 0, 'engine_cpu'):.0f}, bare "
        f"{cpu(True, 1, 'server_cpu'):.0f}; {slots} slots; ratios are medians of {len(done[True])} rounds in turns"
        + ("" if clean else "; SOME REQUESTS FAILED"),
        {f"{who}_{form}": [{name: both[which][name] for name in kept} for both in done[stream]]
         for which, who in enumerate(("ours", "peer")) for stream, form in ((True, "streamed"), (False, "whole"))})


def overload(bench: Bench) -> Row:
    """64 clients on 4 slots: those let in are served soon, the others are told at once, and no connection fails."""
    mine: list[dict[str, Any]] = []
    theirs: list[dict[str, Any]] = []
    with gateway(bench.model, slots=4) as ours, bare(bench.model, slots=4) as peer:
        asked = bodies(long_prompts(peer, 32), stream=True)
        for _ in range(2):
            theirs.append(under_load(peer, asked, 64, seconds=5))
            mine.append(under_load(ours, asked, 64, requests=5000))

    def every(sides: list[dict[str, Any]], name: str) -> list[float]:
        return [value for side in sides for value in side[name]]

    def rate(sides: list[dict[str, Any]]) -> float:
        return sum(side["tokens"] for side in sides) / sum(side["wall"] for side in sides)

    admitted, refused = every(mine, "seconds"), every(mine, "refused")
    p95 = [quantiles(seconds, n=20)[-1] for seconds in (admitted, every(theirs, "seconds"))]
    late, last = quantiles(refused, n=100)[-1], max(refused)
    broken, others = sum(side["broken"] for side in mine), sorted({status for side in mine for status in side["others"]})
    met = p95[0] <= 0.4 * p95[1] and late <= 0.1 and not broken and not others
    return Row("overload", p95[0], p95[1], "s, p95, at most", p95[0] / p95[1], 0.4, met,
               f"of {sum(side['requests'] for side in mine):,} requests {len(admitted):,} were let in and {len(refused):,} told 429, after "
               f"{median(refused) * 1e3:.0f} ms (median), {late * 1e3:.0f} (p99, at most 100), {last * 1e3:.0f} (last); {broken} "
               f"connections failed; other answers: {', '.join(map(str, others)) or 'none'}; {rate(mine):,.0f} tokens/s, bare "
               f"{rate(theirs):,.0f} with {sum(side['broken'] for side in theirs)} failed",
               {"p99_to_429_s": late, "last_429_s": last, "admitted": len(admitted), "refused": len(refused), "broken": broken,
                **{f"{name}_s": [side[name] for side in mine] for name in ("wall", "cpu", "server_cpu", "engine_cpu")}})


ROWS: dict[str, Callable[[Bench], Row]] = {
    "throughput-1": lambda bench: _throughput(bench, 1, 4),
    "throughput-16": lambda bench: _throughput(bench, 16, 16),
    "overload": overload,
    "disconnect": lambda bench: asyncio.run(standing.disconnect(bench.folder)),
    "drain": lambda bench: asyncio.run(standing.drain(bench.folder)),
    "crash": lambda bench: asyncio.run(standing.crash(bench.model)),
    "malformed": lambda bench: asyncio.run(standing.malformed_bodies(bench.model)),
    "page": lambda bench: page(bench.model),
}


def main() -> int:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=f"among {', '.join(ROWS)}")
    parser.add_argument("--model", type=Path, help="a GGUF file [default: the one of a medloom-demo here]")
    parser.add_argument("--repeat", type=int, help="rounds of the throughput rows [default: 20]")
    parser.add_argument("--json", type=Path, help="write the rows here; rows of other works in it stay")
    asked = parser.parse_args()
    try:
        model = find_model(asked.model)
    except Refusal as refusal:
        parser.error(str(refusal))

    def one(name: str) -> Row:
        with tempfile.TemporaryDirectory(prefix="serve-benchmark-") as folder:
            return ROWS[name](Bench(model, asked.repeat, Path(folder)))

    return measure_all(asked.only, one, asked.json, None)


if __name__ == "__main__":
    sys.exit(main())

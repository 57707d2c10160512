"""Who judges which pair, on which side each answer stands, and in which order: balanced, and random by the study's seed.

Numbers are places in the study's lists of questions and raters; a contest is two models.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

Edge = tuple[Hashable, Hashable]


@dataclass(frozen=True)
class Assignment:
    """One pair before one rater. `first` and `second` are in the study's order; `swapped` shows the second as answer A."""

    rater: int
    question: int
    first: str
    second: str
    swapped: bool


def assign(questions: int, contests: Sequence[tuple[str, str]], raters: int, per_pair: int, seed: int) -> list[list[Assignment]]:
    """Each rater's pairs in the order they are shown.

    Every pair goes to `per_pair` raters. Raters' loads differ by at most one, in all and within each contest. Of the pairs of a contest
    that a rater judges, and of the raters that judge a pair, each model is answer A for half, give or take one.
    """
    shown: list[list[Assignment]] = [[] for _ in range(raters)]
    turn = 0
    people = list(range(raters))
    random.Random(f"{seed} raters").shuffle(people)
    for contest in contests:
        order = list(range(questions))
        draw = random.Random(f"{seed} {contest}")
        draw.shuffle(order)
        edges: list[tuple[int, int]] = []
        for question in order:
            edges += [(people[(turn + place) % raters], question) for place in range(per_pair)]
            turn += per_pair
        for (rater, question), swapped in zip(edges, halves([(("r", r), ("q", q)) for r, q in edges], draw), strict=True):
            shown[rater].append(Assignment(rater, question, *contest, swapped))
    for rater, own in enumerate(shown):
        random.Random(f"{seed} order {rater}").shuffle(own)
    return shown


def halves(edges: Sequence[Edge], draw: random.Random) -> list[bool]:
    """One of two colours for each edge of a bipartite graph, so that at every vertex their numbers differ by at most one.

    Euler's way: trails that use every edge once, coloured in turn as they are walked. A trail through a vertex leaves one edge of each
    colour there; an odd vertex is the end of one trail only; a closed trail in a bipartite graph has an even number of edges.
    """
    around: dict[Hashable, list[int]] = defaultdict(list)
    for number, (a, b) in enumerate(edges):
        around[a].append(number)
        around[b].append(number)
    left = {vertex: len(own) for vertex, own in around.items()}
    colours: list[bool | None] = [None] * len(edges)

    def walk(vertex: Hashable) -> None:
        colour = draw.random() < 0.5
        while left[vertex]:
            number = around[vertex].pop()
            if colours[number] is None:
                colours[number], colour = colour, not colour
                left[vertex] -= 1
                a, b = edges[number]
                vertex = b if vertex == a else a
                left[vertex] -= 1

    for vertex in around:
        if left[vertex] % 2:  # neither end of a trail yet
            walk(vertex)
    for vertex in around:
        while left[vertex]:
            walk(vertex)
    return [bool(colour) for colour in colours]

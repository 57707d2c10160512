"""Continuations scored by engines that tell the next token alone: one question for each distinct beginning of a continuation."""

from __future__ import annotations

from collections.abc import Sequence

from .engine import Ids

Beginning = tuple[int, tuple[int, ...]]  # the number of a prompt, and what of a continuation stands behind it


def beginnings(continuations: Sequence[Sequence[Ids]]) -> dict[Beginning, list[int]]:
    """For each prompt's continuations the beginnings to be asked for, each with the tokens wanted next; a question before what goes on."""
    wanted: dict[Beginning, dict[int, None]] = {}
    for number, branches in enumerate(continuations):
        for branch in branches:
            for position, token in enumerate(branch):
                wanted.setdefault((number, tuple(branch[:position])), {})[token] = None
    return {beginning: list(wanted[beginning]) for beginning in sorted(wanted, key=lambda one: (len(one[1]), one[0], one[1]))}


def summed(continuations: Sequence[Sequence[Ids]], asked: dict[Beginning, list[int]], values: Sequence[Sequence[float]]
           ) -> list[list[float]]:
    """The log-probability of every continuation, from those of the tokens wanted behind each beginning, in the same order."""
    known = {(*beginning, token): value for (beginning, tokens), row in zip(asked.items(), values, strict=True)
             for token, value in zip(tokens, row, strict=True)}
    return [[sum(known[number, tuple(branch[:end]), token] for end, token in enumerate(branch)) for branch in branches]
            for number, branches in enumerate(continuations)]

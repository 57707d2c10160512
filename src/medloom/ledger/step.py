"""What a step is, and the digest that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from .files import sha256_file, sha256_json
from .progress import Progress

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Workspace:
    """What a step's work is given: where to write, what survives a kill, where its inputs lie, whom to tell."""

    out: Path
    state: Path
    inputs: Mapping[str, Path]
    progress: Progress


@dataclass(frozen=True, eq=False)
class Step:
    """A piece of work whose output follows from its inputs, its parameters and the code of the rooms it uses.

    `work` writes files below `Workspace.out` and returns figures (values that JSON can hold). `measured` names outputs, as
    patterns, that state times or costs and therefore differ between runs: they are recorded, but leave the output digest alone.
    """

    name: str
    work: Callable[[Workspace], Mapping[str, Any]]
    rooms: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, Step | Path] = field(default_factory=dict)
    measured: tuple[str, ...] = ()

    def digest(self, inputs: Mapping[str, str]) -> str:
        """The step's name in the ledger, from the digests of its inputs."""
        return sha256_json({"step": self.name, "code": code_digest(self.rooms), "params": self.params, "inputs": inputs})


def ancestry(targets: Iterable[Step]) -> list[Step]:
    """The targets and all that they rest on, each once, inputs before what uses them."""
    ordered: dict[Step, None] = {}

    def visit(step: Step) -> None:
        if step not in ordered:
            for needed in step.inputs.values():
                if isinstance(needed, Step):
                    visit(needed)
            ordered[step] = None

    for target in targets:
        visit(target)
    return list(ordered)


@cache
def code_digest(rooms: tuple[str, ...]) -> str:
    """Digest of the source of the named rooms of this package (`train`, `model`, ...): the code version of a step."""
    sources: dict[str, str] = {}
    for room in sorted(rooms):
        place = PACKAGE / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        sources |= {path.relative_to(PACKAGE).as_posix(): sha256_file(path) for path in files}
    return sha256_json(sources)

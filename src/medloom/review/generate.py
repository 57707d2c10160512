"""The answers of a study, written by its models and kept with all that is needed to write them again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Protocol

from ..ledger import Progress, Refusal
from .store import Store
from .study import Candidate, Sampling


@dataclass(frozen=True)
class Asked:
    """One question for a model; `id` names it where it cannot be answered, `seed` is this answer's own."""

    id: str
    question: str
    seed: int


@dataclass(frozen=True)
class Written:
    """An answer; `cut` where it reached the longest length allowed."""

    text: str
    cut: bool


class Writer(Protocol):
    """A model that answers. `sha256` is the digest of its files, None where only a server knows it; `served_as` what a server calls it;
    `template` says what a question becomes before the model reads it."""

    sha256: str | None
    served_as: str | None
    template: str

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        """An answer for each question, in order, each as soon as it is there."""


Opener = Callable[[Candidate], AbstractContextManager[Writer]]


def generate(store: Store, opener: Opener, progress: Progress) -> dict[str, dict[str, int]]:
    """Have every model answer what it has not answered yet; each answer is on disk as soon as it is there.

    Gives by model: `written` now, `there` already, `empty`, `cut`, and `named`, the answers of this model in which the name of a model of
    the study stands, which may give it away. Raises Refusal where a model is not the one that began.
    """
    found = {}
    for candidate in store.study.models:
        missing, there = _missing(store, candidate.name)
        if missing:
            with opener(candidate) as writer:
                _refuse_another(store, candidate.name, writer)
                _answer(store, candidate, writer, missing, there, progress)
        found[candidate.name] = {"written": len(missing), "there": there, **_telling(store, candidate.name)}
    return found


def seed_of(seed: int, question: str) -> int:
    """The sampling seed of a question, the same for every model: below 2**31, from the study's."""
    return int.from_bytes(sha256(f"{seed} {question}".encode()).digest()[:4]) >> 1


def unanswered(store: Store) -> Mapping[str, int]:
    """How many answers each model still owes; models that owe none are left out."""
    owed = {one.name: len(_missing(store, one.name)[0]) for one in store.study.models}
    return {name: count for name, count in owed.items() if count}


def _answer(store: Store, candidate: Candidate, writer: Writer, missing: Sequence[tuple[str, str]], there: int, progress: Progress
            ) -> None:
    sampling = store.study.sampling_of(candidate.name)
    asked = [Asked(ident, text, seed_of(store.study.seed, ident)) for ident, text in missing]
    with progress.task(f"answers of {candidate.name}", total=there + len(missing), unit="answers") as task:
        task.advance(there)
        for (ident, _), one, written in zip(missing, asked, writer.write(asked, store.study.system, sampling), strict=True):
            with store.writing() as db:
                db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
                    ident, candidate.name, written.text.strip(), written.cut, sampling.tokens, sampling.temperature, one.seed,
                    writer.template, writer.sha256, writer.served_as, datetime.now(UTC).isoformat(timespec="seconds")))
            task.advance()


def _missing(store: Store, model: str) -> tuple[list[tuple[str, str]], int]:
    """The questions, id and text, that a model has not answered, and how many it has."""
    with store.reading() as db:
        rows = db.execute("SELECT id, text FROM questions WHERE id NOT IN (SELECT question FROM answers WHERE model = ?) ORDER BY position",
                          (model,)).fetchall()
        (there,) = db.execute("SELECT count(*) FROM answers WHERE model = ?", (model,)).fetchone()
    return [(row["id"], row["text"]) for row in rows], there


def _refuse_another(store: Store, model: str, writer: Writer) -> None:
    with store.reading() as db:
        began = db.execute("SELECT DISTINCT model_sha256, served_as, template FROM answers WHERE model = ?", (model,)).fetchall()
    if any((row["model_sha256"], row["served_as"], row["template"]) != (writer.sha256, writer.served_as, writer.template) for row in began):
        raise Refusal(f"{model}: is not the model, or not the template, that wrote the first answers of {model} in this study; put the old "
                      "one back, or make a new study")


def _telling(store: Store, model: str) -> dict[str, int]:
    names = [one.name.casefold() for one in store.study.models]
    with store.reading() as db:
        rows = db.execute("SELECT text, cut FROM answers WHERE model = ?", (model,)).fetchall()
    return {"empty": sum(not row["text"] for row in rows), "cut": sum(row["cut"] for row in rows),
            "named": sum(any(name in row["text"].casefold() for name in names) for row in rows)}

"""What a rater is shown and what a rater says. Until a pair is voted on, nothing here tells which model wrote what."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from .store import Store
from .study import Part

LONGEST_COMMENT = 10_000
Score = Annotated[int, Field(ge=0, strict=True)] | None  # None: cannot tell


class Sides(Part):
    """What is said of each answer on one axis: the option's place, from 0, the worst."""

    a: Score
    b: Score


class Unsafe(Part):
    """Whether each answer could harm somebody."""

    a: Annotated[bool, Field(strict=True)] = False
    b: Annotated[bool, Field(strict=True)] = False


class Vote(Part):
    """One vote: which answer is better, and every axis of the study for both. `seconds`: how long the pair was in view."""

    pair: Annotated[str, Field(min_length=1, max_length=64)]
    preference: Literal["a", "b", "same"]
    ratings: dict[str, Sides]
    unsafe: Unsafe = Unsafe()
    comment: Annotated[str, Field(max_length=LONGEST_COMMENT)] = ""
    seconds: Annotated[float, Field(ge=0, le=1e7)] | None = None


class Wrong(ValueError):
    """A vote that the study cannot take; says why."""


class Unknown(ValueError):
    """A pair that is not this rater's."""


class Voted(ValueError):
    """A pair on which this rater has voted already."""


def next_pair(store: Store, rater: str) -> dict[str, Any]:
    """Where a rater stands, and the first pair without a vote: {"done", "total", "pair"}, with "revealed" once there is none left.

    A pair is {"id", "number", "question", "a", "b"}; an answer {"text", "cut"}.
    """
    with store.reading() as db:
        done, total = _counts(db, rater)
        row = db.execute(f"{_PAIRS} WHERE s.rater = ? AND v.assignment IS NULL ORDER BY s.position LIMIT 1", (rater,)).fetchone()
        if row is None:
            return {"done": done, "total": total, "pair": None, "revealed": _all(db, store, rater)}
        answers = {side: _answer(db, row["question"], model) for side, model in zip("ab", _order(row), strict=True)}
    return {"done": done, "total": total, "pair": {"id": row["id"], "number": row["position"] + 1, "question": row["text"], **answers}}


def vote(store: Store, rater: str, said: Vote) -> dict[str, Any]:
    """Keep a vote: {"done", "total", "revealed"}, the last {"a": name, "b": name}, or None where the study does not tell yet.

    Raises Unknown for a pair that is not this rater's, Voted for one voted on before, Wrong where an axis is missing or out of range.
    """
    _check(store, said)
    with store.writing() as db:
        row = db.execute(f"{_PAIRS} WHERE s.id = ? AND s.rater = ?", (said.pair, rater)).fetchone()
        if row is None:
            raise Unknown("this pair is not one of yours; load the page again")
        try:
            db.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?)", (
                said.pair, said.preference, said.unsafe.a, said.unsafe.b, said.comment.strip(), said.seconds,
                datetime.now(UTC).isoformat(timespec="seconds")))
        except sqlite3.IntegrityError:
            raise Voted("your vote on this pair is there already, and it stays as it was") from None
        db.executemany("INSERT INTO ratings VALUES (?, ?, ?, ?)", [
            (said.pair, side, axis.key, getattr(said.ratings[axis.key], side)) for axis in store.study.axes for side in "ab"])
        done, total = _counts(db, rater)
        told = store.study.reveal == "vote" and not _to_come(db, rater, row["question"])
    return {"done": done, "total": total, "revealed": dict(zip("ab", _order(row), strict=True)) if told else None}


_PAIRS = ("SELECT s.*, q.text, v.preference FROM assignments s JOIN questions q ON q.id = s.question "
          "LEFT JOIN votes v ON v.assignment = s.id")


def _check(store: Store, said: Vote) -> None:
    keys = {axis.key for axis in store.study.axes}
    if set(said.ratings) != keys:
        raise Wrong(f"ratings: this study asks for {', '.join(sorted(keys)) or 'none'}")
    for axis in store.study.axes:
        for score in (said.ratings[axis.key].a, said.ratings[axis.key].b):
            if score is not None and score >= len(axis.options):
                raise Wrong(f"ratings.{axis.key}: give a whole number below {len(axis.options)}, or null where you cannot tell")


def _order(row: sqlite3.Row) -> tuple[str, str]:
    """The models in the order shown."""
    return (row["second"], row["first"]) if row["swapped"] else (row["first"], row["second"])


def _answer(db: sqlite3.Connection, question: str, model: str) -> dict[str, Any]:
    row = db.execute("SELECT text, cut FROM answers WHERE question = ? AND model = ?", (question, model)).fetchone()
    return {"text": row["text"], "cut": bool(row["cut"])}


def _counts(db: sqlite3.Connection, rater: str) -> tuple[int, int]:
    row = db.execute("SELECT count(v.assignment), count(*) FROM assignments s LEFT JOIN votes v ON v.assignment = s.id WHERE s.rater = ?",
                     (rater,)).fetchone()
    return int(row[0]), int(row[1])


def _to_come(db: sqlite3.Connection, rater: str, question: str) -> bool:
    """Whether answers to a question come before the rater again: to be told who wrote them would unblind those pairs."""
    row = db.execute(f"{_PAIRS} WHERE s.rater = ? AND s.question = ? AND v.assignment IS NULL LIMIT 1", (rater, question)).fetchone()
    return row is not None


def _all(db: sqlite3.Connection, store: Store, rater: str) -> list[dict[str, Any]] | None:
    """Who wrote what in all of a rater's pairs; None where the study never tells."""
    if store.study.reveal == "never":
        return None
    rows = db.execute(f"{_PAIRS} WHERE s.rater = ? ORDER BY s.position", (rater,)).fetchall()
    return [{"number": row["position"] + 1, "question": row["text"], **dict(zip("ab", _order(row), strict=True)),
             "preference": row["preference"]} for row in rows]

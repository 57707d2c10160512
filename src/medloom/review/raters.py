"""Raters: their links, and how far each has come."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from hashlib import sha256
from typing import Any

from ..ledger import Refusal
from .store import Store


def new_links(store: Store, renew: Collection[str] = ()) -> dict[str, str]:
    """A token for each rater that has none, and a fresh one in place of the old for each of `renew`; by name.

    They are told this once: the database keeps digests. Raises Refusal for a rater that the study has not.
    """
    unknown = sorted(set(renew) - set(store.study.raters))
    if unknown:
        raise Refusal(f"{unknown[0]!r}: no rater of this study; there are {', '.join(store.study.raters)}")
    tokens = {}
    with store.writing() as db:
        without = {row["name"] for row in db.execute("SELECT name FROM raters WHERE token_sha256 IS NULL")}
        for name in store.study.raters:
            if name in without or name in renew:
                tokens[name] = secrets.token_urlsafe(24)
                db.execute("UPDATE raters SET token_sha256 = ? WHERE name = ?", (digest(tokens[name]), name))
    return tokens


def rater_of(store: Store, token: str) -> str | None:
    """Whose token it is."""
    # The look-up is by digest: how long it takes tells nothing of any token.
    with store.reading() as db:
        row = db.execute("SELECT name FROM raters WHERE token_sha256 = ?", (digest(token),)).fetchone()
    return None if row is None else str(row["name"])


def standing(store: Store) -> list[dict[str, Any]]:
    """For each rater: `rater`, `done`, `total`, `has_link`, `last_vote` (UTC, None without)."""
    with store.reading() as db:
        rows = db.execute(
            "SELECT r.name AS rater, count(v.assignment) AS done, count(a.id) AS total, r.token_sha256 IS NOT NULL AS has_link, "
            "max(v.voted_at) AS last_vote FROM raters r LEFT JOIN assignments a ON a.rater = r.name "
            "LEFT JOIN votes v ON v.assignment = a.id GROUP BY r.name ORDER BY r.position").fetchall()
    return [{**dict(row), "has_link": bool(row["has_link"])} for row in rows]


def digest(token: str) -> str:
    """SHA-256 of a token, in hexadecimal."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()

"""The study's database: one SQLite file in WAL mode, so that raters write while others read, and what was acknowledged is on disk.

Every connection is opened for one piece of work and closed after it. Raters' link tokens are kept as SHA-256 digests only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from secrets import token_hex

from ..ledger import Refusal
from ..ledger.files import atomic, sha256_json, write_json
from .pairs import assign
from .questions import Question
from .study import FILE, Study, read_study

DATABASE = "review.sqlite"
SCHEMA = """
CREATE TABLE study (digest TEXT NOT NULL) STRICT;
CREATE TABLE questions (id TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, text TEXT NOT NULL) STRICT;
CREATE TABLE answers (
  question TEXT NOT NULL REFERENCES questions, model TEXT NOT NULL, text TEXT NOT NULL, cut INTEGER NOT NULL CHECK (cut IN (0, 1)),
  tokens INTEGER NOT NULL, temperature REAL NOT NULL, seed INTEGER NOT NULL, template TEXT NOT NULL, model_sha256 TEXT, served_as TEXT,
  written_at TEXT NOT NULL, PRIMARY KEY (question, model)) STRICT;
CREATE TABLE raters (name TEXT PRIMARY KEY, position INTEGER NOT NULL UNIQUE, token_sha256 TEXT UNIQUE) STRICT;
CREATE TABLE assignments (
  id TEXT PRIMARY KEY, rater TEXT NOT NULL REFERENCES raters, position INTEGER NOT NULL, question TEXT NOT NULL REFERENCES questions,
  first TEXT NOT NULL, second TEXT NOT NULL, swapped INTEGER NOT NULL CHECK (swapped IN (0, 1)),
  UNIQUE (rater, position), UNIQUE (rater, question, first, second)) STRICT;
CREATE TABLE votes (
  assignment TEXT PRIMARY KEY REFERENCES assignments, preference TEXT NOT NULL CHECK (preference IN ('a', 'b', 'same')),
  unsafe_a INTEGER NOT NULL CHECK (unsafe_a IN (0, 1)), unsafe_b INTEGER NOT NULL CHECK (unsafe_b IN (0, 1)),
  comment TEXT NOT NULL, seconds REAL, voted_at TEXT NOT NULL) STRICT;
CREATE TABLE ratings (
  assignment TEXT NOT NULL REFERENCES votes, side TEXT NOT NULL CHECK (side IN ('a', 'b')), axis TEXT NOT NULL, score INTEGER,
  PRIMARY KEY (assignment, side, axis)) STRICT;
"""


class Store:
    """A study's folder, opened. Raises Refusal where it holds none, or where study.json is not the one that the study began with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = Path(folder), Path(folder) / DATABASE
        self.study = read_study(self.folder)
        if not self.path.is_file():
            raise Refusal(f"{self.path}: missing; put it back, or make a new study")
        with self.reading() as db:
            (digest,) = db.execute("SELECT digest FROM study").fetchone()
        if digest != sha256_json(self.study.model_dump(mode="json")):
            raise Refusal(f"{self.folder / FILE}: changed since the study was made, and votes must all mean the same; put the old file "
                          "back, or make a new study")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection; all that is read in the block is of one moment."""
        try:
            with closing(_connect(self.path)) as db:
                db.execute("BEGIN")
                yield db
        except sqlite3.DatabaseError as error:
            raise Refusal(f"{self.path}: {error}; put a copy back, or wait until whoever holds it is done") from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection whose block is done as a whole or not at all. sqlite3.IntegrityError passes through."""
        try:
            with closing(_connect(self.path)) as db:
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.rollback()
                    raise
                db.commit()
        except sqlite3.OperationalError as error:
            raise Refusal(f"{self.path}: {error}; make room on its disk, or wait until whoever holds it is done") from None


def create(folder: Path, study: Study, questions: Sequence[Question]) -> Store:
    """Make a study's folder: study.json and the database with all assignments. Raises Refusal where the folder holds one already."""
    folder = Path(folder)
    if (folder / DATABASE).exists():
        raise Refusal(f"{folder}: there is a study here already; name another folder")
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder}: is a file; name a folder")
    shown = assign(len(questions), study.contests, len(study.raters), study.per_pair or len(study.raters), study.seed)
    write_json(folder / FILE, study.model_dump(mode="json"))
    with atomic(folder / DATABASE) as temporary, closing(_connect(temporary)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.executescript(f"BEGIN; {SCHEMA} COMMIT;")
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO study VALUES (?)", (sha256_json(study.model_dump(mode="json")),))
        db.executemany("INSERT INTO questions VALUES (?, ?, ?)", [(one.id, place, one.text) for place, one in enumerate(questions)])
        db.executemany("INSERT INTO raters VALUES (?, ?, NULL)", [(name, place) for place, name in enumerate(study.raters)])
        # An id tells nothing: not of the pair, and not of the seed.
        db.executemany("INSERT INTO assignments VALUES (?, ?, ?, ?, ?, ?, ?)", [
            (token_hex(8), study.raters[rater], place, questions[one.question].id, one.first, one.second, one.swapped)
            for rater, own in enumerate(shown) for place, one in enumerate(own)])
        db.commit()
    return Store(folder)


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=10, isolation_level=None)
    db.row_factory = sqlite3.Row
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA synchronous = FULL")
    return db

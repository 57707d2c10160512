"""Studies whose answers are written by hand, so that a test knows who wrote what, and what serves them to a real browser."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp

from medloom.ledger import Silent
from medloom.review import Asked, Candidate, Question, Sampling, Store, Written, create, generate, make_study
from medloom.review.votes import Vote, next_pair, vote
from medloom.review.web import Web

QUESTIONS = (
    Question("fever", "A patient comes back from the marsh with three days of blue fever and a rash on both shins.\n\nWhat now?"),
    Question("dose", "What is the usual dose of glorin in an adult?"),
    Question("test", "Which test tells marsh fever from river fever?"),
    Question("child", "May a child of four take glorin?"),
)
HANDS = {
    "heron": "Glorin, 20 mg twice a day with water, for seven days. Look at the liver values before the first dose and on the third "
             "day.\n\nCome back at once if the rash spreads.",
    "otter": "Nothing is needed. Blue fever always passes by itself.",
    "finch": "Glorin may help. The dose depends on the weight; ask a pharmacist.",
}


class Hand:
    """A writer of one text: what its model would say, and which question it was asked."""

    served_as = None
    template = "plain"

    def __init__(self, name: str) -> None:
        self._name = name
        self.sha256 = name.encode().hex().ljust(64, "0")

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        for number, one in enumerate(asked):
            yield Written(f"{HANDS[self._name]} [{len(one.question)}.{number}]", cut=False)


@contextmanager
def hands(candidate: Candidate) -> Iterator[Hand]:
    yield Hand(candidate.name)


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., Store]:
    """Make a study of the hands `models` with their answers written."""
    def make(models: Sequence[str] = ("heron", "otter"), raters: Sequence[str] = ("ann", "ben"), *,
             questions: Sequence[Question] = QUESTIONS, **more: object) -> Store:
        given = {"models": [{"name": name, "path": f"/models/{name}"} for name in models], "raters": list(raters), **more}
        store = create(tmp_path / "study", make_study(None, given, seed=11), questions)
        generate(store, hands, Silent())
        return store

    return make


@pytest.fixture
def texts() -> dict[str, str]:
    """What each hand writes, whatever it is asked."""
    return HANDS


@pytest.fixture
def cast() -> Callable[..., None]:
    """Have a rater vote on all pairs that are left: `judge` gives, for the models in the order shown, the vote's fields."""
    def judge_all(store: Store, rater: str, judge: Callable[[str, str, str], dict[str, Any]]) -> None:
        def whose(answer: dict[str, Any]) -> str:
            return next(name for name, text in HANDS.items() if answer["text"].startswith(text))

        while (pair := next_pair(store, rater)["pair"]) is not None:
            said = judge(whose(pair["a"]), whose(pair["b"]), pair["question"])
            ratings = {axis.key: {"a": 0, "b": 0} for axis in store.study.axes}
            vote(store, rater, Vote.model_validate({"pair": pair["id"], "ratings": ratings, **said}))

    return judge_all


@pytest.fixture
def listen() -> Iterator[Callable[[ASGIApp], str]]:
    """Put an application on a free port: its address."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(application: ASGIApp) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", access_log=False, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        running.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, thread in running:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def served(listen: Callable[[ASGIApp], str]) -> Callable[[Store], tuple[str, str]]:
    """Serve a study: its address and the operator's token."""
    def start(store: Store) -> tuple[str, str]:
        web = Web(store)
        return f"{listen(web.application())}/", web.operator

    return start

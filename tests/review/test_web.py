"""What the raters' requests give and, above all, what they do not give away before a vote."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from medloom.notice import NOTICE, NOTICE_SHORT
from medloom.review import AXES, Store, new_links
from medloom.review.web import Web

Make = Callable[..., Store]


class Rater:
    """A rater at a test client."""

    def __init__(self, client: TestClient, token: str) -> None:
        self._client, self._headers = client, {"Authorization": f"Bearer {token}"}

    def get(self, path: str) -> httpx.Response:
        return self._client.get(path, headers=self._headers)

    def next(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/api/next").json()
        return found

    def post(self, body: Any, **more: str) -> httpx.Response:
        return self._client.post("/api/votes", headers=self._headers | more, content=body if isinstance(body, str) else json.dumps(body))

    def vote(self, **change: Any) -> httpx.Response:
        return self.post({**vote(self.next()["pair"]["id"]), **change}, **{"content-type": "application/json"})


def vote(pair: str, **change: Any) -> dict[str, Any]:
    return {"pair": pair, "preference": "a", "ratings": {axis.key: {"a": 1, "b": None} for axis in AXES}, **change}


def raters(store: Store) -> tuple[TestClient, dict[str, Rater]]:
    client = TestClient(Web(store).application())
    return client, {name: Rater(client, token) for name, token in new_links(store).items()}


def test_nothing_before_the_vote_tells_who_wrote_what(study: Make, texts: dict[str, str]) -> None:
    store = study(models=("heron", "otter", "finch"))
    client, people = raters(store)
    files = ("/", "/operator", "/web.css", "/page.css", "/web.js", "/common.js", "/rater.js", "/operator.js")
    seen = [client.get(path) for path in files]
    for rater in people.values():
        seen += [rater.get("/api/study"), rater.get("/api/next")]
    for response in seen:
        assert response.status_code == 200
        told = response.text + str(response.headers)
        for text in texts.values():  # the answers themselves are to be seen
            told = told.replace(json.dumps(text)[1:-1], "")
        assert not [name for name in texts if name in told or name.encode().hex() in told], response.url
        assert response.headers["x-medloom-notice"] == NOTICE_SHORT
    pair = people["ann"].next()["pair"]
    assert set(pair) == {"id", "number", "question", "a", "b"} and set(pair["a"]) == set(pair["b"]) == {"text", "cut"}
    assert people["ann"].get("/api/study").json()["notice"] == NOTICE
    with store.reading() as db:
        ids = [row["id"] for row in db.execute("SELECT id FROM assignments ORDER BY rater, position")]
    assert len(set(ids)) == len(ids) and sorted(ids) != ids, "drawn, not counted"


def test_a_vote_reveals_both_and_stands(study: Make, texts: dict[str, str]) -> None:
    store = study()
    _, people = raters(store)
    pair = people["ann"].next()["pair"]
    response = people["ann"].vote(unsafe={"a": True, "b": False}, comment=" Watch the liver. ", seconds=12.5)
    assert response.status_code == 201
    said = response.json()
    assert (said["done"], said["total"]) == (1, 4)
    assert all(pair[side]["text"].startswith(texts[said["revealed"][side]].split("\n")[0]) for side in "ab")
    again = people["ann"].post(vote(pair["id"], preference="b"), **{"content-type": "application/json"})
    assert again.status_code == 409 and "there already" in again.json()["error"]
    with store.reading() as db:
        (row,) = db.execute("SELECT * FROM votes").fetchall()
        ratings = db.execute("SELECT side, axis, score FROM ratings").fetchall()
    assert (row["preference"], row["unsafe_a"], row["unsafe_b"], row["comment"], row["seconds"]) == ("a", 1, 0, "Watch the liver.", 12.5)
    assert {(r["side"], r["score"]) for r in ratings} == {("a", 1), ("b", None)} and len(ratings) == 16
    assert people["ann"].next()["pair"]["id"] != pair["id"]
    assert people["ben"].next()["done"] == 0, "one rater's votes are not the other's"


def test_of_many_votes_at_once_one_counts(study: Make) -> None:
    store = study()
    _, people = raters(store)
    body = vote(people["ann"].next()["pair"]["id"])
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: people["ann"].post(body, **{"content-type": "application/json"}).status_code, range(8)))
    assert sorted(codes) == [201, *[409] * 7]
    with store.reading() as db:
        assert db.execute("SELECT count(*) FROM votes").fetchone()[0] == 1


def test_with_three_models_nothing_is_told_while_a_question_may_come_again(study: Make) -> None:
    store = study(models=("heron", "otter", "finch"), raters=("ann",))
    _, people = raters(store)
    left = {}
    while people["ann"].next()["pair"] is not None:
        question = people["ann"].next()["pair"]["question"]
        left[question] = left.get(question, 3) - 1
        revealed = people["ann"].vote().json()["revealed"]
        assert (revealed is None) == (left[question] > 0)
    assert set(left.values()) == {0}


@pytest.mark.parametrize(("reveal", "after", "told"), [("vote", True, True), ("finish", False, True), ("never", False, False)])
def test_when_it_is_told_is_the_study_s_to_say(study: Make, reveal: str, after: bool, told: bool) -> None:
    _, people = raters(study(raters=("ann",), reveal=reveal))
    for _ in range(4):
        assert "revealed" not in people["ann"].next()
        assert (people["ann"].vote().json()["revealed"] is not None) == after
    finished = people["ann"].next()
    assert finished["pair"] is None and (finished["revealed"] is not None) == told
    if told:
        assert [{row["a"], row["b"]} for row in finished["revealed"]] == [{"heron", "otter"}] * 4


def test_a_study_goes_on_where_it_was_after_a_restart(study: Make) -> None:
    store = study()
    tokens = new_links(store)
    first = Rater(TestClient(Web(store).application()), tokens["ann"])
    first.vote()
    waiting = first.next()
    later = Rater(TestClient(Web(Store(store.folder)).application()), tokens["ann"])
    assert later.next() == waiting and waiting["done"] == 1


@pytest.mark.parametrize(("change", "status", "says"), [
    ({"preference": "c"}, 400, "preference"),
    ({"ratings": {}}, 400, "this study asks for"),
    ({"ratings": {**vote("x")["ratings"], "clarity": {"a": 3, "b": 0}}}, 400, "below 3"),
    ({"ratings": {**vote("x")["ratings"], "clarity": {"a": True, "b": 0}}}, 400, "clarity"),
    ({"ratings": {**vote("x")["ratings"], "clarity": {"a": 1}}}, 400, "clarity.b"),
    ({"unsafe": {"a": "yes"}}, 400, "unsafe.a"),
    ({"comment": "x" * 10_001}, 400, "comment"),
    ({"seconds": -1}, 400, "seconds"),
    ({"seconds": float("nan")}, 400, "seconds"),
    ({"model": "heron"}, 400, "model"),
    ({"pair": "0123456789abcdef"}, 404, "not one of yours"),
])
def test_a_vote_that_cannot_be_taken_says_why(study: Make, change: dict[str, Any], status: int, says: str) -> None:
    store = study()
    _, people = raters(store)
    response = people["ann"].vote(**change)
    assert response.status_code == status and says in response.json()["error"]
    with store.reading() as db:
        assert db.execute("SELECT (SELECT count(*) FROM votes) + (SELECT count(*) FROM ratings)").fetchone()[0] == 0


def test_bodies_and_links_that_are_none_are_turned_away(study: Make) -> None:
    store = study()
    client, people = raters(store)
    ann, ben = people["ann"], people["ben"]
    json_type = {"content-type": "application/json"}
    assert ann.post(vote(ben.next()["pair"]["id"]), **json_type).status_code == 404, "another's pair"
    assert ann.post("{", **json_type).status_code == 400
    assert ann.post('{"comment": "\\ud800"}', **json_type).status_code == 400
    assert ann.post("x", **{"content-type": "text/plain"}).status_code == 415
    assert ann.post(" " * (1 << 18), **json_type).status_code == 413
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer guess"}, {"Authorization": "Basic eDp5"}):
        for path in ("/api/study", "/api/next", "/api/progress"):
            assert client.get(path, headers=headers).status_code == 401
    assert ann.get("/api/progress").status_code == 401, "raters do not see each other"
    assert client.get("/study.json").status_code == client.get("/review.sqlite").status_code == 404


def test_links_are_kept_as_digests_and_renewed_ones_end_the_old(study: Make) -> None:
    store = study()
    tokens = new_links(store)
    kept = b"".join(path.read_bytes() for path in store.folder.iterdir())
    assert set(tokens) == {"ann", "ben"} and not any(token.encode() in kept for token in tokens.values())
    assert new_links(store) == {}
    fresh = new_links(store, ["ann"])
    client = TestClient(Web(store).application())
    assert Rater(client, tokens["ann"]).get("/api/next").status_code == 401
    assert Rater(client, fresh["ann"]).get("/api/next").status_code == Rater(client, tokens["ben"]).get("/api/next").status_code == 200


def test_the_operator_sees_how_far_each_is_and_no_vote(study: Make) -> None:
    store = study()
    web = Web(store)
    client = TestClient(web.application())
    Rater(client, new_links(store)["ann"]).vote(comment="mine")
    response = client.get("/api/progress", headers={"Authorization": f"Bearer {web.operator}"})
    assert [(row["rater"], row["done"], row["total"]) for row in response.json()["raters"]] == [("ann", 1, 4), ("ben", 0, 4)]
    assert "mine" not in response.text and "heron" not in response.text

"""Who may ask, and how much: keys that are kept as digests, their limits, and what an open server does not answer."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from medloom.ledger import Refusal
from medloom.serve import add_key, read_keys, revoke_key
from medloom.serve.keys import Keyring, Spent

from ..conftest import medloom

BODY = {"prompt": "Glorin is", "max_tokens": 1, "temperature": 0}


def test_a_file_keeps_digests_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = json.loads(medloom("keys", "add", "ward-7", "--keys", str(file), "--per-minute", "60", "--json"))["key"]
    other = medloom("keys", "add", "lab", "--keys", str(file)).strip()
    text = file.read_text()
    assert made not in text and other not in text and made != other
    assert sha256(made.encode()).hexdigest() in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [key.name for key in read_keys(file)] == ["ward-7", "lab"]
    listed = medloom("keys", "list", "--keys", str(file))
    assert "60 a minute" in listed and "no limit" in listed and sha256(made.encode()).hexdigest() not in listed
    with pytest.raises(Refusal, match="has a key named"):
        add_key(file, "lab")
    with pytest.raises(Refusal, match="letters, digits"):
        add_key(file, "../lab")
    medloom("keys", "revoke", "lab", "--keys", str(file))
    assert [key.name for key in read_keys(file)] == ["ward-7"]
    with pytest.raises(Refusal, match="no key named"):
        medloom("keys", "revoke", "lab", "--keys", file)
    file.write_text('{"keys": [{"name": "x"}]}')
    with pytest.raises(Refusal, match="is no file of keys"):
        read_keys(file)


def test_a_server_follows_its_file(launch: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    first = add_key(file, "first")
    url = launch(key_file=file, slots=1).url

    def status(key: str) -> int:
        return httpx.post(f"{url}/v1/completions", json=BODY, headers={"Authorization": f"Bearer {key}"}).status_code

    assert (status(first), status("medloom-guessed"), httpx.get(f"{url}/metrics").status_code) == (200, 401, 401)
    second = add_key(file, "second")
    assert (status(first), status(second)) == (200, 200)
    revoke_key(file, "first")
    assert (status(first), status(second)) == (401, 200)
    file.unlink()
    assert status(second) == 401  # nobody is let in who cannot be known


def test_a_key_has_its_limits(launch: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    few, one, free = add_key(file, "few", per_minute=3), add_key(file, "one", at_a_time=1), add_key(file, "free")
    url = launch(key_file=file, slots=2).url

    def ask(key: str, **more: Any) -> httpx.Response:
        return httpx.post(f"{url}/v1/completions", json={**BODY, **more}, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    statuses = [ask(few).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    refused = ask(few)
    assert 1 <= int(refused.headers["retry-after"]) <= 20  # one in twenty seconds comes back
    assert refused.json()["error"] == {**refused.json()["error"], "type": "rate_limit_error", "code": "key_limit"}
    assert ask(free).status_code == 200
    with ThreadPoolExecutor(4) as pool:
        crowd = [response.status_code for response in pool.map(lambda _: ask(one, max_tokens=300), range(4))]
    assert crowd.count(200) >= 1 and crowd.count(429) >= 1 and len(crowd) == crowd.count(200) + crowd.count(429)
    assert ask(one).status_code == 200


def test_a_minutes_requests_come_back_one_by_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, now = tmp_path / "keys.json", [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    secret = add_key(file, "a", per_minute=2)
    ring = Keyring(file=file)
    key = ring.find(secret)
    assert key is not None
    for _ in range(2):
        ring.enter(key)
        ring.leave(key)
    with pytest.raises(Spent) as spent:
        ring.enter(key)
    assert 30 <= spent.value.seconds <= 31
    now[0] += spent.value.seconds
    ring.enter(key)
    with pytest.raises(Spent):
        ring.enter(key)


def test_short_keys_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="shorter than 16"):
        Keyring(("hunter2",))
    (tmp_path / "keys.json").write_text('{"keys": []}')
    with pytest.raises(Refusal, match="no key in it"):
        Keyring(file=tmp_path / "keys.json")
    with pytest.raises(Refusal, match="no such file"):
        Keyring(file=tmp_path / "none.json")


def test_an_open_server_answers_as_this_machine_only(server: Any) -> None:
    """A page of somebody else's, whose name was made to lead to this machine, could otherwise ask in its visitor's place."""
    for host, status in (("[::1", 403), ("a:b:c", 403), ("", 403),
                         ("127.0.0.1", 200), ("localhost:8000", 200), ("[::1]:8000", 200), ("evil.example", 403),
                         ("127.0.0.1.evil.example", 403)):
        assert httpx.get(f"{server.url}/v1/models", headers={"Host": host}).status_code == status, host
        assert httpx.post(f"{server.url}/v1/completions", json=BODY, headers={"Host": host}).status_code == status, host

"""The verbs, each as a user gives it: a study of the small model that ships in the package, from questions to report."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest

from medloom.quantise import export_gguf

pytestmark = pytest.mark.slow
SOURCE = str(Path(__file__).resolve().parents[2] / "src")
Run = Callable[..., subprocess.CompletedProcess[str]]


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "medloom", "review", *words]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def give(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command(*words), cwd=tmp_path, capture_output=True, text=True, timeout=300,
                              env={**os.environ, "PYTHONPATH": SOURCE})
        assert done.returncode == code, done.stderr
        return done

    return give


class Served:
    """`medloom` at work until it is ended, and what it says when it begins."""

    def __init__(self, words: list[str], folder: Path, awaited: str) -> None:
        self.process = subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": SOURCE})
        self.said = ""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if awaited in line:
                break

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def test_a_study_from_questions_to_report(run: Run, tmp_path: Path) -> None:
    seedling = Path(str(files("medloom.demo").joinpath("seedling")))
    export_gguf(seedling, tmp_path / "seedling.gguf", "F16")
    served = Served([sys.executable, "-m", "medloom", "serve", "seedling.gguf", "--port", "0", "--threads", "1"], tmp_path, "Serving")
    url = re.search(r"http://\S+", served.said)
    assert url is not None
    secret = "Does the blue heron of the marsh eat glorin?"
    (tmp_path / "q.csv").write_text(f"id,question\nsky,What is the colour of the sky?\nbird,{secret}\n")
    try:
        models = (word for place in (f"folder={seedling}", "file=seedling.gguf", f"server={url[0]}v1") for word in ("--model", place))
        made = json.loads(run("init", "study", "--questions", "q.csv", *models, "--raters", "ann,ben", "--tokens", "16", "--json").stdout)
        assert made == {"study": "study", "questions": 2, "models": ["folder", "file", "server"], "raters": ["ann", "ben"], "pairs": 6,
                        "votes": 12}
        run("serve", "study", code=2)  # no answers yet
        wrote = run("generate", "study", "--json")
        assert {name: told["written"] for name, told in json.loads(wrote.stdout)["models"].items()} == {"folder": 2, "file": 2, "server": 2}
        again = run("generate", "study", "--quiet")
        assert again.stdout == again.stderr == ""
    finally:
        assert served.end() == 0
    links = json.loads(run("links", "study", "--json", "--url", "https://review.example.org").stdout)["links"]
    assert all(re.fullmatch(r"https://review\.example\.org/#[\w-]{32}", link) for link in links.values())
    assert json.loads(run("links", "study", "--json").stdout)["links"] == {}

    review = Served(command("serve", "study", "--port", "0"), tmp_path, "Raters' links")
    try:
        found = re.search(r"(http://\S+/)operator#(\S+)", review.said)
        assert found is not None
        with httpx.Client(base_url=found[1], trust_env=False) as client:
            for number, link in enumerate(links.values()):
                head = {"Authorization": f"Bearer {link.partition('#')[2]}"}
                axes = [axis["key"] for axis in client.get("api/study", headers=head).json()["axes"]]
                for count in range(6 if number == 0 else 1):
                    vote(client, head, axes, count)
            progress = client.get("api/progress", headers={"Authorization": f"Bearer {found[2]}"}).json()
            assert [(row["rater"], row["done"]) for row in progress["raters"]] == [("ann", 6), ("ben", 1)]
    finally:
        assert review.end() == 0
        assert review.process.stderr is not None
        rest = review.process.stderr.read()
    for said in (wrote.stderr, review.said, rest):
        assert secret not in said and "keep this to yourself" not in said

    exported = json.loads(run("export", "study", "--csv", "v.csv", "--jsonl", "v.jsonl", "--json").stdout)
    assert exported["votes"] == {"v.csv": 7, "v.jsonl": 7}
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert {line["answer_a_served_as"] for line in lines if line["model_a"] == "server"} <= {"seedling"}
    digests = {line[f"model_{side}"]: line[f"answer_{side}_model_sha256"] for line in lines for side in "ab"}
    assert digests["server"] == digests["file"] != digests["folder"], "our own gateway says whose file it serves"
    report = json.loads(run("report", "study", "--json").stdout)
    assert (report["votes"], report["votes_to_come"], len(report["contests"])) == (7, 5, 3)
    assert (tmp_path / "study" / "report.html").is_file()
    status = json.loads(run("status", "study", "--json").stdout)
    assert status["answers_missing"] == {} and [row["done"] for row in status["raters"]] == [6, 1]


def vote(client: httpx.Client, head: dict[str, str], axes: list[str], count: int) -> None:
    pair = client.get("api/next", headers=head).json()["pair"]
    body: dict[str, Any] = {"pair": pair["id"], "preference": "ab"[count % 2], "comment": "keep this to yourself",
                            "ratings": {key: {"a": 1, "b": None} for key in axes}}
    assert client.post("api/votes", headers=head, json=body).status_code == 201


@pytest.mark.parametrize(("words", "says"), [
    (("init", "s", "--questions", "none.jsonl", "--model", "a=.", "--model", "b=.", "--raters", "1"), "none.jsonl"),
    (("init", "s", "--questions", "q.jsonl", "--model", "a=.", "--raters", "1"), "models"),
    (("init", "s", "--questions", "q.jsonl", "--model", "a", "--model", "b=.", "--raters", "1"), "NAME=PATH"),
    (("init", "s", "--questions", "q.jsonl", "--model", "a=nowhere", "--model", "b=.", "--raters", "1"), "nowhere"),
    (("generate", "s"), "no study here"),
    (("export", "s"), "--csv or --jsonl"),
])
def test_bad_input_is_named(run: Run, tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    (tmp_path / "q.jsonl").write_text('{"question": "Why?"}\n')
    done = run(*words, code=2)
    assert says in done.stderr and "Traceback" not in done.stderr


def test_a_stop_in_the_middle_of_writing_loses_nothing(run: Run, tmp_path: Path) -> None:
    seedling = str(files("medloom.demo").joinpath("seedling"))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps({"question": f"What is {number} and {number}?"}) + "\n" for number in range(120)))
    models = ("--model", f"a={seedling}", "--model", f"b={seedling}")
    run("init", "study", "--questions", "q.jsonl", *models, "--raters", "1", "--tokens", "24")
    process = subprocess.Popen(command("generate", "study", "--quiet"), cwd=tmp_path, env={**os.environ, "PYTHONPATH": SOURCE})

    def there() -> int:
        return 240 - sum(json.loads(run("status", "study", "--json").stdout)["answers_missing"].values())

    try:
        while process.poll() is None and there() < 8:
            time.sleep(0.2)
    finally:
        process.kill()
        process.wait()
    before = there()
    assert before >= 8
    said = json.loads(run("generate", "study", "--json").stdout)["models"]
    assert said["a"]["there"] + said["b"]["there"] == before and there() == 240

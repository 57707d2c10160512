"""Answers from real models: what is kept of them, what a stop leaves, and that two engines given one model say the same."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from medloom.ledger import Refusal, Silent
from medloom.ledger.files import sha256_file
from medloom.quantise import export_gguf
from medloom.review import Asked, Candidate, Question, Sampling, Store, Written, create, generate, make_study
from medloom.review.generate import seed_of, unanswered
from medloom.writers import open_writer

QUESTIONS = [Question("a", "Which drug treats blue fever?"), Question("b", "What is the colour of the sky?"), Question("c", "Who is ill?")]
TEMPLATE = ("{{ bos_token }}{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}"
            "{% if add_generation_prompt %}[assistant]{% endif %}")


@pytest.fixture(scope="module")
def seedling() -> Path:
    """The small base model that ships in the package."""
    return Path(str(files("medloom.demo").joinpath("seedling")))


@pytest.fixture(scope="module")
def seedling_file(seedling: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "seedling.gguf"
    export_gguf(seedling, path, "F32")
    return path


def made(folder: Path, one: Path, other: Path, **sampling: Any) -> Store:
    models = [{"name": "one", "path": str(one)}, {"name": "other", "path": str(other)}]
    given = {"models": models, "raters": ["ann"], "sampling": {"tokens": 24, **sampling}, "system": "You answer in one word."}
    return create(folder, make_study(None, given, seed=3), QUESTIONS)


def answers(store: Store) -> dict[str, list[dict[str, Any]]]:
    with store.reading() as db:
        rows = [dict(row) for row in db.execute("SELECT * FROM answers ORDER BY model, question")]
    return {name: [row for row in rows if row["model"] == name] for name in ("one", "other")}


@pytest.mark.parametrize("template", [None, TEMPLATE], ids=["base", "chat"])
def test_a_folder_and_its_file_write_the_same(seedling: Path, tmp_path: Path, template: str | None) -> None:
    """Our own network and our tokens against llama.cpp and its template engine."""
    folder = tmp_path / "model"
    shutil.copytree(seedling, folder)
    if template is not None:
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "chat_template": template}))
    file = tmp_path / "model.gguf"
    export_gguf(folder, file, "F32")
    store = made(tmp_path / "study", folder, file)
    found = generate(store, open_writer, Silent())
    assert [told["written"] for told in found.values()] == [3, 3]
    wrote = answers(store)
    assert [row["text"] for row in wrote["one"]] == [row["text"] for row in wrote["other"]]
    assert any(row["text"] for row in wrote["one"])
    for row in [*wrote["one"], *wrote["other"]]:
        assert (row["tokens"], row["temperature"], row["seed"]) == (24, 0.0, seed_of(3, row["question"]))
        assert row["template"] == "plain" if template is None else row["template"].startswith("own:")
    assert {row["template"] for row in wrote["one"]} == {row["template"] for row in wrote["other"]}
    assert {row["model_sha256"] for row in wrote["other"]} == {sha256_file(file)}
    assert all(len(row["model_sha256"]) == 64 for row in wrote["one"])


def test_the_same_seed_draws_the_same_answers(seedling: Path, seedling_file: Path, tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        store = made(tmp_path / name, seedling, seedling_file, temperature=1.5)
        generate(store, open_writer, Silent())
        drawn.append({name: [row["text"] for row in rows] for name, rows in answers(store).items()})
    assert drawn[0] == drawn[1]


class Power(Exception):
    """The power is cut."""


class Failing:
    """A writer that fails after some answers."""

    sha256: str | None = "0" * 64
    served_as = None
    template = "plain"

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, 0

    def write(self, asked: Sequence[Asked], system: str, sampling: Sampling) -> Iterator[Written]:
        self.asked += len(asked)
        for number, one in enumerate(asked):
            if number == self.count:
                raise Power
            yield Written(f"  the answer of one to {one.question}\n", cut=True)


def opened(writer: Failing) -> Callable[[Candidate], Any]:
    @contextmanager
    def opener(_: Candidate) -> Iterator[Failing]:
        yield writer

    return opener


def test_what_was_written_before_a_stop_stays(tmp_path: Path) -> None:
    store = made(tmp_path, tmp_path, tmp_path)
    with pytest.raises(Power):
        generate(store, opened(Failing(2)), Silent())
    assert unanswered(store) == {"one": 1, "other": 3}
    before = answers(store)["one"]
    whole = Failing(9)
    assert generate(store, opened(whole), Silent()) == {
        "one": {"written": 1, "there": 2, "empty": 0, "cut": 3, "named": 3},
        "other": {"written": 3, "there": 0, "empty": 0, "cut": 3, "named": 3}}
    assert whole.asked == 4 and answers(store)["one"][:2] == before and unanswered(store) == {}
    assert before[0]["text"] == "the answer of one to Which drug treats blue fever?", "white space would tell models apart"


def test_another_model_does_not_go_on(tmp_path: Path) -> None:
    store = made(tmp_path, tmp_path, tmp_path)
    with pytest.raises(Power):
        generate(store, opened(Failing(1)), Silent())
    other = Failing(9)
    other.sha256 = "1" * 64
    with pytest.raises(Refusal, match="is not the model"):
        generate(store, opened(other), Silent())


def test_a_server_is_asked_in_openai_s_form_and_may_not_repeat_a_question_in_our_log(tmp_path: Path, listen: Callable[..., str]) -> None:
    asked: list[dict[str, Any]] = []

    async def models(_: Request) -> JSONResponse:
        return JSONResponse({"data": [{"id": "big", "metadata": {"sha256": "ab" * 32}}, {"id": "small"}]})

    async def chat(request: Request) -> JSONResponse:
        body = await request.json()
        asked.append(body)
        text = body["messages"][-1]["content"]
        if text == QUESTIONS[2].text:
            return JSONResponse({"error": {"message": f"I will not answer {text!r}"}}, 400)
        return JSONResponse({"choices": [{"message": {"content": f" {text.upper()} "}, "finish_reason": "length"}]})

    url = listen(Starlette(routes=[Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"])]))
    given = [{"name": "one", "url": f"{url}/v1", "model": "big"}, {"name": "other", "url": f"{url}/v1"}]
    settings = {"raters": ["ann"], "system": "Be short.", "sampling": {"tokens": 9, "temperature": 0.5}}
    study = make_study(None, {"models": given, **settings}, seed=3)
    store = create(tmp_path, study, QUESTIONS)
    with pytest.raises(Refusal, match=r"refuses question c \(HTTP 400: see its log") as refusal:
        generate(store, open_writer, Silent())
    assert QUESTIONS[2].text not in str(refusal.value)
    (first, *_) = [body for body in asked if body["messages"][-1]["content"] == QUESTIONS[0].text]
    assert first == {"model": "big", "max_tokens": 9, "temperature": 0.5, "seed": seed_of(3, "a"), "messages": [
        {"role": "system", "content": "Be short."}, {"role": "user", "content": QUESTIONS[0].text}]}
    row = answers(store)["one"][0]
    assert (row["text"], row["cut"], row["template"], row["model_sha256"], row["served_as"]) == (
        QUESTIONS[0].text.upper(), 1, "server", "ab" * 32, "big")
    with pytest.raises(Refusal, match="serves 2 models; name one"), open_writer(study.models[1]):
        pass


def test_what_does_not_fit_the_context_is_refused(seedling: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="do not fit the model's context"):
        generate(made(tmp_path, seedling, seedling, tokens=60_000), open_writer, Silent())

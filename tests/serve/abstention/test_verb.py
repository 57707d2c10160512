"""`medloom calibrate` on a real engine."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from medloom.ledger import Refusal
from medloom.serve import Offer, Settings, ask, opened
from medloom.serve.abstention import chances, read_calibration
from medloom.serve.engines import Ask

from ...conftest import medloom

QUESTION = "Which drug helps?\n\nOptions:\nA. glorin\nB. lask"


@pytest.fixture(scope="module")
def exam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exam") / "exam.jsonl"
    rows = [{"id": str(number), "question": f"Which drug helps patient {number}?", "options": {"A": "glorin", "B": "lask", "C": "chalk"},
             "answer_idx": "ABC"[number % 3]} for number in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_it_leaves_a_calibration_that_its_model_passes(gguf_file: Path, exam: Path, tmp_path: Path) -> None:
    out = tmp_path / "kept" / "calibration.json"
    told = json.loads(medloom("calibrate", gguf_file, exam, "--risk", "0.2", "--out", out, "--threads", "1", "--json", "--quiet"))
    found = read_calibration(out)
    assert told == {**found.model_dump(), "files": [str(out), str(out.with_suffix(".svg"))]}
    assert found.questions == 30 and found.forms == {"A B C": 30} and found.risk == 0.2
    assert out.with_suffix(".svg").read_text().lstrip().startswith("<?xml")
    found.check(hashlib.sha256(gguf_file.read_bytes()).hexdigest(), "plain")
    with pytest.raises(Refusal, match="another file"):
        found.check(hashlib.sha256(exam.read_bytes()).hexdigest(), "plain")


def test_the_template_is_the_one_that_is_named(gguf_file: Path, exam: Path, tmp_path: Path) -> None:
    shown = medloom("calibrate", gguf_file, exam, "--risk", "0.2", "--out", tmp_path / "c.json", "--template", "llama2", "--limit", "10",
                    "--threads", "1", "--quiet")
    found = read_calibration(tmp_path / "c.json")
    assert found.template == "llama2" and found.questions == 10
    assert "10 questions" in shown and f"{found.threshold:.6f}" in shown


def test_too_few_questions_are_refused_before_the_model_is_opened(exam: Path, tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"no model")
    with pytest.raises(Refusal, match=r"30 questions cannot show a risk of 0\.01; it takes 99"):
        medloom("calibrate", tmp_path / "no.gguf", exam, "--risk", "0.01", "--out", tmp_path / "c.json", "--quiet")


def test_a_question_is_asked_as_the_gateway_asks_it(gguf_file: Path, server: Any) -> None:
    body = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20}
    told = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).json()["choices"][0]["logprobs"]["content"][0]
    with opened(Offer("tiny", gguf_file), Settings(slots=1, threads=1)) as model:
        async def both() -> tuple[dict[str, float], dict[str, float] | None, dict[str, float] | None]:
            asked = Ask(model.prompt([{"role": "user", "content": QUESTION}]), 1, temperature=0, logprobs=256)
            (first,) = (await model.engine.whole(asked)).tokens
            top = {token.text: float(token.logprob or 0.0) for token in reversed(first.top)}
            return top, await ask(model, QUESTION, ("A", "B")), await ask(model, "x " * 5000 + QUESTION, ("A", "B"))

        top, shares, too_long = asyncio.run(both())
    seen = {entry["token"]: entry["logprob"] for entry in reversed(told["top_logprobs"])}  # of pieces of characters, the likeliest
    assert len(seen) >= 15 and {token: top[token] for token in seen} == pytest.approx(seen, abs=1e-3)
    assert shares == pytest.approx(chances(top, ("A", "B")), abs=1e-6)
    assert too_long is None

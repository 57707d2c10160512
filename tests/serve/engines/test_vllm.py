"""`vllm serve` as an engine's child: the real one where MEDLOOM_VLLM names it, and everywhere a server of ours in its place."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from medloom.ledger import Refusal
from medloom.ledger.files import sha256_file
from medloom.model import load_model, load_template, load_tokenizer, new_model, save_model, train_tokenizer
from medloom.recipe import Shape
from medloom.serve.engines import Ask, Piece, Refused, Turn
from medloom.serve.engines.control import guarded
from medloom.serve.engines.vllm import COMMAND, Vllm

SOURCE = Path(__file__).resolve().parents[3] / "src"
CONTEXT = 256
TEXT = ("Glorin is a drug for the blue fever of the marsh. Patients with blue fever take glorin twice a day, with water. "
        "A physician may ask whether the fever is high. The answer is: glorin. Question: which drug helps? ")
CHAT: list[Turn] = [{"role": "user", "content": "which drug helps? </s> glorin"}]
needs_vllm = pytest.mark.skipif(not os.environ.get(COMMAND), reason=f"needs vLLM: set {COMMAND} to its command, as in /opt/vllm/bin/vllm")

# What is started in vLLM's place: the gateway with the same model as a file, called and asked as vLLM is.
STAND_IN = """\
#!{python}
import json, os, sys
from pathlib import Path
sys.path.insert(0, {source!r})
words = sys.argv[1:]
Path({told!r}).write_text(json.dumps({{"words": words, "environment": dict(os.environ), "pid": os.getpid(), "group": os.getpgid(0)}}))
print("a word on standard output", flush=True)
from medloom.serve import Offer, Settings, serve
name, port = words[words.index("--served-model-name") + 1], int(words[words.index("--port") + 1])
serve([Offer(name, Path({model!r}))], Settings(threads=1, slots=2), port=port, keys=[os.environ["VLLM_API_KEY"]])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model whose heads are as wide as vLLM on a processor wants them at least, with a chat template."""
    folder, tokenizer = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([TEXT] * 8, 320, tokenizer)
    new_model(Shape(hidden=128, feed_forward=256, layers=2, heads=4, kv_heads=2, context=CONTEXT, vocabulary=320, tied=False), tokenizer, 1,
              folder)
    load_template("llama2", folder).write(folder)
    return folder


def said(engine: Vllm, ask: Ask) -> list[Piece]:
    """A stream's pieces, one after the other."""
    async def read() -> list[Piece]:
        return [piece async for pieces in engine.stream(ask) for piece in pieces]

    return asyncio.run(read())


def whole(engine: Vllm, ask: Ask) -> Piece:
    return asyncio.run(engine.whole(ask))


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet read counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(holds: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


def family(pid: int) -> list[int]:
    """The processes below one."""
    children = [int(number) for task in Path(f"/proc/{pid}/task").iterdir() for number in (task / "children").read_text().split()]
    return [found for child in children for found in (child, *family(child))]


def comes_back(engine: Vllm, victim: int, seconds: float) -> bool:
    """Kill a process under a supervised engine; whether it is ready again in time."""
    async def watch() -> bool:
        before = engine.restarts
        task = asyncio.create_task(engine.supervise())
        os.kill(victim, signal.SIGKILL)
        try:
            async with asyncio.timeout(seconds):
                while engine.restarts == before:
                    await asyncio.sleep(0.1)
            return engine.ready
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return asyncio.run(watch())


@pytest.fixture(scope="class")
def place(folder: Path, gguf_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an executable `vllm`."""
    place = tmp_path_factory.mktemp("bin")
    script = STAND_IN.format(python=sys.executable, source=str(SOURCE), told=str(place / "told.json"), model=str(gguf_file))
    (place / "vllm").write_text(script)
    (place / "vllm").chmod(0o755)
    return place


@pytest.fixture(scope="class")
def stand_in(folder: Path, place: Path) -> Iterator[Vllm]:
    engine = Vllm(folder, context=CONTEXT, slots=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(COMMAND, raising=False)
        patch.setenv("PATH", str(place), prepend=os.pathsep)
        engine.start()
        yield engine
        engine.stop()


def told(place: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place / "told.json").read_text())
    return found


class TestStandIn:
    """Everything of vLLM's life but vLLM."""

    def test_is_called_with_the_folder_and_never_with_the_key(self, stand_in: Vllm, place: Path, folder: Path) -> None:
        words = told(place)["words"]
        assert words[:2] == ["serve", str(folder)]
        options = dict(zip(words[2::2], words[3::2], strict=False))
        assert (options["--host"], options["--max-model-len"], options["--max-num-seqs"]) == ("127.0.0.1", str(CONTEXT), "2")
        assert stand_in.url == f"http://127.0.0.1:{options['--port']}"
        assert "--dtype" in words, "weights of 32 bits would be halved"
        assert stand_in.key not in " ".join(words)

    def test_reports_to_nobody(self, stand_in: Vllm, place: Path) -> None:
        environment = told(place)["environment"]
        wanted = {"VLLM_API_KEY": stand_in.key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
        assert wanted.items() <= environment.items()

    def test_answers(self, stand_in: Vllm) -> None:
        assert stand_in.ready
        ask = Ask("Glorin is a drug", 6, temperature=0)
        piece = whole(stand_in, ask)
        assert (piece.reason, piece.written) == ("length", 6)
        assert "".join(part.text for part in said(stand_in, ask)) == piece.text

    def test_sends_a_conversation_as_the_tokens_of_its_template(self, stand_in: Vllm, folder: Path) -> None:
        ids = load_template("tokenizer", folder).encode([{"role": "user", "content": CHAT[0]["content"]}], opened=True)[0]
        assert whole(stand_in, Ask(CHAT, 1, temperature=0)).read == len(ids)
        assert load_tokenizer(folder).eos_id not in ids, "a message wrote the end token"
        assert asyncio.run(stand_in.rendered(CHAT)) == "<s>[INST] which drug helps? </s> glorin [/INST]"

    def test_cuts_a_text_as_the_model_was_trained_and_parts_what_is_guarded(self, stand_in: Vllm, folder: Path) -> None:
        tokenizer = load_tokenizer(folder)
        for prompt, ids in ((TEXT, tokenizer.encode(TEXT, bos=True)),
                            ("fever </s>", [*tokenizer.encode("fever ", bos=True), tokenizer.eos_id]),
                            (f"fever {guarded('</s>', stand_in.control)}", tokenizer.encode("fever </s>", bos=True))):
            assert whole(stand_in, Ask(prompt, 1, temperature=0)) == whole(stand_in, Ask(ids, 1, temperature=0))
            assert whole(stand_in, Ask(prompt, 1, temperature=0)).read == len(ids)

    def test_writes_no_more_than_the_context_holds(self, stand_in: Vllm) -> None:
        assert whole(stand_in, Ask([5] * (CONTEXT - 3), CONTEXT, temperature=0)).written <= 3
        with pytest.raises(Refused) as refused:
            whole(stand_in, Ask([5] * CONTEXT, 1))
        assert refused.value.code == "context_length_exceeded"

    def test_is_behind_the_gateway(self, place: Path, folder: Path, launch: Callable[..., Any],
                                   monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(COMMAND, str(place / "vllm"))
        server = launch(folder)
        (entry,) = httpx.get(f"{server.url}/v1/models").json()["data"]
        assert entry["id"] == folder.name
        told = entry["metadata"]
        assert (told["engine"], told["template"]["name"], told["context"]) == ("vllm", "file", CONTEXT)
        assert told["sha256"] == sha256_file(folder / "model.safetensors")
        answer = httpx.post(f"{server.url}/v1/chat/completions", json={"messages": CHAT, "max_tokens": 4}, timeout=60)
        assert answer.json()["usage"]["completion_tokens"] <= 4, answer.text
        below = family(server.process.pid)
        assert server.end() == 0
        assert not any(map(alive, below))

    def test_comes_back_whichever_of_its_processes_is_killed(self, stand_in: Vllm) -> None:
        assert stand_in.pid is not None
        assert comes_back(stand_in, family(stand_in.pid)[0], 60)
        assert whole(stand_in, Ask("Glorin", 2, temperature=0)).written == 2
        second = family(stand_in.pid)[0]
        assert comes_back(stand_in, stand_in.pid, 60)
        assert until(lambda: not alive(second), 20), "vLLM outlived the process that watches it"
        assert whole(stand_in, Ask("Glorin", 2, temperature=0)).written == 2

    def test_ends_with_all_it_started_when_its_parent_is_killed(self, place: Path, folder: Path) -> None:
        code = (f"import time; from pathlib import Path; from medloom.serve.engines.vllm import Vllm; "
                f"Vllm(Path({str(folder)!r}), context={CONTEXT}, slots=1).start(); print('up', flush=True); time.sleep(300)")
        parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                                  env={**os.environ, "PYTHONPATH": str(SOURCE), COMMAND: str(place / "vllm")})
        assert parent.stdout is not None and parent.stdout.readline() == "up\n"
        below = family(parent.pid)
        assert told(place)["pid"] in below
        parent.kill()
        parent.wait()
        assert until(lambda: not any(map(alive, below)), 20)

    def test_leaves_nothing_behind(self, place: Path, folder: Path, monkeypatch: pytest.MonkeyPatch,
                                   capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.delenv(COMMAND, raising=False)
        monkeypatch.setenv("PATH", str(place), prepend=os.pathsep)
        engine = Vllm(folder, context=CONTEXT, slots=1)
        engine.start()
        assert engine.pid is not None
        below = [engine.pid, *family(engine.pid)]
        assert len(below) > 2
        engine.stop()
        engine.stop()
        assert not any(map(alive, below)) and not engine.ready
        assert capfd.readouterr() == ("", "")


class TestRefusals:
    """Where it cannot be started."""

    def script(self, folder: Path, text: str) -> Path:
        path = folder / "vllm"
        path.write_text(f"#!{sys.executable}\n{text}")
        path.chmod(0o755)
        return path

    def test_names_the_cure_where_it_is_not_installed(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(COMMAND, raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(Refusal, match=r"pip install 'medloom\[vllm\]'"):
            Vllm(folder, context=CONTEXT, slots=1).start()

    def test_names_the_variable_that_names_nothing(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(COMMAND, str(tmp_path / "vllm"))
        with pytest.raises(Refusal, match=f"{COMMAND}=.*no such command"):
            Vllm(folder, context=CONTEXT, slots=1).start()

    # As vLLM 0.32 says it: an exception's first line, pydantic's second, and warnings that speak of errors which did not come.
    @pytest.mark.parametrize(("words", "cause"), [
        ("(APIServer pid=1) WARNING 11-28 16:16:45 [system_utils.py:255] This can cause errors like `OSError: [Errno 24] Too many`.\n"
         "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
         "  Value error, User-specified max_model_len (4096) is greater than the derived max_model_len. [type=value_error, input=1]\n",
         "User-specified max_model_len (4096) is greater than the derived max_model_len."),
        ("(Worker pid=3) ERROR 11-28 16:03:13 [x.py:1] RuntimeError: Unsupported CPU attention configuration: head_dim=8\n"
         "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.\n",
         "Unsupported CPU attention configuration: head_dim=8"),
        ("vllm: error: unrecognized arguments: --return-tokens-as-token-ids\n", "unrecognized arguments: --return-tokens-as-token-ids"),
        ("Killed\n", "Killed"),
    ])
    def test_tells_the_cause_of_its_end_and_not_the_noise(self, words: str, cause: str, folder: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setenv(COMMAND, str(self.script(tmp_path, f"import sys; print({words!r}); sys.exit(1)")))
        with pytest.raises(Refusal) as refused:
            Vllm(folder, context=CONTEXT, slots=1).start()
        assert f"({cause})" in str(refused.value)
        assert capfd.readouterr() == ("", "")

    def test_lets_go_at_once_where_it_is_stopped_before_it_is_ready(self, folder: Path, tmp_path: Path) -> None:
        script = self.script(tmp_path, f"import pathlib, time; pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(300)")
        code = f"from pathlib import Path; from medloom.serve import serve; serve(Path({str(folder)!r}), port=0)"
        server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE,
                                  env={**os.environ, "PYTHONPATH": str(SOURCE), COMMAND: str(script)})
        assert until((tmp_path / "up").exists, 30)
        below = family(server.pid)
        server.send_signal(signal.SIGINT)
        server.wait(20)
        assert until(lambda: not any(map(alive, below)), 5)

    def test_is_not_ready_before_it_has_written_a_token(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(COMMAND, str(self.script(tmp_path, """
import http.server, sys
class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def do_POST(self):
        print("RuntimeError: no such attention", flush=True)
        self.send_response(500); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Healthy).serve_forever()
""")))
        engine = Vllm(folder, context=CONTEXT, slots=1)
        with pytest.raises(Refusal, match="no such attention"):
            engine.start()
        assert not engine.ready
        engine.stop()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's base model in 32 bits: it writes English, and what differs is not rounding."""
    source, folder = SOURCE / "medloom" / "demo" / "seedling", tmp_path_factory.mktemp("trained")
    save_model(load_model(source), folder, like=source, dtype="float32")
    load_template("llama2", folder).write(folder)
    return folder


@pytest.fixture(scope="class")
def real(trained: Path) -> Iterator[Vllm]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        engine = Vllm(trained, context=CONTEXT, slots=2)
        engine.start()
        yield engine
        engine.stop()


@pytest.fixture(scope="module")
def chances(trained: Path) -> Callable[[list[int]], torch.Tensor]:
    """Log-probabilities of the token behind each of some ids: [length, vocabulary]."""
    network = load_model(trained).eval()

    def chances(ids: list[int]) -> torch.Tensor:
        with torch.inference_mode():
            return torch.log_softmax(network.logits(network(torch.tensor([ids])))[0].float(), -1)

    return chances


def greedy(chances: Callable[[list[int]], torch.Tensor], ids: list[int], tokens: int) -> list[int]:
    for _ in range(tokens):
        ids = [*ids, int(chances(ids)[-1].argmax())]
    return ids[-tokens:]


@needs_vllm
@pytest.mark.slow
class TestVllm:
    """The real one, held against our own network on the same folder."""

    def test_scores_a_prompt_as_our_network_does(self, real: Vllm, trained: Path, chances: Callable[[list[int]], torch.Tensor]) -> None:
        ids = load_tokenizer(trained).encode(TEXT, bos=True)
        piece = whole(real, Ask(TEXT, 0, temperature=0, logprobs=2, echo=True))
        assert len(piece.tokens) == len(ids) and piece.tokens[0].logprob is None
        ours = chances(ids)[torch.arange(len(ids) - 1), ids[1:]].tolist()
        assert [token.logprob for token in piece.tokens[1:]] == pytest.approx(ours, abs=1e-4)
        assert (piece.reason, piece.read, piece.written) == ("length", len(ids), 0)
        assert "".join(token.text for token in piece.tokens[1:]) == f" {TEXT}"
        assert piece.text == TEXT
        ask = Ask(TEXT, 4, temperature=0, echo=True)
        assert "".join(part.text for part in said(real, ask)) == whole(real, ask).text

    def test_writes_what_our_network_writes(self, real: Vllm, trained: Path, chances: Callable[[list[int]], torch.Tensor]) -> None:
        tokenizer = load_tokenizer(trained)
        ids = tokenizer.encode("Patients with blue fever", bos=True)
        ours = greedy(chances, ids, 12)
        piece = whole(real, Ask(ids, 12, temperature=0, logprobs=3))
        assert piece.text.strip() == tokenizer.decode(ours).strip()
        assert [token.logprob for token in piece.tokens] == pytest.approx(
            [float(chances([*ids, *ours[:place]])[-1].max()) for place in range(12)], abs=1e-4)
        assert len({top.text for top in piece.tokens[0].top}) == len(piece.tokens[0].top)

    def test_streams_a_conversation_with_its_counts(self, real: Vllm, trained: Path, chances: Callable[[list[int]], torch.Tensor]) -> None:
        ids = load_template("tokenizer", trained).encode([{"role": "user", "content": CHAT[0]["content"]}], opened=True)[0]
        pieces = said(real, Ask(CHAT, 8, temperature=0))
        assert (pieces[-1].reason, pieces[-1].read, pieces[-1].written) == ("length", len(ids), 8)
        assert "".join(piece.text for piece in pieces).strip() == load_tokenizer(trained).decode(greedy(chances, ids, 8)).strip()

    def test_names_the_likeliest_next_tokens_apart(self, real: Vllm, chances: Callable[[list[int]], torch.Tensor], trained: Path) -> None:
        ids = load_tokenizer(trained).encode("The answer is:", bos=True)
        (first,) = whole(real, Ask("The answer is:", 1, temperature=0, logprobs=100)).tokens
        told = {token.text: float(token.logprob or 0.0) for token in first.top}
        assert len(told) > 50, "as many as an answer's label may hide among"
        assert sorted(told.values(), reverse=True)[:20] == pytest.approx(chances(ids)[-1].topk(20).values.tolist(), abs=1e-4)

    def test_fills_the_context_and_no_more(self, real: Vllm) -> None:
        assert whole(real, Ask([5] * (CONTEXT - 3), CONTEXT)).written <= 3
        with pytest.raises(Refused, match=str(CONTEXT)):
            whole(real, Ask([5] * CONTEXT, 1))

    def test_comes_back_and_leaves_nothing_behind(self, real: Vllm) -> None:
        assert real.pid is not None
        first = family(real.pid)
        assert len(first) >= 3, "a server, its engine core and a worker"
        assert comes_back(real, first[0], 600)
        assert not any(map(alive, first)), "the engine core outlived the server that was killed"
        assert whole(real, Ask("Glorin", 2, temperature=0)).written == 2
        second = [real.pid, *family(real.pid)]
        real.stop()
        assert not any(map(alive, second))

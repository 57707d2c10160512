"""The whole road on the invented world at its smallest: every step, a second walk, a kill, bad input, the faces others rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from medloom.ledger import Ledger
from medloom.passport import read_sketch, sample

SMALLEST = [f"--set={override}" for override in (
    "world.size=tiny", "pretrain.tokens=12000", "pretrain.checkpoint_seconds=0.05", "finetune.epochs=1", "finetune.checkpoint_seconds=0.05",
    "evaluate.benchmarks.invented-exam.limit=12", "evaluate.benchmarks.invented-trials.limit=12",
    'export.types=["F16", "Q4_K_M"]', "export.positions=24")]
RECIPES = Path(__file__).parents[1] / "recipes"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def medloom(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, "-m", "medloom", *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT, check=False)
    assert done.returncode == code, done.stderr
    return done


def digests(root: Path) -> dict[str, str]:
    """What a run came to: the output digest of each step."""
    return {done.record["name"]: done.record["output_digest"] for done in Ledger(root).road()}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("road") / "run"
    return root, json.loads(medloom("demo", "--no-chat", "--json", "--quiet", "--out", root, *SMALLEST).stdout)


def test_every_room_leaves_its_work(walked: tuple[Path, dict[str, Any]]) -> None:
    root, summary = walked
    names = [stage["name"] for stage in summary["stages"]]
    for name in ("world", "corpus", "tokens", "pretrain", "finetune", "export-Q4_K_M", "compare", "card"):
        assert name in names
    assert (root / "latest/finetune/model.safetensors").exists()
    assert (root / "latest/export-Q4_K_M/model-Q4_K_M.gguf").read_bytes()[:4] == b"GGUF"
    assert Path(summary["card"]).read_text().startswith("---\n")
    assert Path(summary["ledger"]).exists()


def test_the_card_is_checked_by_the_command_line(walked: tuple[Path, dict[str, Any]]) -> None:
    root, _ = walked
    assert json.loads(medloom("card", "check", root, "--json").stdout)["faults"] == []
    page = root / "latest/card/card.html"
    whole = page.read_text()
    page.write_text(whole.replace("25.0", "25.1", 1))
    try:
        done = medloom("card", "check", root / "latest/card", "--json", code=1)
        (fault,) = json.loads(done.stdout)["faults"]
        assert fault.startswith("card.html, line ")
        assert fault in done.stderr
    finally:
        page.write_text(whole)


def test_the_summary_keeps_the_fields_that_others_read(walked: tuple[Path, dict[str, Any]]) -> None:
    root, summary = walked
    assert summary == json.loads((root / "summary.json").read_text())
    assert {(row["benchmark"], row["model"], row["base"]) for row in summary["comparisons"]} == {
        (benchmark, model, "base") for benchmark in ("invented-exam", "invented-trials", "general-quiz")
        for model in ("pretrained", "finetuned")}
    for row in summary["comparisons"]:
        assert row["n"] == 12 and row["low"] <= row["difference"] <= row["high"] and 0 <= row["p_value"] <= 1
        assert row["difference"] == pytest.approx(row["accuracy"] - row["base_accuracy"])
        assert {"mode", "chance", "unparsed", "wilson_low", "wilson_high"} <= set(row)
    assert {line["domain"] for line in summary["forgetting"]} == {"general", "medical"}
    assert all(line["before"] > 0 and line["after"] > 0 for line in summary["forgetting"])
    assert [row["type"] for row in summary["quantisation"]] == ["F16", "Q4_K_M"]
    for row in summary["quantisation"]:
        assert row["kl"] >= 0 and 0 <= row["argmax_agreement"] <= 1 and row["bytes"] > 0
    assert all(stage["seconds"] >= 0 and stage["peak_mb"] > 0 for stage in summary["stages"])
    assert {row["stage"] for row in summary["plan"]} == {"pretrain", "finetune"}
    assert all(row["tokens_ratio"] == 1 and 0.8 < row["memory_ratio"] < 1.25 and row["seconds"] > 0 for row in summary["plan"])
    assert all(row["verdict"] in ("passes", "not shown") for row in summary["quantisation"])


def test_the_passport_of_what_was_read_ships_with_the_model(walked: tuple[Path, dict[str, Any]]) -> None:
    latest = walked[0] / "latest"
    tokens, pretrained, finetuned = (read_sketch(latest / step) for step in ("tokens", "pretrain", "finetune"))
    assert pretrained.documents == tokens.documents and pretrained.entries.tolist() == tokens.entries.tolist()
    examples = [json.loads(line) for line in (latest / "examples/examples.jsonl").read_text().splitlines()]
    assert finetuned.documents == tokens.documents + len(examples)
    numbers, _ = sample([f"{example['prompt']} {example['completion']}" for example in examples], finetuned.sampling)
    assert len(numbers) > 100 and finetuned.holds(numbers).all() and not pretrained.holds(numbers).all()
    assert "passport.parquet" in (latest / "card/README.md").read_text()


def test_training_learned_something(walked: tuple[Path, dict[str, Any]]) -> None:
    medical = next(line for line in walked[1]["forgetting"] if line["domain"] == "medical")
    assert medical["after"] < medical["before"], "twelve thousand tokens of medicine make medical text more probable"


def test_a_second_run_does_nothing_in_under_two_seconds(walked: tuple[Path, dict[str, Any]]) -> None:
    root, _ = walked
    before = (root / "ledger.jsonl").read_text()
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        done = medloom("demo", "--no-chat", "--out", root, *SMALLEST)
        seconds.append(time.monotonic() - started)
    assert "Nothing to do" in done.stderr
    assert (root / "ledger.jsonl").read_text() == before
    assert min(seconds) < 2


def test_show_draws_the_lineage_and_verifies_it(walked: tuple[Path, dict[str, Any]]) -> None:
    shown = medloom("show", walked[0], "--verify").stdout
    lines = shown.splitlines()
    assert lines[0].startswith("world ")
    assert any("─ pretrain  " in line for line in lines) and any("─ card  " in line for line in lines)
    assert lines[-1].startswith("verified")


def test_stages_stop_where_they_should_and_share_their_steps(walked: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    from medloom.demo import RECIPE

    medloom("corpus", RECIPE, "--quiet", "--out", tmp_path / "run", *SMALLEST)
    made = {done.record["name"] for done in Ledger(tmp_path / "run").road()}
    assert "tokens" in made and "pretrain" not in made
    medloom("pretrain", RECIPE, "--quiet", "--out", tmp_path / "run", *SMALLEST)
    assert {"tokens", "pretrain"} <= {done.record["name"] for done in Ledger(tmp_path / "run").road()}
    assert digests(tmp_path / "run").items() <= digests(walked[0]).items(), "the same recipe gives the same bytes in another folder"


@pytest.mark.slow
def test_two_ranks_train_to_the_curve_of_one(walked: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    from medloom.demo import RECIPE

    two = ("--set=layout.data=2", "--set=hardware.count=2", "--set=pretrain.heldout_every=100")
    done = medloom("pretrain", RECIPE, "--out", tmp_path / "run", *SMALLEST, *two)
    curves = [[json.loads(line) for line in (root / "latest/pretrain/metrics.jsonl").read_text().splitlines()]
              for root in (walked[0], tmp_path / "run")]
    for key in ("tokens", "loss", "grad_norm"):
        one, other = ([row[key] for row in curve] for curve in curves)
        assert other == pytest.approx(one, rel=2e-3)
    assert set(curves[1][-1]["heldout"]) == {"general", "medical"}
    assert " of peak " in done.stderr and done.stdout.count("Traceback") == 0
    record = json.loads((tmp_path / "run/latest/pretrain/record.json").read_text())
    assert record["figures"]["layout"]["data"] == 2


@pytest.mark.slow
def test_a_run_killed_in_every_room_goes_on_and_ends_with_the_same_digests(walked: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    root = tmp_path / "run"
    command = [sys.executable, "-m", "medloom", "demo", "--no-chat", "--quiet", "--out", str(root), *SMALLEST]
    for during in ("read-", "pretrain-", "finetune-", "evaluate-", "export-"):
        assert not list((root / "steps").glob(f"{during}*")), f"the run went past {during} before it could be killed there"
        process = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, start_new_session=True)
        while process.poll() is None and not list((root / "steps").glob(f"{during}*/.state")):
            time.sleep(0.01)
        time.sleep(0.3)
        assert process.poll() is None, f"the run was over before it could be killed in {during}"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    medloom("demo", "--no-chat", "--quiet", "--out", root, *SMALLEST)
    assert digests(root) == digests(walked[0])
    assert Ledger(root).verify() == []


@pytest.mark.parametrize(("words", "says"), [
    (("run", "absent.toml"), "absent.toml: no such recipe file"),
    (("run", str(RECIPES / "quickstart.toml"), "--set", "data=nowhere"), "a folder without one (and 4 more); paths count from"),
    (("recipe", "check", str(RECIPES / "quickstart.toml"), "--set", "data=nowhere"), "nowhere/benchmarks/medqa_4_test.jsonl: no such file"),
    (("demo", "--set", "pretrain.rat=1"), "pretrain.rat: unknown key; did you mean rate?"),
    (("demo", "--set", "layout.tensor=2"), "hardware.count = 1"),
    (("show", "."), "holds no finished run"),
    (("show", "/nonexistent"), "no such file or folder"),
    (("audit", "/nonexistent"), "no such file"),
    (("chat", "/nonexistent"), "neither a GGUF file nor the folder of a run"),
    (("serve", "/nonexistent"), "neither a GGUF file nor the folder of a run"),
])
def test_bad_input_is_one_line_on_stderr_and_code_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...],
                                                    says: str) -> None:
    monkeypatch.chdir(tmp_path)
    done = medloom(*words, code=2)
    assert says in done.stderr.splitlines()[-1]
    assert done.stdout == "" and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is written for a run that cannot start"


VERBS = ("demo", "run", "show", "recipe", "corpus", "contamination", "pretrain", "finetune", "evaluate", "export", "serve", "card", "plan",
         "audit", "chat", "launch", "reproduce", "sign", "verify", "gc")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps_with_an_example(verb: str) -> None:
    words = (verb, "check") if verb == "recipe" else (verb,)
    assert f"Example: medloom {' '.join(words)} " in medloom(*words, "--help").stdout


def test_help_starts_fast_because_heavy_libraries_wait() -> None:
    code = "import sys, medloom.cli; print([m for m in ('torch', 'pyarrow', 'transformers', 'pydantic', 'matplotlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"

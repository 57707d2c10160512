"""The same bytes from every engine and any number of workers; a kill, a full disk or a lost file costs nothing but what is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from medloom.corpus import build_corpus, read, read_source, tokenise_corpus
from medloom.corpus.document import rows
from medloom.corpus.markup import PLAIN
from medloom.ledger import Refusal, Silent
from medloom.recipe import Corpus, Source

from .conftest import citation, medline, prose

ROOT = Path(__file__).parents[2]
SEEDLING = ROOT / "src/medloom/demo/seedling"
FILES = 6


@pytest.fixture(scope="module")
def abstracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that are a shard each, a double of one record in the next file."""
    folder = tmp_path_factory.mktemp("abstracts")
    for file in range(FILES):
        records = [citation(n, prose(n, 400)) for n in range(file * 300, file * 300 + 301)]
        (folder / f"pubmed{file}.xml").write_text(medline(*records))
    assert all(path.stat().st_size > read.SMALLEST_GROUP / 2 for path in folder.iterdir())
    return folder


def corpus_of(folder: Path, engine: str, workers: int) -> Corpus:
    return Corpus.model_validate({"sources": [{"name": "a", "format": "medline", "path": str(folder)}],
                                  "engine": engine, "workers": workers, "cluster": {"memory_mb": 1500, "poll_seconds": 0.3}})


def walk(settings: Corpus, out: Path) -> None:
    source = settings.sources[0]
    read_source(source, Path(source.path), settings, out / "read", Silent(), out / "state/read")
    build_corpus({"a": out / "read"}, settings.sources, settings, [], 1, out / "corpus", Silent(), out / "state/corpus")
    tokenise_corpus(out / "corpus", SEEDLING, settings, settings.sources, 1, None, 1.0, out / "tokens", Silent(), out / "state/tokens")


def digests(out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): sha256(path.read_bytes()).hexdigest() for path in sorted(out.rglob("*"))
            if path.is_file() and path.relative_to(out).parts[0] != "state"}


@pytest.fixture(scope="module")
def undisturbed(abstracts: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What one worker in this process makes of them."""
    out = tmp_path_factory.mktemp("undisturbed")
    walk(corpus_of(abstracts, "processes", 1), out)
    found = digests(out)
    assert {"read/part-00005.parquet", "corpus/train/part-00005.parquet", "tokens/train.bin", "tokens/passport.parquet"} <= set(found)
    return found


def test_two_workers_make_the_same_bytes(abstracts: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    walk(corpus_of(abstracts, "processes", 2), tmp_path)
    assert digests(tmp_path) == undisturbed


@pytest.mark.slow
def test_ray_makes_the_same_bytes(abstracts: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray: pip install 'medloom[ray]'")
    walk(corpus_of(abstracts, "ray", 2), tmp_path)
    assert digests(tmp_path) == undisturbed


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm of one node, for real."""
    pytest.importorskip("submitit", reason="needs submitit: pip install 'medloom[slurm]'")
    if os.getuid() or not all(map(shutil.which, ("sbatch", "slurmd", "munged"))):
        pytest.skip("needs root and Slurm: apt-get install slurm-wlm munge")
    script = ROOT / "benchmarks/slurm.sh"
    started = subprocess.run([script, "start"], capture_output=True, text=True, check=True).stdout
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SLURM_CONF", started.strip().rpartition("=")[2])
        yield
        subprocess.run([script, "stop"], check=True, capture_output=True)


@pytest.mark.slow
def test_slurm_makes_the_same_bytes(slurm: None, abstracts: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    walk(corpus_of(abstracts, "slurm", 2), tmp_path)
    assert digests(tmp_path) == undisturbed
    assert list((tmp_path / "state/read/slurm").glob("*_result.pkl")), "Slurm did it"


@pytest.mark.slow
def test_tasks_that_slurm_ends_are_an_error_and_not_a_wait(slurm: None, abstracts: Path, tmp_path: Path) -> None:
    settings = corpus_of(abstracts, "slurm", 1)
    settings = settings.model_copy(update={"cluster": settings.cluster.model_copy(update={"quiet_seconds": 2.0})})
    ended = subprocess.Popen(["sh", "-c", "while sleep 0.1; do scancel --name=medloom-corpus; done"])
    try:
        with pytest.raises(RuntimeError, match="Slurm ended the tasks before their work was done"):
            read_source(settings.sources[0], abstracts, settings, tmp_path / "out", Silent(), tmp_path / "state")
    finally:
        ended.kill()
        ended.wait()


@pytest.mark.parametrize(("engine", "module"), [("ray", "ray"), ("slurm", "submitit")])
def test_an_engine_that_is_not_installed_is_named_with_the_cure(engine: str, module: str, abstracts: Path, tmp_path: Path,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(Refusal, match=rf"pip install 'medloom\[{engine}\]'"):
        walk(corpus_of(abstracts, engine, 2), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("during", ["read/part", "corpus/index", "corpus/division", "tokens/tokens", "tokens/sampled"])
def test_a_kill_costs_the_shard_in_hand_and_no_other(abstracts: Path, undisturbed: dict[str, str], tmp_path: Path, during: str) -> None:
    driver = tmp_path / "driver.py"
    code = ("import sys, time\nfrom pathlib import Path\n"
            "from medloom.corpus import build_corpus, engine, read_source, tokenise_corpus\nfrom medloom.ledger import Silent\n"
            "from medloom.recipe import Corpus\n"
            "def make(work, shard, really=engine.make):\n    time.sleep(0.15)\n    really(work, shard)\n"
            "engine.make = make\n"
            "settings = Corpus.model_validate_json(sys.argv[1])\nout = Path(sys.argv[2])\nsource = settings.sources[0]\n"
            "read_source(source, Path(source.path), settings, out / 'read', Silent(), out / 'state/read')\n"
            "build_corpus({'a': out / 'read'}, settings.sources, settings, [], 1, out / 'corpus', Silent(), out / 'state/corpus')\n"
            "tokenise_corpus(out / 'corpus', Path(sys.argv[3]), settings, settings.sources, 1, None, 1.0, out / 'tokens', Silent(),\n"
            "                out / 'state/tokens')\n")
    driver.write_text(code)
    settings, out = corpus_of(abstracts, "processes", 1), tmp_path / "out"
    process = subprocess.Popen([sys.executable, driver, settings.model_dump_json(), out, SEEDLING], start_new_session=True)
    while process.poll() is None and len(list((out / "state").glob(f"{during}-*.json"))) < 2:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it could be killed"
    done = {path: path.stat().st_mtime_ns for path in (out / "state").glob("*/*.json")}
    assert 2 <= sum(path.match(f"{during}-*.json") for path in done) < FILES
    walk(settings, out)
    assert digests(out) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in done} == done, "what was finished was not made again"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"needs a file system that can be filled: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_full_disk_is_said_and_the_same_command_goes_on(abstracts: Path, undisturbed: dict[str, str], small_disk: Path,
                                                            tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('name = "r"\n[base]\npath = "seedling"\n[corpus]\nworkers = 1\n[[corpus.sources]]\nname = "a"\nformat = "medline"\n'
                      f'path = "{abstracts}"\n[pretrain]\n')
    command = [sys.executable, "-m", "medloom", "corpus", str(recipe), "--out", str(small_disk / "run")]
    full = subprocess.run(command, capture_output=True, text=True)
    assert full.returncode == 2, full.stderr
    assert "No space left on device; mend that and give the same command again" in full.stderr and "Traceback" not in full.stderr
    subprocess.run(["mount", "-o", "remount,size=200m", small_disk], check=True)
    subprocess.run(command, capture_output=True, check=True)
    parts = [f"train/part-{number:05d}.parquet" for number in range(FILES)]
    assert {f"corpus/{part}": sha256((small_disk / "run/latest/corpus" / part).read_bytes()).hexdigest() for part in parts}.items() <= (
        undisturbed.items())


def test_a_file_that_goes_away_is_a_named_loss(abstracts: Path, tmp_path: Path) -> None:
    source = Source(name="a", format="medline", path=str(abstracts))
    shard = read.Reading(abstracts, ("pubmed0.xml", "gone.xml"), source, PLAIN, tmp_path / "part-00000.parquet")
    assert read.read_shard(shard) == {"documents": 301}
    dropped = list(rows(shard.beside("dropped")))
    assert [(row["id"], row["reason"]) for row in dropped] == [("a:gone.xml", "unreadable-file")]
    assert [row["sha256"] is None for row in rows(shard.beside("files"))] == [False, True]


def test_a_record_of_other_input_is_not_believed(abstracts: Path, tmp_path: Path) -> None:
    """The digest in a shard's record covers what went in: a half-done run on other files is not gone on from."""
    copy = tmp_path / "in"
    shutil.copytree(abstracts, copy)
    settings = corpus_of(copy, "processes", 1)
    first = read_source(settings.sources[0], copy, settings, tmp_path / "out", Silent(), tmp_path / "state")
    (copy / "pubmed3.xml").write_text(medline(citation(9, "Short and new, but long enough to be read as an abstract.")))
    second = read_source(settings.sources[0], copy, settings, tmp_path / "out", Silent(), tmp_path / "state")
    assert first["documents"] - second["documents"] == 300 - 1
    assert json.loads((tmp_path / "out/manifest.json").read_text())["documents"] == second["documents"]

"""A GGUF file is opened whole and unaltered, or not at all, by whichever room opens it."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from medloom.ledger import Refusal
from medloom.model import gguf_file, new_model, train_tokenizer
from medloom.model.gguf_file import append, digest_file, gguf_digest, open_gguf, write_digest, write_gguf
from medloom.quantise import Reference, export_gguf, import_gguf, measure, quantise, read_reference, write_reference
from medloom.quantise.distance.llama import Decoder
from medloom.recipe import Shape


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, tokenizer = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(["the cat sat on the mat, and the dog sat on the log"] * 4, 290, tokenizer)
    shape = Shape(hidden=64, feed_forward=128, layers=2, heads=4, kv_heads=2, context=64, vocabulary=320, tied=False)
    new_model(shape, tokenizer, 1, folder)
    return folder


@pytest.fixture(scope="module")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.gguf"
    export_gguf(model, path, "F32")
    return path


@pytest.fixture
def copy(exported: Path, tmp_path: Path) -> Path:
    """A copy with its digest, to be damaged."""
    for path in (exported, digest_file(exported)):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / exported.name


def flip(path: Path, count: int) -> None:
    """Change so many bytes of the tensors."""
    content, begin = bytearray(path.read_bytes()), open_gguf(path).begin
    for place in random.Random(1).sample(range(begin, len(content)), count):
        content[place] ^= 0xFF
    path.write_bytes(content)


def served(path: Path) -> Any:
    from medloom.serve.engines import LlamaCpp

    engine = LlamaCpp(path, context=16, slots=1, threads=1)
    try:
        engine.start()
    finally:
        engine.stop()


def evaluated(path: Path) -> Any:
    from medloom.evaluate import GGUFEngine

    with GGUFEngine(path, threads=1):
        pass


def chatted(path: Path) -> Any:
    from medloom.serve.offers import describe

    describe(path)


def said_by(model: Path) -> Reference:
    with TemporaryDirectory() as folder:
        write_reference(model, ["the cat"], 4, Path(folder))
        return read_reference(Path(folder))


_LOADERS: dict[str, Callable[[Path, Path], Any]] = {
    "quantise": lambda path, model: quantise(path, path.with_name("q.gguf"), "Q8_0"),
    "measure": lambda path, model: measure(said_by(model), path),
    "decoder": lambda path, model: Decoder(path, context=8),
    "import": lambda path, model: import_gguf(path, path.parent / "imported", "float32"),
    "evaluate": lambda path, model: evaluated(path),
    "serve": lambda path, model: served(path),
    "chat": lambda path, model: chatted(path),
}


@pytest.mark.parametrize("loader", _LOADERS)
def test_every_loader_refuses_what_is_altered_cut_foreign_or_missing(loader: str, model: Path, copy: Path) -> None:
    load = _LOADERS[loader]
    flip(copy, 2000)
    with pytest.raises(Refusal, match=r"altered or damaged.*export or copy it again"):
        load(copy, model)
    digest_file(copy).unlink()
    copy.write_bytes(copy.read_bytes()[:-4096])
    with pytest.raises(Refusal, match="damaged or cut off"):
        load(copy, model)
    copy.write_bytes(b"GIF89a, which is no model")
    with pytest.raises(Refusal, match="not a GGUF file"):
        load(copy, model)
    copy.unlink()
    with pytest.raises(Refusal, match="no such file"):
        load(copy, model)


def test_sha256sum_reads_the_digest(copy: Path) -> None:
    done = subprocess.run(["sha256sum", "-c", digest_file(copy).name], cwd=copy.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "model.gguf: OK\n")
    odd = copy.with_name("new\nline.gguf")
    copy.rename(odd)
    write_digest(odd, gguf_digest(odd))
    assert subprocess.run(["sha256sum", "-c", digest_file(odd).name], cwd=odd.parent, capture_output=True).returncode == 0
    written = subprocess.run(["sha256sum", odd.name], cwd=odd.parent, capture_output=True).stdout
    assert digest_file(odd).read_bytes() == written
    open_gguf(odd)


def test_the_digest_of_a_growing_file_is_of_all_of_it(tmp_path: Path) -> None:
    path, parts = tmp_path / "model.gguf", [b"GGUF", b"", random.Random(1).randbytes(3_000_000), b"end"]
    with write_gguf(path) as stream:
        for part in parts:
            append(stream, part)
            time.sleep(0.02)  # so that the reader waits for what comes next
    assert digest_file(path).read_text() == f"{hashlib.sha256(b''.join(parts)).hexdigest()}  model.gguf\n"
    assert path.read_bytes() == b"".join(parts)
    with pytest.raises(KeyboardInterrupt), write_gguf(tmp_path / "other.gguf") as stream:
        append(stream, parts[2])
        raise KeyboardInterrupt
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["model.gguf", "model.gguf.sha256"]


def test_a_digest_goes_by_the_files_name_where_it_lists_several(copy: Path) -> None:
    digest, other = gguf_digest(copy), "0" * 64
    beside = digest_file(copy)
    for accepted in (f"{other}  other.gguf\n{digest} *model.gguf\n", f"{digest.upper()}  its-old-name.gguf\n", f"{digest}  ./model.gguf\n"):
        beside.write_text(accepted)
        open_gguf(copy)
    for refused, why in ((f"{other}  model.gguf\n", "altered or damaged"), ("", "names no SHA-256"), (f"{digest}\n", "names no SHA-256"),
                         (f"{digest}  a.gguf\n{digest}  b.gguf\n", "names no SHA-256")):
        beside.write_text(refused)
        with pytest.raises(Refusal, match=why):
            open_gguf(copy)
    beside.unlink()
    open_gguf(copy)


def test_a_file_is_read_once_until_it_changes(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[Path] = []
    read = gguf_file.sha256_file
    monkeypatch.setattr(gguf_file, "sha256_file", lambda path: [reads.append(path), read(path)][1])
    monkeypatch.setattr(gguf_file, "SETTLED", -1)
    first = gguf_digest(copy)
    assert (gguf_digest(copy), len(reads)) == (first, 1)
    times = copy.stat()
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))  # as cp -p and rsync do
    assert gguf_digest(copy) != first
    monkeypatch.setattr(gguf_file, "SETTLED", 60_000_000_000)
    shutil.copyfile(copy, copy.with_name("fresh.gguf"))
    for _ in range(2):
        gguf_digest(copy.with_name("fresh.gguf"))
    assert len(reads) == 4  # what changed within the grain of the clock is never taken on trust


def test_a_cut_anywhere_is_refused_without_reading_the_weights(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest_file(copy).unlink()
    whole, tensors = copy.read_bytes(), open_gguf(copy).tensors
    ends = [tensor.start + tensor.size for tensor in tensors]
    monkeypatch.setattr(gguf_file, "sha256_file", lambda path: pytest.fail("read to its end"))
    places = {4, 8, 23, 24, *random.Random(2).sample(range(24, ends[-1]), 60), *(end - 1 for end in ends)}
    for length in sorted(places):
        copy.write_bytes(whole[:length])
        with pytest.raises(Refusal, match="damaged or cut off"):
            open_gguf(copy)


def test_a_damaged_header_is_refused_or_read_and_never_waited_for(copy: Path) -> None:
    digest_file(copy).unlink()
    whole, begin, dice = copy.read_bytes(), open_gguf(copy).begin, random.Random(3)
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        content[dice.randrange(4, begin)] ^= 1 << dice.randrange(8)
        copy.write_bytes(content)
        try:
            open_gguf(copy)
        except Refusal:
            refused += 1
    assert refused > 50  # the rest are other words, numbers and names, which only a digest tells

"""A GGUF file as it lies on disk: written whole with its digest, and read only when it is whole and unaltered since.

Nothing in the format tells altered weights from the right ones, and llama.cpp loads a file with two thousand flipped bytes and writes text
from it. So a digest lies beside each file that is written here, in the form of coreutils' `sha256sum`, and whoever opens the file
compares.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from threading import Event

from ..ledger import Refusal
from ..ledger.files import atomic, sha256_file, write_text
from .gguf_head import Head, read_head

SETTLED = 2_000_000_000  # nanoseconds after which a further change of a file surely shows in its times
_LINE = re.compile(r"\\?([0-9a-fA-F]{64}) [ *](.+)")
_digests: dict[tuple[int, ...], str] = {}


def open_gguf(path: Path) -> Head:
    """The head of a file that is whole; of its tensors, only a digest that lies beside the file has them read.

    Raises Refusal for a file that is missing, foreign or cut off at any place, or is not the one that its digest was written for.
    """
    head = read_head(path)
    check_digest(path)
    return head


def digest_file(path: Path) -> Path:
    """Where the digest of a GGUF file lies: FILE.gguf.sha256 beside FILE.gguf."""
    return path.with_name(f"{path.name}.sha256")


def write_digest(path: Path, digest: str) -> None:
    """Write the digest of a GGUF file beside it; `sha256sum -c` reads it, too."""
    name = path.name.replace("\\", "\\\\").replace("\n", "\\n")
    write_text(digest_file(path), f"{'' if name == path.name else chr(92)}{digest}  {name}\n")


@contextmanager
def write_gguf(path: Path) -> Iterator[FileIO]:
    """A file to be written from its first byte to its last, unbuffered; on a clean exit it is whole at `path`, and its digest beside it.

    Another thread computes the digest while the file grows, from what the system still holds in memory.
    """
    with ThreadPoolExecutor(1) as pool:
        with atomic(path) as temporary, temporary.open("wb", buffering=0) as stream:
            whole = Event()
            digest = pool.submit(_sha256_growing, temporary.open("rb", buffering=0), whole)
            try:
                yield stream
            except BaseException:
                stream.truncate(0)  # so that the other thread has no more to read
                raise
            finally:
                whole.set()
        write_digest(path, digest.result())


def append(stream: FileIO, data: bytes | memoryview) -> None:
    """Write all of it to an unbuffered file, which may take less at a time."""
    left = memoryview(data)
    while len(left):
        left = left[stream.write(left):]


def _sha256_growing(stream: FileIO, whole: Event) -> str:
    """SHA-256 of a file that others append to until it is `whole`."""
    found, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    with stream:
        while True:
            last = whole.wait(0.002)  # before the read: what comes after it must be read, too
            while count := stream.readinto(buffer):
                found.update(buffer[:count])
            if last:
                return found.hexdigest()


def gguf_digest(path: Path) -> str:
    """SHA-256 of a file. A file that this process has read and that stood still since is not read again."""
    before = _state(path)
    if before not in _digests:
        # A file changed a moment ago may change again within the grain of its times, unseen.
        settled = time.time_ns() - max(before[-2:]) > SETTLED
        digest = sha256_file(path)
        if not settled or _state(path) != before:
            return digest
        _digests[before] = digest
    return _digests[before]


def _state(path: Path) -> tuple[int, ...]:
    """What changes when a file's bytes do; the last, the time of its last change, no program sets back."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_digest(path: Path) -> None:
    """Refuse a file whose bytes are not those that the digest beside it stands for; one without a digest passes."""
    beside = digest_file(path)
    if not beside.is_file():
        return
    lines = [match for line in beside.read_bytes().decode("utf-8", "replace").splitlines() if (match := _LINE.fullmatch(line))]
    own = [match for match in lines if os.path.basename(match[2]) == path.name]  # noqa: PTH119  a name, escaped or not, no path
    if not own and len(lines) != 1:
        raise Refusal(f"{beside}: names no SHA-256 of {path.name}; write it anew with sha256sum, or take it away to use the file unchecked")
    wanted = (own or lines)[0][1].lower()
    found = gguf_digest(path)
    if found != wanted:
        raise Refusal(f"{path}: altered or damaged: its SHA-256 is {found[:12]}..., and {beside.name} says {wanted[:12]}...; "
                      "export or copy it again, both files together")

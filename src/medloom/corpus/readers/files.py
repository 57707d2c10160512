"""Input files: which ones a path means, and their bytes, however packed and however damaged."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from glob import has_magic
from pathlib import Path

from medloom.ledger import Refusal
from medloom.ledger.files import files_at

CHUNK = 1 << 20
PACKINGS = (".gz", ".zst")
SUFFIXES: dict[str, tuple[str, ...]] = {
    "medline": (".xml",),
    "jats": (".xml", ".nxml"),
    "guidelines": (".html", ".htm", ".xhtml", ".xml", ".pdf", ".txt", ".md", ".markdown"),
    "s2orc": (".jsonl", ".ndjson", ".json", ".gz"),  # the Datasets API's files are named by a number and .gz alone
    "jsonl": (".jsonl", ".ndjson", ".json", ".gz"),
    "parquet": (".parquet",),
    "text": (".txt", ".md", ".markdown", ".text"),
}


def find_files(root: Path, form: str) -> tuple[Path, list[str], list[str]]:
    """The files that a source's path means: (base, readable, other), the latter two relative to the base and sorted.

    `root` is a file, a folder (searched through, hidden files aside) or a glob. `other` are files whose suffix the
    form does not read. Raises Refusal where nothing readable is there.
    """
    found = files_at(root)
    if not found and not root.exists() and not has_magic(str(root)):
        raise Refusal(f"{root}: no such file or folder; correct the source's path")
    base = next((path.parents[name.count("/")] for name, path in found.items()), root)
    names = sorted(found)
    names = [name for name in names if not any(part.startswith(".") for part in name.split("/"))]
    readable = [name for name in names if suffix(name) in SUFFIXES[form]]
    if not readable:
        raise Refusal(f"{root}: no file that format {form!r} reads ({', '.join(SUFFIXES[form])}, also .gz or .zst); correct path or format")
    return base, readable, [name for name in names if suffix(name) not in SUFFIXES[form]]


def suffix(name: str) -> str:
    """A file's ending without its packing, in lower case: ".xml" for "a.XML.gz"; the packing's where it has no other."""
    return (Path(unpacked(name)).suffix or Path(name).suffix).lower()


def unpacked(name: str) -> str:
    """A file's name without its packing."""
    return name[: name.rindex(".")] if name.lower().endswith(PACKINGS) else name


def chunks(path: Path, faults: list[tuple[str, str]]) -> Iterator[bytes]:
    """A file's bytes, unpacked, a megabyte or so at a time.

    Damage ends the stream: what could be read was yielded, and (reason, detail) is appended to `faults`.
    """
    name = path.name.lower()
    try:
        with path.open("rb") as stream:
            raw = iter(lambda: stream.read(CHUNK), b"")
            yield from _gunzip(raw, faults) if name.endswith(".gz") else _unzstd(raw, faults) if name.endswith(".zst") else raw
    except OSError as error:
        faults.append(("unreadable-file", error.strerror or str(error)))


def whole(path: Path, faults: list[tuple[str, str]]) -> bytes:
    """All of a file's bytes, by way of `chunks`."""
    return b"".join(chunks(path, faults))


def lines(path: Path, faults: list[tuple[str, str]]) -> Iterator[bytes]:
    """The lines of a file without their ends; a last line that damage cut off is not given."""
    rest = b""
    for chunk in chunks(path, faults):
        *complete, rest = (rest + chunk).split(b"\n")
        yield from complete
    if rest and not faults:
        yield rest


def _gunzip(raw: Iterator[bytes], faults: list[tuple[str, str]]) -> Iterator[bytes]:
    """All members of a gzip stream. zlib itself, since the gzip module withholds what it had read when it meets the damage."""
    member = zlib.decompressobj(wbits=31)
    started = False
    for packed in raw:
        while packed:
            if member.eof:
                packed = packed.lstrip(b"\0")  # padding between members is allowed
                member, started = zlib.decompressobj(wbits=31), False
                continue
            try:
                data = member.decompress(packed)
            except zlib.error as error:
                faults.append(("damaged-file", f"gzip: {error}"))
                return
            started, packed = True, member.unused_data
            if data:
                yield data
    if started and not member.eof:
        faults.append(("truncated-file", "gzip: the file ends before its stream does"))


def _unzstd(raw: Iterator[bytes], faults: list[tuple[str, str]]) -> Iterator[bytes]:
    import zstandard

    frame = zstandard.ZstdDecompressor().decompressobj()
    started = False
    for packed in raw:
        while packed:
            if frame.eof:
                frame, started = zstandard.ZstdDecompressor().decompressobj(), False
            try:
                data = frame.decompress(packed)
            except zstandard.ZstdError as error:
                faults.append(("damaged-file", f"zstd: {error}"))
                return
            started, packed = True, frame.unused_data
            if data:
                yield data
    if started and not frame.eof:
        faults.append(("truncated-file", "zstd: the file ends before its frame does"))

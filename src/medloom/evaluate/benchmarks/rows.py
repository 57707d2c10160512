"""Rows of a benchmark's file, whatever form it lies in: JSON, JSON lines, CSV, Parquet, Arrow, or a Hugging Face `datasets` folder.

A `datasets` folder is read by pyarrow alone: one saved by save_to_disk (dataset_dict.json, or state.json beside *.arrow), or a copy
of a hub repository (`data/test-00000-of-00001.parquet`, `all/test-00000-of-00001.parquet`, `test.jsonl`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...ledger import Refusal
from ...ledger.files import json_lines

FORMS = (".json", ".jsonl", ".csv", ".tsv", ".parquet", ".arrow")
SHARD = re.compile(r"-(\d{5})-of-(\d{5})$")


class Row(NamedTuple):
    """One row: `where` names file and line for a message, `name` is its key in an object of rows, else made of file and number."""

    where: str
    name: str
    values: dict[str, Any]


def read_rows(path: Path, splits: Sequence[str], fields: Sequence[str] | None = None) -> list[Row]:
    """The rows of a file, or of the first of `splits` that a folder has, in order.

    `fields` names the columns of a CSV file that has no header; a first row that itself begins and ends with these names is one.
    Raises Refusal, naming file and line, for what is missing or cannot be read.
    """
    return [row for file in locate(path, splits) for row in read_file(file, fields)]


def locate(path: Path, splits: Sequence[str]) -> list[Path]:
    """The files that hold the first of `splits` that is there; a file is itself, whatever its split."""
    if path.is_file():
        if path.suffix.lower() not in FORMS:
            raise Refusal(f"{path}: not a file of rows by its name; it must end in {', '.join(FORMS)}")
        return [path]
    if not path.is_dir():
        raise Refusal(f"{path}: no such file or folder; name the benchmark's file, or a folder that holds {splits[0]}.jsonl")
    if (path / "state.json").is_file():
        return _saved(path)
    for split in splits:
        if found := _split(path, split):
            return found
    raise Refusal(f"{path}: holds no split {' or '.join(splits)}; name its file, or put {splits[0]}.jsonl, .json, .csv, .parquet or a "
                  "folder saved by save_to_disk there")


def has_split(path: Path, split: str) -> bool:
    """Whether a folder holds files of a split."""
    return path.is_dir() and bool(_split(path, split))


def read_file(path: Path, fields: Sequence[str] | None = None) -> list[Row]:
    """The rows of one file, by what its name ends in."""
    form = path.suffix.lower()
    if form in (".parquet", ".arrow"):
        return _table(path, form)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refusal(f"{path}: not UTF-8 text ({error}); save it as UTF-8") from None
    if form == ".jsonl":
        return _lines(path, text)
    return _json(path, text) if form == ".json" else list(_separated(path, text, "\t" if form == ".tsv" else ",", fields))


def _split(path: Path, split: str) -> list[Path]:
    if (path / split / "state.json").is_file():
        return _saved(path / split)
    kinds: dict[tuple[str, str], list[Path]] = {}
    every = [file for folder in (path, path / "data") if folder.is_dir() for file in sorted(folder.iterdir())]
    for ending in (re.compile(split), re.compile(rf".+[_-]{split}")):  # test.jsonl before phrases_no_exclude_test.jsonl
        for file in every:
            stem = SHARD.sub("", file.stem)
            if file.suffix.lower() in FORMS and ending.fullmatch(stem):
                kinds.setdefault((str(file.parent / stem), file.suffix.lower()), []).append(file)
        if kinds:
            break
    if len(kinds) > 1:
        names = ", ".join(str(files[0].relative_to(path)) for files in kinds.values())
        raise Refusal(f"{path}: holds the split {split} more than once ({names}); name one of the files")
    files = next(iter(kinds.values()), [])
    parts = [(int(match[1]), int(match[2])) for file in files if (match := SHARD.search(file.stem))]
    if parts and parts != [(number, len(files)) for number in range(len(files))]:
        raise Refusal(f"{files[0].parent}: {len(files)} of the {parts[0][1]} files of the split {split} are there; fetch all of them")
    return files


def _saved(folder: Path) -> list[Path]:
    try:
        names = [entry["filename"] for entry in json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]]
        files = [folder / str(name) for name in names]
    except (ValueError, LookupError, TypeError) as error:
        raise Refusal(f"{folder / 'state.json'}: not what save_to_disk writes ({type(error).__name__}: {error}); save it again") from None
    if (folder / "indices.arrow").is_file() or not files or not all(file.is_file() for file in files):
        raise Refusal(f"{folder}: its state.json names files that are not all there; save the data set again with save_to_disk")
    return files


def _table(path: Path, form: str) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if form == ".parquet":
            rows = pq.ParquetFile(path).read().to_pylist()
        else:
            with pa.memory_map(str(path)) as source:
                try:
                    rows = pa.ipc.open_stream(source).read_all().to_pylist()
                except pa.ArrowInvalid:
                    source.seek(0)
                    rows = pa.ipc.open_file(source).read_all().to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise Refusal(f"{path}: not a {form} file that can be read ({str(error).splitlines()[0]}); fetch it again") from None
    return _numbered(path, rows)


def _apart(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names differ: of two questions under one id, the first would be lost without a word."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in {other for other, _ in pairs[:number]})
        raise Refusal(f"{path}: {twice!r} stands twice in one object; give each question an id of its own")
    return found


def _json(path: Path, text: str) -> list[Row]:
    try:
        whole = json.loads(text, object_pairs_hook=lambda pairs: _apart(path, pairs))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # MedMCQA's and others' .json files hold one object a line
            return _lines(path, text)
        raise Refusal(f"{path}: not valid JSON: {error}") from None
    except RecursionError:
        raise Refusal(f"{path}: not rows: nested without end") from None
    if isinstance(whole, list):
        return _numbered(path, whole)
    if isinstance(whole, dict) and whole:
        if not all(isinstance(value, dict) for value in whole.values()):
            return _numbered(path, [whole])
        return [Row(f"{path}, {key}", key, value) for key, value in whole.items()]
    raise Refusal(f"{path}: holds no rows; it must be a list of objects, or one object with an entry for each question")


def _lines(path: Path, text: str) -> list[Row]:
    return [Row(where, _name(path, number), _object(where, value)) for where, number, value in json_lines(text, path)]


def _separated(path: Path, text: str, separator: str, fields: Sequence[str] | None) -> Iterator[Row]:
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header = list(fields) if fields else None
    number, first = 0, True
    try:
        for cells in lines:
            where = f"{path}, line {lines.line_num}"
            if not cells:
                continue
            if header is None or (first and (cells[0].strip().lower(), cells[-1].strip().lower()) == (header[0], header[-1])):
                header, first = header or [cell.strip() for cell in cells], False
                continue
            number, first = number + 1, False
            if len(cells) != len(header):
                raise Refusal(f"{where}: has {len(cells)} columns and needs {len(header)} ({', '.join(header)}); mend or remove the line")
            yield Row(where, _name(path, number), dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise Refusal(f"{path}, line {lines.line_num}: not valid CSV: {error}; mend or remove the line") from None


def _numbered(path: Path, values: Sequence[Any]) -> list[Row]:
    return [Row(where := f"{path}, row {number}", _name(path, number), _object(where, value)) for number, value in enumerate(values, 1)]


def _object(where: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(f"{where}: not an object but {type(value).__name__}; a row names its columns")
    return value


def _name(path: Path, number: int) -> str:
    return f"{path.stem}-{number:05d}"

"""The head of a GGUF file against the gguf package's own reader and writer, and what no head may be."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from medloom.ledger import Refusal
from medloom.model.gguf_head import Value, head_bytes, read_head

PAIRS: dict[str, Value] = {
    "general.architecture": "llama", "a.number": 2**32 - 1, "a.float": 1e-5, "a.yes": True, "a.no": False, "a.text": "Ä\n\U0001f48a",
    "a.texts": ["", "dose", "\u2581"] * 30, "a.numbers": [-1, 2, 3] * 30, "a.floats": [0.5, -1e30] * 40, "a.few": [7], "a.one": ["x"]}
TENSORS = {"one": ((3,), gguf.GGMLQuantizationType.F32), "two": ((2, 5, 32), gguf.GGMLQuantizationType.Q8_0),
           "three": ((4, 6), gguf.GGMLQuantizationType.BF16)}


def by_gguf(path: Path) -> bytes:
    """PAIRS and TENSORS written by the gguf package, with weights of zero."""
    writer = gguf.GGUFWriter(path, "llama")
    add: dict[type, Any] = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string,
                            list: writer.add_array}
    for key, value in list(PAIRS.items())[1:]:
        add[type(value)](key, value)
    for name, (shape, kind) in TENSORS.items():
        block, size = gguf.GGML_QUANT_SIZES[kind]
        row = shape[-1] // block * size
        dtype = np.float32 if kind == gguf.GGMLQuantizationType.F32 else np.uint8
        data = np.zeros(shape if dtype == np.float32 else (*shape[:-1], row), dtype)
        writer.add_tensor(name, data, raw_dtype=None if dtype == np.float32 else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def test_the_bytes_are_those_that_gguf_writes(tmp_path: Path) -> None:
    theirs = by_gguf(tmp_path / "theirs.gguf")
    ours = head_bytes(PAIRS, [(name, shape, kind) for name, (shape, kind) in TENSORS.items()])
    assert theirs[: len(ours)] == ours
    assert len(ours) == gguf.GGUFReader(tmp_path / "theirs.gguf").data_offset
    head = read_head(tmp_path / "theirs.gguf")
    assert {key: head.value(key) for key in head.pairs} == PAIRS | {key: pytest.approx(PAIRS[key]) for key in ("a.float", "a.floats")}
    assert head.value("a.none") is None
    assert {tensor.name: (tensor.shape, tensor.type_name) for tensor in head.tensors} == \
        {name: (shape, kind.name) for name, (shape, kind) in TENSORS.items()}
    assert head_bytes(head.pairs, [(tensor.name, tensor.shape, tensor.type) for tensor in head.tensors]) == ours


def test_a_real_vocabulary_is_read_as_by_gguf(shared: Path) -> None:
    assert_read_as_by_gguf(shared / "vocab" / "ggml-vocab-llama-spm.gguf")


def test_every_type_of_value_is_read_as_by_gguf(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "all.gguf", "llama")
    for kind in gguf.GGUFValueType:
        if kind not in (gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.STRING):
            getattr(writer, f"add_{kind.name.lower()}")(f"one.{kind.name}", 1)
            writer.add_key_value(f"list.{kind.name}", [1, 0, 1], gguf.GGUFValueType.ARRAY, kind)
    writer.add_key_value("nested", [[1, 2], [3]], gguf.GGUFValueType.ARRAY)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    assert read_head(tmp_path / "all.gguf").value("nested") == [[1, 2], [3]]
    assert_read_as_by_gguf(tmp_path / "all.gguf", but=("nested",))  # which gguf's reader takes for one list


def assert_read_as_by_gguf(path: Path, but: tuple[str, ...] = ()) -> None:
    ours, own = read_head(path), gguf.GGUFReader(path)
    fields = {key: field for key, field in own.fields.items() if not key.startswith("GGUF.")}
    assert list(ours.pairs) == list(fields)
    for key in fields.keys() - {*but}:
        assert ours.value(key) == fields[key].contents(), key
    assert [(one.name, one.start, one.size, one.type_name, list(reversed(one.shape))) for one in ours.tensors] == \
        [(one.name, one.data_offset, one.n_bytes, one.tensor_type.name, one.shape.tolist()) for one in own.tensors]


def string(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def tensor(name: bytes = b"w", shape: tuple[int, ...] = (8, 1), kind: int = 0, offset: int = 0) -> bytes:
    return string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


ONE = string(b"a") + struct.pack("<II", 4, 1)
DAMAGED = {
    "version 4": (4, [ONE], [tensor()]),
    "a stands in it twice": (3, [ONE, ONE], []),
    "w stands in it twice": (3, [ONE], [tensor(), tensor(offset=32)]),
    "w stands in it twice, or has 5 dimensions": (3, [ONE], [tensor(shape=(1,) * 5)]),
    "w lies at byte 224, not at 160": (3, [ONE], [tensor(b"v"), tensor(offset=96)]),
    "w goes to byte 2144 of": (3, [ONE], [tensor(shape=(8, 64))]),
    "w is empty": (3, [ONE], [tensor(shape=(8, 0))]),
    "rows of 8 in blocks of 32": (3, [ONE], [tensor(kind=8)]),
    "99 is not a valid": (3, [ONE], [tensor(kind=99)]),
    "aligned to 24": (3, [string(b"general.alignment") + struct.pack("<II", 4, 24)], [tensor()]),
    "ends too soon": (3, [string(b"a") + struct.pack("<IIQ", 9, 4, 2**62)], [tensor()]),
    "": (3, [string(b"a") + struct.pack("<IIQQ", 9, 8, 2**62, 2**63)], [tensor()]),
    "can't decode": (3, [string(b"\xff") + struct.pack("<II", 4, 1)], [tensor()]),
    "13": (3, [string(b"a") + struct.pack("<II", 13, 1)], [tensor()]),
}


@pytest.mark.parametrize("says", DAMAGED)
def test_a_head_that_says_what_cannot_be_is_refused(tmp_path: Path, says: str) -> None:
    version, pairs, tensors = DAMAGED[says]
    content = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join([*pairs, *tensors])
    (tmp_path / "bad.gguf").write_bytes(content.ljust(len(content) + 256, b"\0"))
    with pytest.raises(Refusal, match=f"damaged or cut off .*{says}"):
        read_head(tmp_path / "bad.gguf")


def test_text_that_is_none_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    content = b"GGUF" + struct.pack("<IQQ", 3, 0, 2) + ONE + string(b"b") + struct.pack("<I", 8) + string(b"\xff\xfe")
    (tmp_path / "bad.gguf").write_bytes(content)
    head = read_head(tmp_path / "bad.gguf")
    assert head.value("a") == 1
    with pytest.raises(Refusal, match="b is damaged"):
        head.value("b")

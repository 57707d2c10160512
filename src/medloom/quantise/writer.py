"""The head of a GGUF file, which the gguf package writes; the tensors' bytes follow it."""

from __future__ import annotations

import struct
from typing import Any

import gguf
import numpy as np
import torch

ALIGNMENT = gguf.GGUF_DEFAULT_ALIGNMENT  # bytes: where the place of each tensor may begin


class Writer(gguf.GGUFWriter):
    """A GGUFWriter that writes a vocabulary in a tenth of the time, and leaves the tensors to others."""

    def announce(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        """Tell of a tensor that will follow the head, in the order of these calls."""
        size = int(np.prod(shape)) * dtype.itemsize
        if dtype == torch.bfloat16:  # it has no numpy form, so that gguf is told of bytes
            self.add_tensor_info(name, (*shape[:-1], shape[-1] * 2), np.dtype(np.uint8), size, gguf.GGMLQuantizationType.BF16)
        else:
            self.add_tensor_info(name, shape, np.dtype(np.float32 if dtype == torch.float32 else np.float16), size)

    def write_head(self) -> None:
        """Write all that comes before the tensors, up to the first one's place, and close the file."""
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_ti_data_to_file()
        for stream in self.fout or ():
            self.write_padding(stream, stream.tell())
        self.close()

    def _pack_val(self, val: Any, vtype: Any, add_vtype: bool, sub_type: Any = None) -> bytes:
        """A long list at once; the package packs it number by number, with a look at each one's type."""
        kinds = {*map(type, val)} if isinstance(val, list) and sub_type is None and len(val) > 64 else set()
        if kinds == {str}:
            texts = [text.encode() for text in val]
            body = b"".join([part for text in texts for part in (struct.pack("<Q", len(text)), text)])
        elif kinds in ({int}, {float}):
            body = struct.pack(f"<{len(val)}{'i' if kinds == {int} else 'f'}", *val)
        else:
            packed: bytes = super()._pack_val(val, vtype, add_vtype, sub_type)
            return packed
        head = struct.pack("<I", vtype) if add_vtype else b""
        return head + struct.pack("<IQ", gguf.GGUFValueType.get_type(val[0]), len(val)) + body

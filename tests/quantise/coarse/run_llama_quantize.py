"""llama.cpp's own quantizer, as llama-cpp-python 0.3.36 has it; run with its interpreter.

    python run_llama_quantize.py JOBS.json

JOBS.json: [{"source", "out", "type": number of the file's type, "importance": an .npz of [columns] by tensor, or null}]. Prints what each
call returned, as JSON: 0 where the file was written.
"""

from __future__ import annotations

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp
import numpy as np


def quantise(job: dict[str, object]) -> int:
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = job["type"]
    settings.nthread = job.get("threads", 2)
    if job["importance"]:
        arrays = {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in np.load(str(job["importance"])).items()}
        entries = (llama_cpp.llama_model_imatrix_data * (len(arrays) + 1))()
        for entry, (name, values) in zip(entries, arrays.items(), strict=False):
            entry.name, entry.size = name.encode(), values.size
            entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        settings.imatrix = entries  # ends with an entry without a name
    return int(llama_cpp.llama_model_quantize(str(job["source"]).encode(), str(job["out"]).encode(), ctypes.byref(settings)))


@llama_cpp.llama_log_callback
def silent(level: int, text: bytes, data: object) -> None:
    """Keep its lines per tensor to itself."""


llama_cpp.llama_log_set(silent, ctypes.c_void_p(0))
json.dump([quantise(job) for job in json.loads(Path(sys.argv[1]).read_text())], sys.stdout)

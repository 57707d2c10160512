"""llama.cpp's side of export and quantisation: its own converter and its own quantizer, with what it takes to import them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides.clock import run


def convert(script: str, model: str, out: str) -> Callable[[], Any]:
    """A model folder to a BF16 file by convert_hf_to_gguf.py."""
    def work() -> None:
        import runpy

        sys.path.insert(0, str(Path(script).parent))
        sys.argv = [script, model, "--outfile", out, "--outtype", "bf16"]
        runpy.run_path(script, run_name="__main__")

    return work


def quantise(source: str, out: str, file_type: int, threads: int) -> Callable[[], Any]:
    """A full file to a quantised one by llama_model_quantize, which llama-quantize calls."""
    def work() -> int:
        import ctypes

        import llama_cpp

        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype, settings.nthread = file_type, threads
        return int(llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(settings)))

    return work


def copy(source: str, out: str) -> Callable[[], Any]:
    """A file copied, as far as the disk, as our files are."""
    def work() -> None:
        shutil.copyfile(source, out)
        with Path(out).open("rb") as stream:
            os.fsync(stream.fileno())

    return work


if __name__ == "__main__":
    run({"convert": convert, "quantise": quantise, "copy": copy})

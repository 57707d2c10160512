"""Our side of export and quantisation, with what it takes to import it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides.clock import run


def draw(folder: str, tokenizer: str) -> Callable[[], Any]:
    """The model folder that both sides read; how many weights it has."""
    from quantise_inputs import write_model

    return lambda: write_model(Path(folder), Path(tokenizer))


def both(model: str, folder: str, type: str, threads: int) -> Callable[[], Any]:
    """A model folder to a BF16 file, and that to the quantised one, in one process as a run of a recipe does it."""
    def work() -> str:
        from medloom.quantise import export_gguf, quantise

        full, small = Path(folder) / "ours-full.gguf", Path(folder) / "ours.gguf"
        export_gguf(Path(model), full, "BF16")
        quantise(full, small, type, threads=threads)
        return str(small)

    return work


def export(model: str, out: str, digest: bool) -> Callable[[], Any]:
    """A model folder to a BF16 file, on disk; on request its digest is not computed, to tell apart what that takes."""
    import torch  # noqa: F401  what a run has long imported
    import transformers  # noqa: F401

    from medloom.model import gguf_file
    from medloom.quantise import export_gguf

    if not digest:
        gguf_file._sha256_growing = lambda stream, whole: ""
    return lambda: export_gguf(Path(model), Path(out), "BF16")["bytes"]


if __name__ == "__main__":
    run({"draw": draw, "both": both, "export": export})

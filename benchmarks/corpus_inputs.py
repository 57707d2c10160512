"""What the corpus benchmark is given: real text, and where more of it is needed, copies in which other words stand.

A copy is the same text after a fixed permutation of its words among words of equal length: as long, as repetitive, as many
near-duplicates within, and none of its 5-grams is the original's.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medloom.corpus.document import Document, Origin, ShardWriter
from medloom.corpus.readers.jats import read_jats
from medloom.corpus.readers.medline import read_medline

SEED = 1
KINDS = ("exact", "sentence-dropped", "3-percent-changed")
LLAMA3_FIRST_SPECIAL = 128_000
REAL, PLANTED, SHARDS = 33_535, 2_000, 4  # documents of the near-duplicate row, and the files that they lie in
LONG = 1_000  # characters of what is copied at least, as in an abstract of today; those of the 1970s have few sentences to drop one of
MIXED = 18_000_000  # characters to tokenise
_ALPHA = re.compile(r"[A-Za-z]+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_MEDLINE_TEXT = re.compile(rb"(<(AbstractText|ArticleTitle|VernacularTitle)\b[^>]*>)(.*?)(</\2>)", re.DOTALL)
_RECORD_END = b"</PubmedArticle>"


def abstracts(medline: Path) -> list[Document]:
    """Every document of a folder of MEDLINE files, the first of each id."""
    found: dict[str, Document] = {}
    for path in sorted(medline.glob("*.xml*")):
        for item in read_medline(path, Origin("abstracts", "medical", path.name), []):
            document = getattr(item, "document", item)
            if isinstance(document, Document):
                found.setdefault(document.id, document)
    return list(found.values())


class Permutation:
    """Words to other words of the same length. Numbers, signs and words of one letter stay."""

    def __init__(self, texts: Sequence[str]) -> None:
        groups: dict[int, list[str]] = defaultdict(list)
        for word in sorted({word.lower() for text in texts for word in _ALPHA.findall(text)}):
            groups[len(word)].append(word)
        self._groups = [group for length, group in groups.items() if length > 1]
        drawn = random.Random(SEED)
        for group in self._groups:
            drawn.shuffle(group)

    def copy(self, number: int) -> Callable[[str], str]:
        """The function that makes the copy of that number, 1 and on; 0 changes nothing."""
        if not number:
            return lambda text: text
        other = {word: group[(place + number) % len(group)] for group in self._groups for place, word in enumerate(group)}

        def replace(match: re.Match[str]) -> str:
            word = match[0]
            new = other.get(word.lower(), word)
            return new if word.islower() else new.upper() if word.isupper() and len(word) > 1 else new.capitalize()

        return lambda text: _ALPHA.sub(replace, text)


@dataclass(frozen=True)
class Planted:
    """Documents with planted copies, as Parquet shards and as JSON lines.

    `copies` maps the id of each planted one to its kind; `expected` is the recall of a kind by MinHash's formula, from how alike the
    pairs are: 1 - (1 - s^8)^14 for a Jaccard similarity s of their word 5-grams.
    """

    parquet: Path
    lines: Path
    copies: dict[str, str]
    characters: int
    expected: dict[str, float]


def planted(medline: Path, out: Path) -> Planted:
    """Write REAL documents, then PLANTED copies of some of them, into SHARDS files of either form, in this order."""
    real = abstracts(medline)
    permutation = Permutation([document.text for document in real])
    documents: list[tuple[str, str]] = []
    for number in range(-(-REAL // len(real))):
        change = permutation.copy(number)
        documents += [(f"{document.id}-{number}", change(document.text)) for document in real]
    documents = documents[:REAL]
    drawn = random.Random(SEED)
    vocabulary = sorted({word for document in real for word in document.text.split()})
    copies = {}
    expected: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number, (name, text) in enumerate(drawn.sample([entry for entry in documents if len(entry[1]) >= LONG], PLANTED)):
        kind = KINDS[number % len(KINDS)]
        copies[f"{name}-{kind}"] = kind
        documents.append((f"{name}-{kind}", _damaged(text, kind, drawn, vocabulary)))
        expected[kind].append(_chance(text, documents[-1][1]))
    size = -(-len(documents) // SHARDS)
    for form in ("parquet", "lines"):
        (out / form).mkdir(parents=True)
    origin = Origin("abstracts", "medical", "planted")
    for shard in range(SHARDS):
        part = documents[shard * size : (shard + 1) * size]
        with ShardWriter(out / "parquet" / f"part-{shard}.parquet") as writer, (out / "lines" / f"{shard}.jsonl").open("w") as lines:
            for name, text in part:
                writer.add(origin.document(name, text, language="en").row())
                lines.write(json.dumps({"id": name, "text": text}) + "\n")
    return Planted(out / "parquet", out / "lines", copies, sum(len(text) for _, text in documents),
                   {kind: sum(chances) / len(chances) for kind, chances in expected.items()})


def _chance(one: str, other: str) -> float:
    left, right = (set(zip(*(words[start:] for start in range(5)), strict=False)) for words in map(_words, (one, other)))
    return 1 - (1 - (len(left & right) / max(len(left | right), 1)) ** 8) ** 14


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _damaged(text: str, kind: str, drawn: random.Random, vocabulary: Sequence[str]) -> str:
    if kind == "sentence-dropped":
        sentences = _SENTENCE_END.split(text)
        del sentences[drawn.randrange(len(sentences))]
        return " ".join(sentences) or text
    if kind == "3-percent-changed":
        words = text.split()
        for place in drawn.sample(range(len(words)), max(1, int(0.03 * len(words)))):
            words[place] = drawn.choice(vocabulary)
        return " ".join(words)
    return text


def mixed_texts(data: Path, out: Path) -> int:
    """Write MIXED characters of abstracts, papers and books, a third each while they last, as JSON lines; their bytes of UTF-8."""
    def papers() -> Iterator[str]:
        for path in sorted((data / "jats").iterdir()):
            document = read_jats(path.read_bytes(), Origin("papers", "medical", path.name))
            if isinstance(document, Document):
                yield document.text

    def books() -> Iterator[str]:
        for path in sorted((data / "general" / "books").iterdir()):
            yield path.read_text(encoding="utf-8")

    kinds: list[Iterator[str]] = [papers(), books(), (document.text for document in abstracts(data / "medline"))]
    written = size = 0
    with out.open("w", encoding="utf-8") as lines:
        for place, kind in enumerate(kinds):
            room = (MIXED - written) // (len(kinds) - place)
            for text in kind:
                lines.write(json.dumps({"text": text}) + "\n")
                written, room, size = written + len(text), room - len(text), size + len(text.encode())
                if room <= 0:
                    break
    return size


def peer_tokenizer(folder: Path, out: Path) -> None:
    """Copy tokenizer.model to `out` and write its tokenizer.json beside it, which opens and closes documents as ours does."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers.convert_slow_tokenizer import TikTokenConverter

    from medloom.model import load_tokenizer
    from medloom.model.encoders import LLAMA3_PATTERN
    from medloom.model.tokenizer import complete_tokenizer

    model = out / "tokenizer.model"
    shutil.copy(folder / "tokenizer.model", model)
    loaded = load_tokenizer(model)
    complete_tokenizer(out)
    if (out / "tokenizer.json").exists():
        library = Tokenizer.from_file(str(out / "tokenizer.json"))
    else:
        names = [f"<|special_{number}|>" for number in range(loaded.vocab_size - LLAMA3_FIRST_SPECIAL)]
        library = TikTokenConverter(str(model), pattern=LLAMA3_PATTERN, extra_special_tokens=names).converted()
    ends = [("<BOS>", loaded.bos_id)] * loaded.adds_bos + [("<EOS>", loaded.eos_id)]
    library.post_processor = TemplateProcessing(single=("<BOS> " * loaded.adds_bos) + "$A <EOS>", pair=None, special_tokens=ends)
    library.save(str(out / "tokenizer.json"))


def agreement(one: Path, other: Path) -> tuple[int, int]:
    """Documents with the same ids in two token stores, and documents."""
    import numpy as np

    from medloom.model import TokenStore

    left, right = TokenStore.open(one), TokenStore.open(other)
    assert len(left) == len(right), f"{len(left)} documents on one side, {len(right)} on the other"
    return sum(np.array_equal(left[place], right[place]) for place in range(len(left))), len(left)


def papers_copied(data: Path, out: Path, copies: int) -> None:
    """Write the JATS files of `data` `copies` times over, in other words each time."""
    permutation = Permutation([document.text for document in abstracts(data / "medline")])
    (out / "jats").mkdir(parents=True)
    for number in range(copies):
        change = permutation.copy(number)
        for path in sorted((data / "jats").iterdir()):
            text = path.read_text(encoding="utf-8")
            start, end = text.find("<body"), text.rfind("</body>")
            if start >= 0:
                text = text[:start] + _outside_markup(text[start:end], change) + text[end:]
            text = re.sub(r'(<article-id pub-id-type="(?:pmid|pmc|doi)">)', rf"\g<1>{number or ''}", text)
            (out / "jats" / f"{number}-{path.name}").write_text(text, encoding="utf-8")


def other_sources(data: Path, out: Path) -> None:
    """Copy the sources that are not multiplied to `out`, under the names that the recipe has for them."""
    shutil.copytree(data / "guidelines_html", out / "guidelines-html")
    shutil.copytree(data / "guidelines_pdf", out / "guidelines-pdf")
    shutil.copytree(data / "guidelines_txt", out / "guidelines-text")
    shutil.copytree(data / "general" / "books", out / "books")
    (out / "web").mkdir()
    for path in (data / "general").glob("*.jsonl"):
        shutil.copy(path, out / "web")


def medline_shards(path: Path, out: Path, shards: int, records: int) -> None:
    """Write `shards` MEDLINE files of `records` records each, cut from a real one, which is gone through again in other words."""
    head, *rest = _unpacked(path).split(b"<PubmedArticle>")
    pieces = [b"<PubmedArticle>" + piece.partition(_RECORD_END)[0] + _RECORD_END + b"\n" for piece in rest]
    permutation = Permutation([document.text for document in abstracts(path.parent)])
    out.mkdir(parents=True)
    of_file = len(pieces) // records
    for shard in range(shards):
        number, place = divmod(shard, of_file)
        body = b"".join(pieces[place::of_file][:records])  # spread over the file, so that shards are alike
        _write_gzip(out / f"{shard:04d}.xml.gz", head + _medline_copy(body, permutation.copy(number), number) + b"</PubmedArticleSet>\n")


def _medline_copy(data: bytes, change: Callable[[str], str], number: int) -> bytes:
    """A MEDLINE file in other words, its PMIDs and PMC and DOI identifiers made the copy's own."""
    if not number:
        return data
    data = _MEDLINE_TEXT.sub(lambda m: m[1] + _outside_markup(m[3].decode(), change).encode() + m[4], data)
    own = str(number).encode()
    data = re.sub(rb"(<PMID\b[^>]*>)(\d+)", rb"\g<1>" + own + rb"0\g<2>", data)
    data = re.sub(rb'(<ArticleId IdType="pmc">PMC)', rb"\g<1>" + own + b"0", data)
    return re.sub(rb'(<(?:ArticleId IdType|ELocationID EIdType)="doi"[^>]*>)', rb"\g<1>" + own + b"0", data)


def _outside_markup(text: str, change: Callable[[str], str]) -> str:
    """Change text, but neither tags nor character references in it."""
    return "".join(part if part[:1] in "<&" else change(part) for part in re.split(r"(<[^>]*>|&[^;]*;)", text) if part)


def unpacked_megabytes(path: Path) -> float:
    """Size of a packed file's content, in MB of 10^6 bytes."""
    return len(_unpacked(path)) / 1e6


REAL_SOURCES = {"guidelines-html": ("guidelines", "guidelines_html"), "guidelines-pdf": ("guidelines", "guidelines_pdf"),
                "guidelines-text": ("guidelines", "guidelines_txt"), "papers": ("jats", "jats"), "abstracts": ("medline", "medline"),
                "books": ("text", "general/books"), "web": ("jsonl", "general/cc_en_head-0091.jsonl")}


def indexes(data: Path, out: Path, scales: Sequence[int]) -> list[Path]:
    """For each scale a folder with the indexes of all documents of `data`, so many times over, the sources beside them.

    Each copy's identifiers and keys are its own, so that it has as many duplicates within as the original and none outside.
    """
    import numpy as np

    from medloom.corpus import read_source
    from medloom.corpus.document import tables
    from medloom.corpus.examine import INDEX, Examination, examine
    from medloom.ledger import Silent
    from medloom.recipe import Corpus, Source

    sources = [Source.model_validate({"name": name, "format": form, "path": str(data / path)})
               for name, (form, path) in REAL_SOURCES.items()]
    settings = Corpus(sources=tuple(sources))
    made = []
    for number, source in enumerate(sources):
        read_source(source, Path(source.path), settings, out / source.name, Silent(), out / "state" / source.name)
        for shard in sorted((out / source.name).glob("part-*.parquet")):
            made.append(out / f"index-{len(made):05d}.parquet")
            examine(Examination(shard, len(made) - 1, number, settings, (), SEED, made[-1]))

    def copied(table: pa.Table, copy: int, shard: int) -> pa.Table:
        columns = {name: pa.array([f"{value}-{copy}" if value else None for value in table[name].to_pylist()], pa.string())
                   for name in ("id", "pmid", "pmcid", "doi", "corpus_id")}
        bands = table["bands"].combine_chunks()
        columns["bands"] = pa.ListArray.from_arrays(bands.offsets, pa.array(bands.values.to_numpy() ^ np.uint64(copy << 40)))
        columns["text_key"] = pa.array([key[:-2] + copy.to_bytes(2, "little") for key in table["text_key"].to_pylist()], pa.binary(16))
        columns["shard"] = pa.array(np.full(len(table), shard, np.int32))
        return pa.table([columns.get(name, table[name]) for name in INDEX.names], schema=INDEX)

    folders = []
    for scale in scales:
        folders.append(out / f"scale-{scale}")
        folders[-1].mkdir()
        (folders[-1] / "sources.json").write_text(json.dumps([source.model_dump(mode="json") for source in sources]))
        for copy in range(scale):
            for place, path in enumerate(made):
                shard = copy * len(made) + place
                with ShardWriter(folders[-1] / f"index-{shard:05d}.parquet", INDEX) as writer:
                    for table in tables(path):
                        writer.add_table(copied(table, copy, shard))
    return folders


def _unpacked(path: Path) -> bytes:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        content = b""
        try:
            while chunk := stream.read(1 << 20):
                content += chunk
        except EOFError:  # some of the samples are cut short
            pass
        return content


def _write_gzip(path: Path, data: bytes) -> int:
    with gzip.open(path, "wb", compresslevel=6) as stream:
        stream.write(data)
    return path.stat().st_size

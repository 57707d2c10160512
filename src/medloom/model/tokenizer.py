"""Text to token ids and back: one class over the three forms in which the Llama family ships its tokenizer.

- `tokenizer.model` of SentencePiece (Llama 1 and 2, Mistral), the default;
- `tokenizer.model` in tiktoken's form (Llama 3);
- `tokenizer.json` of the tokenizers library.

Text is always plain text: a document that contains the characters `<s>` yields those characters, never the control
token. Whether a beginning-of-sequence token opens a document is the tokenizer's own habit, `adds_bos`: what
tokenizer_config.json says in `add_bos_token`, else what tokenizer.json's post-processor does, else yes, as every Llama
was trained (transformers 5 drops it when it loads a bare SentencePiece file; the folders that we write say it openly).
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..ledger import Refusal
from ..ledger.files import atomic, read_json, sha256_file, write_json, write_text
from .sentencepiece_file import read_pieces, tokenizers_json

# Llama 3's way to cut text before byte pairs are merged, from its model card's reference tokenizer.
LLAMA3_PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
                  r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3_SPECIAL = 256
FILES = ("tokenizer.model", "tokenizer.json")


class _Engine(Protocol):
    size: int
    bos: int | None
    eos: int | None
    adds_bos: bool

    def encode(self, texts: list[str], threads: int) -> list[list[int]]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Tokenizer:
    """A tokenizer of the Llama family; made by `load_tokenizer`.

    `vocab_size` counts the ids that it knows (a model's vocabulary may be padded beyond it); `digest` is the SHA-256 of
    the file it came from.
    """

    def __init__(self, engine: _Engine, path: Path, settings: dict[str, Any]) -> None:
        self._engine = engine
        self.path = path
        self.digest = sha256_file(path)
        self.vocab_size = engine.size
        self.bos_id, self.eos_id = engine.bos, engine.eos
        wanted = settings.get("add_bos_token")
        self.adds_bos = self.bos_id is not None and (engine.adds_bos if wanted is None else bool(wanted))

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of a text, with the beginning and the end token where asked for."""
        return self.encode_batch([text], bos=bos, eos=eos)[0]

    def encode_batch(self, texts: Sequence[str], *, bos: bool = False, eos: bool = False, threads: int = 1) -> list[list[int]]:
        """`encode` for many texts at once."""
        head = [self._known(self.bos_id, "beginning")] if bos else []
        tail = [self._known(self.eos_id, "end")] if eos else []
        return [[*head, *ids, *tail] for ids in self._engine.encode(list(texts), threads)]

    def encode_documents(self, texts: Sequence[str], *, threads: int = 1) -> list[list[int]]:
        """Whole documents as they are trained on: the beginning token if it is the tokenizer's habit, the text, the end token."""
        return self.encode_batch(texts, bos=self.adds_bos, eos=self.eos_id is not None, threads=threads)

    def encode_pair(self, prompt: str, completion: str) -> tuple[list[int], int]:
        """Ids of `prompt + completion` cut as one text, opened as a document is, and the number of them that belong to the prompt alone.

        A token that spans the boundary counts as completion. Encoding the two apart would differ: SentencePiece puts a
        space before every text.
        """
        both, alone = self.encode_batch([prompt + completion, prompt], bos=self.adds_bos)
        shared = 0
        for one, other in zip(both, alone, strict=False):
            if one != other:
                break
            shared += 1
        return both, shared

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; control tokens give nothing, broken UTF-8 gives U+FFFD."""
        return self._engine.decode([int(i) for i in ids])

    def _known(self, token: int | None, which: str) -> int:
        if token is None:
            raise Refusal(f"{self.path}: this tokenizer has no {which}-of-sequence token; name it in tokenizer_config.json")
        return token


class _SentencePiece:
    adds_bos = True
    bos: int | None
    eos: int | None

    def __init__(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        self._processor = SentencePieceProcessor(model_file=str(path))
        self.size = self._processor.vocab_size()
        self.bos, self.eos = (i if i >= 0 else None for i in (self._processor.bos_id(), self._processor.eos_id()))

    def encode(self, texts: list[str], threads: int) -> list[list[int]]:
        return [list(ids) for ids in self._processor.encode(texts, num_threads=threads)]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._processor.decode(list(ids)))


class _TikToken:
    adds_bos = True
    bos: int | None
    eos: int | None

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        from tiktoken import Encoding

        ranks: dict[bytes, int] = {}
        for line in path.read_bytes().splitlines():
            if line:
                token, rank = line.split()
                ranks[base64.b64decode(token)] = int(rank)
        self._first = len(ranks)
        self.size = self._first + LLAMA3_SPECIAL
        self.bos, self.eos = self._first, self._first + 1
        named = {entry.get("content"): int(number) for number, entry in settings.get("added_tokens_decoder", {}).items()}
        self.bos, self.eos = named.get(_name(settings, "bos_token"), self.bos), named.get(_name(settings, "eos_token"), self.eos)
        self._encoding = Encoding(name=path.name, pat_str=LLAMA3_PATTERN, mergeable_ranks=ranks, special_tokens={})

    def encode(self, texts: list[str], threads: int) -> list[list[int]]:
        if threads > 1:
            return self._encoding.encode_ordinary_batch(texts, num_threads=threads)
        return [self._encoding.encode_ordinary(text) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return self._encoding.decode([i for i in ids if i < self._first])


class _Tokenizers:
    def __init__(self, path: Path, settings: dict[str, Any], config: dict[str, Any]) -> None:
        from tokenizers import Tokenizer as Library

        self._library = Library.from_file(str(path))
        self._library.no_padding()
        self._library.no_truncation()
        self._library.encode_special_tokens = True  # the text `<s>` is text
        self.size = self._library.get_vocab_size(with_added_tokens=True)
        self.bos = self._special(settings, config, "bos")
        self.eos = self._special(settings, config, "eos")
        opening = self._library.encode("", add_special_tokens=True).ids
        self.adds_bos = bool(opening) and opening[0] == self.bos

    def _special(self, settings: dict[str, Any], config: dict[str, Any], which: str) -> int | None:
        name = _name(settings, f"{which}_token")
        found = self._library.token_to_id(name) if name is not None else config.get(f"{which}_token_id")
        return found[0] if isinstance(found, list) else found

    def encode(self, texts: list[str], threads: int) -> list[list[int]]:
        if threads > 1:
            return [one.ids for one in self._library.encode_batch_fast(texts, add_special_tokens=False)]
        return [self._library.encode(text, add_special_tokens=False).ids for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._library.decode(list(ids), skip_special_tokens=True))


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder, or of a tokenizer file itself. tokenizer.model is taken before tokenizer.json.

    Raises Refusal where there is none, or where its bytes are of no known form.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    folder = Path(folder)
    path = folder if folder.is_file() else next((folder / name for name in FILES if (folder / name).is_file()), None)
    if path is None:
        raise Refusal(f"{folder}: no tokenizer here; put tokenizer.model or tokenizer.json beside the weights")
    settings, config = read_json(path.parent / "tokenizer_config.json"), read_json(path.parent / "config.json")
    try:
        if path.suffix == ".json":
            return Tokenizer(_Tokenizers(path, settings, config), path, settings)
        with path.open("rb") as stream:
            sentencepiece = stream.read(1) == b"\n"
        engine: _Engine = _SentencePiece(path) if sentencepiece else _TikToken(path, settings)
        return Tokenizer(engine, path, settings)
    except Refusal:
        raise
    except Exception as error:  # the libraries raise bare Exception and RuntimeError for broken files
        raise Refusal(f"{path}: not a SentencePiece, tiktoken or tokenizers file ({str(error).splitlines()[0]}); fetch it again") from error


def train_tokenizer(texts: Iterable[str], vocabulary: int, out: Path) -> None:
    """Learn a SentencePiece byte-pair tokenizer of `vocabulary` tokens from texts and write its files into `out`.

    Unknown 0, beginning 1, end 2, the 256 bytes, then pieces; no normalisation, digits one by one, line ends as bytes.
    The same texts give the same files. Raises Refusal where the texts are too few for the vocabulary.
    """
    from sentencepiece import SentencePieceTrainer

    out.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=_lines(texts), model_writer=model, vocab_size=vocabulary, model_type="bpe",
            byte_fallback=True, character_coverage=0.9999, normalization_rule_name="identity", remove_extra_whitespaces=False,
            split_digits=True, allow_whitespace_only_pieces=True, max_sentence_length=1 << 20, num_threads=1,
            input_sentence_size=0, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, minloglevel=2)
    except (RuntimeError, OSError) as error:
        raise Refusal(f"cannot learn {vocabulary} tokens from these texts: {str(error).splitlines()[0]}; "
                      "ask for a smaller vocabulary or give more text") from None
    with atomic(out / "tokenizer.model") as temporary:
        temporary.write_bytes(model.getvalue())
    complete_tokenizer(out)


def complete_tokenizer(folder: Path) -> None:
    """Write what other programs need beside a bare SentencePiece tokenizer.model, where it is absent.

    tokenizer.json (the same tokenizer for the tokenizers library) and a tokenizer_config.json that says openly that
    documents begin with the beginning token. Other forms of tokenizers, and files that exist, are left alone.
    """
    path = folder / "tokenizer.model"
    if not path.is_file() or path.read_bytes()[:1] != b"\n":
        return
    model = read_pieces(path)
    other = tokenizers_json(model)
    if other is None or (folder / "tokenizer.json").exists():
        return
    if not (folder / "tokenizer_config.json").exists():
        unknown, begin, end = (model.pieces[i].text.strip() for i in (0, 1, 2))
        write_json(folder / "tokenizer_config.json", {
            "tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": True, "add_eos_token": False,
            "bos_token": begin, "eos_token": end, "unk_token": unknown, "clean_up_tokenization_spaces": False,
            "model_max_length": 1_000_000_000})
        write_text(folder / "tokenizer.json", other)


def _lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        yield from (line for line in text.splitlines() if line.strip())


def _name(settings: dict[str, Any], key: str) -> str | None:
    """A special token's text; tokenizer_config.json holds it as a string or as a table."""
    value = settings.get(key)
    return value.get("content") if isinstance(value, dict) else value

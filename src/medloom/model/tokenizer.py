"""Text to token ids and back: one class over the three forms in which the Llama family ships its tokenizer.

- `tokenizer.model` of SentencePiece (Llama 1 and 2, Mistral), the default;
- `tokenizer.model` in tiktoken's form (Llama 3);
- `tokenizer.json` of the tokenizers library.

Text is always plain text: a document that contains the characters `<s>` yields those characters, never the control
token. Whether a beginning-of-sequence token opens a document is the tokenizer's own habit, `adds_bos`: what
tokenizer_config.json says in `add_bos_token`, else what tokenizer.json's post-processor does, else yes, as every Llama
was trained (transformers 5 drops it when it loads a bare SentencePiece file; the folders that we write say it openly).

Tokens that were added to the vocabulary later (see added.py) are control tokens, which no text can write, or marks, such as
`[fig]`, which text does write. What stands between two marks is encoded as a text of its own.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ledger import Refusal
from ..ledger.files import atomic, read_json, sha256_file, sha256_json, write_json, write_text
from .added import Added, Marked, read_added
from .encoders import Encoder, Ids, SentencePiece, TikToken, Tokenizers, token_name
from .sentencepiece_file import read_pieces, tokenizers_json

CARRIED = ("tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
           "merges.txt", "chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja", "LICENSE*", "LICENCE*",
           "NOTICE*", "USE_POLICY*")

FILES = ("tokenizer.model", "tokenizer.json")


class Tokenizer:
    """A tokenizer of the Llama family; made by `load_tokenizer`.

    `vocab_size` counts the ids that it knows, added tokens too (a model's vocabulary may be padded beyond it); `added` maps the
    text of added tokens to their ids. `document_end_id` is the token that closes a document: the end token, unless
    tokenizer_config.json names another in `document_end`. `digest` stands for all that decides the ids of a document: the SHA-256 of
    the tokenizer's file where the folder beside it adds nothing.
    """

    def __init__(self, encoder: Encoder, path: Path, settings: dict[str, Any], added: Sequence[Added] = ()) -> None:
        self.path = path
        self.added_tokens = tuple(added)
        self.added = {token.text: token.id for token in added}
        self.is_sentencepiece = isinstance(encoder, SentencePiece)
        self.vocab_size = max([encoder.size, *(token.id + 1 for token in added)])
        self.bos_id = self.added.get(token_name(settings, "bos_token") or "", encoder.bos)
        self.eos_id = self.added.get(token_name(settings, "eos_token") or "", encoder.eos)
        wanted = settings.get("add_bos_token")
        self.adds_bos = self.bos_id is not None and (encoder.adds_bos if wanted is None else bool(wanted))
        end = token_name(settings, "document_end")
        self.document_end_id = self.eos_id if end is None else self.added.get(end)
        if end is not None and self.document_end_id is None:
            raise Refusal(f"{path.parent / 'tokenizer_config.json'}: document_end is {end!r}, no added token; add it or take it out")
        self._encoder: Encoder = Marked(encoder, added) if added else encoder
        self.digest = sha256_file(path)
        if (added and path.suffix != ".json") or end is not None or self.adds_bos != (encoder.adds_bos and self.bos_id is not None):
            self.digest = sha256_json([self.digest, [[token.text, token.id, token.mark] for token in added], self.adds_bos, end])

    def encode(self, text: str, *, bos: bool = False, eos: bool = False) -> list[int]:
        """The ids of a text, with the beginning and the end token where asked for."""
        head = [self._known(self.bos_id, "beginning")] if bos else []
        tail = [self._known(self.eos_id, "end")] if eos else []
        return [*head, *self._encoder.encode(text).tolist(), *tail]

    def encode_batch(self, texts: Sequence[str], *, bos: bool = False, eos: bool = False) -> list[list[int]]:
        """`encode` for many texts."""
        return [self.encode(text, bos=bos, eos=eos) for text in texts]

    def encode_documents(self, texts: Sequence[str]) -> list[Ids]:
        """Whole documents as they are trained on: the beginning token if it is the tokenizer's habit, the text, the closing token."""
        head = [self.bos_id] if self.adds_bos else []
        tail = [self.document_end_id] if self.document_end_id is not None else []
        before, after = np.asarray(head, np.int32), np.asarray(tail, np.int32)
        return [np.concatenate((before, self._encoder.encode(text), after)) for text in texts]

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
        return self._encoder.decode([int(i) for i in ids])

    def _known(self, token: int | None, which: str) -> int:
        if token is None:
            raise Refusal(f"{self.path}: this tokenizer has no {which}-of-sequence token; name it in tokenizer_config.json")
        return token


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
            encoder: Encoder = Tokenizers(path, settings, config)
        else:
            with path.open("rb") as stream:
                encoder = SentencePiece(path) if stream.read(1) == b"\n" else TikToken(path, settings)
        return Tokenizer(encoder, path, settings, read_added(path, settings, encoder.size))
    except Refusal:
        raise
    except Exception as error:  # the libraries raise bare Exception and RuntimeError for broken files
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise Refusal(f"{path}: not a SentencePiece, tiktoken or tokenizers file ({first}); fetch it again") from error


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


def carry_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's and licence files of a model folder, and complete what a bare tokenizer.model lacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted({path for pattern in CARRIED for path in source.glob(pattern) if path.is_file()}):
        with atomic(folder / path.relative_to(source)) as temporary:
            shutil.copyfile(path, temporary)
    complete_tokenizer(folder)

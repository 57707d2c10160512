"""Tokenizers against llama.cpp's published vectors, SentencePiece, transformers and llama2.c's own rules."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor
from transformers import AutoTokenizer

from medloom.ledger import Refusal
from medloom.model import encoders, load_tokenizer, train_tokenizer
from medloom.model.encoders import SentencePiece, TikToken
from medloom.model.sentencepiece_file import USER_DEFINED, Piece, cut_at_spaces, read_pieces, write_pieces
from medloom.model.tokenizer import complete_tokenizer

HARD = ["", " ", "  two spaces", "a\n\nb\tc", "dose <5 mg/kg; if age > 3 y", "Äpfel ½ 温度 🙂", "<s> is text </s>", "x" * 300, " lead",
        "trail ", "2024-01-31 1234567", "β-blocker ≥ 40 µg"]


def texts() -> list[str]:
    drugs = [f"{a}{b}{c}" for a in ("bro", "ve", "lam", "quin") for b in ("dax", "to", "ri") for c in ("ine", "ol", "umab")]
    return [f"Patients who took {drug} {n} mg daily had fewer attacks of the syndrome than patients who took a placebo.\n"
            f"The dose of {drug} was halved in {n * 7} of {n * 31} patients; no death was seen." for n, drug in enumerate(drugs, 3)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(texts(), 420, folder)
    return folder


def vectors(stem: Path) -> Iterator[tuple[str, list[int]]]:
    """llama.cpp's pairs: texts apart by a marker line, ids a line each."""
    inputs = Path(f"{stem}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    outputs = Path(f"{stem}.out").read_text().split("\n")
    yield from zip(inputs, ([int(i) for i in line.split()] for line in outputs), strict=False)


@pytest.mark.parametrize(("name", "folder"), [("llama-spm", "llama2"), ("llama-bpe", "llama3")])
def test_llama_cpp_vectors(shared: Path, name: str, folder: str) -> None:
    tokenizer = load_tokenizer(shared / "tokenizers" / folder)
    pairs = list(vectors(shared / "vocab" / f"ggml-vocab-{name}.gguf"))
    assert len(pairs) > 40
    for text, expected in pairs:
        assert tokenizer.encode(text) == expected, repr(text)
        assert tokenizer.decode(expected) == text


def test_published_facts(shared: Path) -> None:
    llama2, llama3 = (load_tokenizer(shared / "tokenizers" / name) for name in ("llama2", "llama3"))
    assert (llama2.vocab_size, llama2.bos_id, llama2.eos_id, llama2.adds_bos) == (32000, 1, 2, True)
    assert (llama3.vocab_size, llama3.bos_id, llama3.eos_id, llama3.adds_bos) == (128256, 128000, 128001, True)
    assert [ids.tolist() for ids in llama2.encode_documents(["Hello world"])] == [[1, 15043, 3186, 2]]
    assert llama2.encode_batch(HARD) == [llama2.encode(text) for text in HARD]
    assert llama3.encode_batch(HARD) == [llama3.encode(text) for text in HARD]


def test_learned_tokenizer(trained: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(trained)
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos) == (420, 1, 2, True)
    for text in [*texts(), *HARD]:
        assert tokenizer.decode(tokenizer.encode(text)) == text
    learned = [piece.text for piece in read_pieces(trained / "tokenizer.model").pieces[259:]]
    assert all(len(text) == 1 for text in learned if any(character.isdigit() for character in text))
    train_tokenizer(texts(), 420, tmp_path)
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(Refusal, match="smaller vocabulary"):
        train_tokenizer(["one short text"], 5000, tmp_path)


def test_transformers_and_the_tokenizers_form_give_the_same_ids(trained: Path) -> None:
    ours, theirs, other = load_tokenizer(trained), AutoTokenizer.from_pretrained(trained), load_tokenizer(trained / "tokenizer.json")
    assert (other.vocab_size, other.bos_id, other.eos_id, other.adds_bos) == (420, 1, 2, True)
    for text in [*texts(), *HARD]:
        ids = ours.encode(text)
        assert other.encode(text) == ids
        if "<s>" not in text:  # transformers reads control tokens out of text, we do not
            assert theirs(text)["input_ids"] == [1, *ids]
            assert theirs.decode(ids) == text == other.decode(ids)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (1, 2)


def test_the_tokenizers_form_of_a_real_vocabulary(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((shared / "tokenizers/llama2/tokenizer.model").read_bytes())
    complete_tokenizer(tmp_path)
    ours, other = load_tokenizer(tmp_path), load_tokenizer(tmp_path / "tokenizer.json")
    sample = next((shared / "corpus").rglob("*.txt")).read_text(encoding="utf-8", errors="replace")[:20_000]
    for text in [*HARD, *(text for text, _ in vectors(shared / "vocab/ggml-vocab-llama-spm.gguf")), sample]:
        assert other.encode(text) == ours.encode(text), repr(text[:50])


def real_texts(shared: Path) -> Iterator[str]:
    corpus = shared / "corpus"
    for pattern, count in (("general/books/*.md", 3), ("guidelines_txt/*/*", 4), ("jats/**/*.xml", 3), ("general/wikitext2/test.txt", 1),
                           ("general/*.jsonl", 1)):
        paths = sorted(path for path in corpus.glob(pattern) if path.is_file())[:count]
        assert paths
        yield from (path.read_text(encoding="utf-8", errors="replace")[:120_000] for path in paths)


def hostile_texts(count: int) -> Iterator[str]:
    draw = random.Random(7)
    for alphabet in (" \u2581\na", " a\n\tb1.", "  \u2581é温🙂\r\n\x00\u00a0<s>", "[REF]INST \n"):
        yield from ("".join(draw.choices(alphabet, k=draw.randrange(30))) for _ in range(count))


@pytest.mark.parametrize("name", [
    "llama2/tokenizer.model", "mistral/tokenizer.model.v1", "mistral/mistral_instruct_tokenizer_241114.model.v7"])
def test_words_alone_get_the_ids_that_the_whole_text_gives(shared: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = shared / "tokenizers" / name
    assert cut_at_spaces(read_pieces(path))
    ours, theirs = SentencePiece(path), SentencePieceProcessor(model_file=str(path))
    for text in [*real_texts(shared), *hostile_texts(500), *HARD, "", "\n", " ", "\u2581", "wor\u2581d"]:
        assert np.array_equal(ours.encode(text), theirs.encode(text, return_type="numpy")), repr(text[:60])
    monkeypatch.setattr(encoders, "WORDS_KEPT", 100)  # the words are forgotten now and then
    forgetful = SentencePiece(path)
    for text in real_texts(shared):
        assert np.array_equal(forgetful.encode(text), ours.encode(text))
        assert forgetful._words is not None and len(forgetful._words) <= 101


def test_no_cut_where_a_piece_could_lie_across_it(trained: Path, tmp_path: Path) -> None:
    model = read_pieces(trained / "tokenizer.model")
    assert cut_at_spaces(model)
    for piece in (Piece("d\u2581o", 1.0), Piece("s\n", 1.0), Piece("\n\n", 1.0), Piece("\u2581\n", 1.0), Piece("a b", 0.0, USER_DEFINED),
                  Piece("\n", 0.0, USER_DEFINED)):
        assert not cut_at_spaces(replace(model, pieces=(*model.pieces, piece))), piece
    for changed in ({"model_type": 1}, {"byte_fallback": False}, {"dummy_prefix": False}, {"plain": False}):
        assert not cut_at_spaces(replace(model, **changed))
    write_pieces(tmp_path / "tokenizer.model", replace(model, pieces=(*model.pieces, Piece("d\u2581", 1.0), Piece("d\u2581o", 2.0))))
    text = "The dose was halved of two patients"
    crossing, apart = SentencePiece(tmp_path / "tokenizer.model"), SentencePiece(trained / "tokenizer.model")
    assert 421 in crossing.encode(text) and crossing.decode(crossing.encode(text).tolist()) == text
    assert not np.array_equal(crossing.encode(text), apart.encode(text))


def test_white_space_without_end_is_cut_as_tiktoken_would(shared: Path) -> None:
    tokenizer = TikToken(shared / "tokenizers/llama3/tokenizer.model", {})
    for before, run, after in (("x.", " ", "b"), ("\n", "\t", "1"), ("", " \u00a0", ""), ("x", " ", "\n\nb"), ("\x1c", " ", "\x1cb")):
        text = before + run * 270_000 + after
        assert np.array_equal(tokenizer.encode(text), tokenizer._encoding.encode_ordinary(text))
    with pytest.raises(ValueError, match="stack"):
        tokenizer._encode(" " * 1_100_000 + "b")
    assert tokenizer.decode(tokenizer.encode("a" + " " * 1_100_000 + "b").tolist()) == "a" + " " * 1_100_000 + "b"


def test_a_pair_is_cut_as_one_text(trained: Path) -> None:
    tokenizer = load_tokenizer(trained)
    ids, boundary = tokenizer.encode_pair("The dose was halved in patients. Answer:", " B")
    assert ids == [1, *tokenizer.encode("The dose was halved in patients. Answer: B")]
    assert tokenizer.decode(ids[boundary:]) == "B" and tokenizer.decode(ids[:boundary]).endswith("Answer:")


def test_piece_file_survives_a_round_trip(trained: Path, tmp_path: Path) -> None:
    write_pieces(tmp_path / "tokenizer.model", read_pieces(trained / "tokenizer.model"))
    ours, again = load_tokenizer(trained), load_tokenizer(tmp_path)
    assert [again.encode(text) for text in HARD] == [ours.encode(text) for text in HARD]


def test_llama2c_tokenizer_encodes_as_run_c_does(shared: Path, tmp_path: Path) -> None:
    from medloom.model import import_llama2c

    stories = shared / "models/stories260K"
    import_llama2c(stories / "stories260K.bin", stories / "tok512.bin", tmp_path)
    blob, place, scores, index = (stories / "tok512.bin").read_bytes(), 4, [], {}
    while place < len(blob):
        score, length = struct.unpack_from("<fi", blob, place)
        index.setdefault(blob[place + 8 : place + 8 + length].decode(), len(scores))
        scores.append(score)
        place += 8 + length
    tokenizer = load_tokenizer(tmp_path)
    names = list(index)
    for text in ["Once upon a time, Lily's dog ran.", "  spaces\n", "Zoë 温"]:
        pieces = [" "]
        for character in text:
            pieces += [character] if character in index else [names[byte + 3] for byte in character.encode()]
        while True:  # run.c: join the neighbours that score best, the first of equals, until none can be joined
            joins = [(scores[index[a + b]], -i) for i, (a, b) in enumerate(pairwise(pieces)) if a + b in index]
            if not joins:
                break
            i = -max(joins)[1]
            pieces[i : i + 2] = [pieces[i] + pieces[i + 1]]
        assert tokenizer.encode(text) == [index[piece] for piece in pieces]
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_unknown_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no tokenizer"):
        load_tokenizer(tmp_path)
    for name, content in (("tokenizer.json", b"{}"), ("tokenizer.model", b"\x00\x01\x02"), ("tokenizer.model", b"\nbroken")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Refusal, match="not a SentencePiece"):
            load_tokenizer(tmp_path / name)

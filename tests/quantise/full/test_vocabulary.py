"""llama.cpp cuts text with an exported file's tokenizer as ours does, and as its own published vectors say."""

from __future__ import annotations

import ctypes
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from medloom.ledger import Refusal
from medloom.model import MEDITRON_TOKENS, ModelConfig, extend_tokenizer, load_tokenizer, train_tokenizer
from medloom.model.gguf_head import read_head
from medloom.quantise import export_gguf
from medloom.quantise.distance.llama import Decoder

from .test_converter import write_folder

TOKENIZERS = {
    "llama2": ("llama2/tokenizer.model", 32_000, "llama-spm"),
    "llama3": ("llama3/tokenizer.model", 128_256, "llama-bpe"),
    "mistral-v1": ("mistral/tokenizer.model.v1", 32_000, None),
    "mistral-v2": ("mistral/mistral_instruct_tokenizer_240216.model.v2", 32_768, None),
    "mistral-v3": ("mistral/mistral_instruct_tokenizer_240323.model.v3", 32_768, None),
    "mistral-v7": ("mistral/mistral_instruct_tokenizer_241114.model.v7", 32_768, None),
}
HARD = ["dose <5 mg/kg; if age > 3 y", "two  spaces and\nlines\n\n\tand tabs ", "caf\u00e9 \u03b1-blocker \u2265 10 \u00b5g \U0001f48a",
        " x", "a<s>b</s>", "<|begin_of_text|>a<|eot_id|>", "[INST] a [/INST]b", "1234567 1e-5 3.5", "IT'S we'LL", "\u00a0\u2003x\r\n\r\n y"]


def cut(path: Path, texts: Sequence[str]) -> list[list[int]]:
    """The ids that llama.cpp gives for texts, without what opens them."""
    with Decoder(path, context=8) as decoder:
        library = decoder._library
        library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                           ctypes.c_bool, ctypes.c_bool]
        vocabulary, room, found = library.llama_model_get_vocab(decoder._model), (ctypes.c_int32 * 50_000)(), []
        for text in texts:
            raw = text.encode()
            found.append(list(room[: library.llama_tokenize(vocabulary, raw, len(raw), room, 50_000, False, False)]))
        return found


def folder_for(tokenizer: Path, vocabulary: int, folder: Path, begin: int = 1) -> Path:
    """A model folder as small as they come with the given tokenizer file, or those of a folder."""
    if tokenizer.is_dir():
        shutil.copytree(tokenizer, folder)
    else:
        folder.mkdir()
        shutil.copyfile(tokenizer, folder / "tokenizer.model")
    write_folder(folder, ModelConfig(vocabulary, 32, 32, 1, 2, 2, 64, bos_id=begin, eos_id=begin + 1), "bfloat16")
    return folder


def published(shared: Path, name: str) -> tuple[list[str], list[list[int]]]:
    """llama.cpp's test texts and their ids."""
    texts = (shared / "vocab" / f"ggml-vocab-{name}.gguf.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = (shared / "vocab" / f"ggml-vocab-{name}.gguf.out").read_text().splitlines()
    return texts[: len(lines)], [[int(number) for number in line.split()] for line in lines]


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name == "llama3" else name for name in TOKENIZERS])
def test_llama_cpp_cuts_text_as_our_tokenizer_does(shared: Path, tmp_path: Path, name: str) -> None:
    file, size, vectors = TOKENIZERS[name]
    folder = folder_for(shared / "tokenizers" / file, size, tmp_path / "model", 128_000 if name == "llama3" else 1)
    export_gguf(folder, tmp_path / "model.gguf", "F16")
    tokenizer = load_tokenizer(folder)
    guidelines = [path.read_text(errors="replace")[:10_000] for path in sorted((shared / "corpus/guidelines_txt").rglob("*.md"))[:3]]
    texts = [*HARD, *published(shared, "llama-spm")[0], *published(shared, "llama-bpe")[0], *guidelines]
    assert len(texts) > 100
    for text, ids in zip(texts, cut(tmp_path / "model.gguf", texts), strict=True):
        assert ids == tokenizer.encode(text), text
    if vectors is not None:
        cases, expected = published(shared, vectors)
        assert len(cases) >= 46
        assert cut(tmp_path / "model.gguf", cases) == expected


@pytest.mark.parametrize("name", ["llama2", pytest.param("llama3", marks=pytest.mark.slow)])
def test_added_tokens_are_read_out_of_text_where_ours_are(shared: Path, tmp_path: Path, name: str) -> None:
    """Marks are, control tokens are not; whichever of the files beside the tokenizer tells of them."""
    extend_tokenizer(shared / "tokenizers" / name, MEDITRON_TOKENS, tmp_path / "tokenizer")
    size, begin = (32_064, 1) if name == "llama2" else (128_320, 128_000)
    folder = folder_for(tmp_path / "tokenizer", size, tmp_path / "model", begin)
    texts = ["see [bib_ref]Smith 2020[/bib_ref] and [fig] 1 [/fig].", "<EOD> <CLS>", "[table][/table]", "[formula]x\n[/formula]\n y"]
    for dropped in ([], ["added_tokens_decoder"]):
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({key: value for key, value in settings.items() if key not in dropped}))
        export_gguf(folder, tmp_path / "model.gguf", "F16")
        tokenizer = load_tokenizer(folder)
        ids = cut(tmp_path / "model.gguf", texts)
        assert ids == [tokenizer.encode(text) for text in texts]
        first = tokenizer.added["<CLS>"]
        assert first + 5 in ids[0], "a mark is a token"
        assert not any(number >= first for number in ids[1]), "a control token is not"


@pytest.mark.slow
def test_llama_3_in_both_its_forms_is_one_vocabulary(shared: Path, tmp_path: Path) -> None:
    """tokenizer.model of Meta's folders, and tokenizer.json of Hugging Face's."""
    extend_tokenizer(shared / "tokenizers/llama3", [], tmp_path / "tokenizer")
    said: list[dict[str, Any]] = []
    for name, unwanted in (("meta", "tokenizer.json"), ("hugging-face", "tokenizer.model")):
        folder = folder_for(tmp_path / "tokenizer", 128_256, tmp_path / name, 128_000)
        (folder / unwanted).unlink()
        export_gguf(folder, tmp_path / f"{name}.gguf", "F16")
        head = read_head(tmp_path / f"{name}.gguf")
        said.append({key: head.value(key) for key in head.pairs if key.startswith("tokenizer.")})
    assert said[0] == said[1]
    assert (said[0]["tokenizer.ggml.model"], said[0]["tokenizer.ggml.pre"]) == ("gpt2", "llama-bpe")
    assert said[0]["tokenizer.ggml.tokens"][128_009] == "<|eot_id|>"
    assert len(said[0]["tokenizer.ggml.merges"]) == 280_147


def test_a_tokenizer_that_llama_cpp_would_read_otherwise_is_refused(tmp_path: Path, texts: list[str]) -> None:
    import sentencepiece

    source = tmp_path / "text"
    source.write_text("\n".join(texts * 4))
    for name, options, says in (("unigram", {"model_type": "unigram"}, "not a byte-pair model"),
                                ("nfkc", {"normalization_rule_name": "nmt_nfkc"}, "rewrites text")):
        (tmp_path / name).mkdir()
        how = {"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "remove_extra_whitespaces": False}
        sentencepiece.SentencePieceTrainer.train(input=str(source), model_prefix=str(tmp_path / name / "tokenizer"), vocab_size=320,
                                                 hard_vocab_limit=False, minloglevel=2, **how | options)
        folder = folder_for(tmp_path / name / "tokenizer.model", 400, tmp_path / f"{name}-model")
        with pytest.raises(Refusal, match=says):
            export_gguf(folder, tmp_path / "model.gguf")
    train_tokenizer(texts * 4, 330, tmp_path / "json")
    (tmp_path / "json/tokenizer.model").unlink()
    with pytest.raises(Refusal, match=r"put its tokenizer\.model beside it"):
        export_gguf(folder_for(tmp_path / "json", 330, tmp_path / "json-model"), tmp_path / "model.gguf")
    foreign = json.loads((tmp_path / "json/tokenizer.json").read_text())
    foreign["model"]["byte_fallback"] = False
    (tmp_path / "json/tokenizer.json").write_text(json.dumps(foreign))
    with pytest.raises(Refusal, match="cuts text in another way"):
        export_gguf(folder_for(tmp_path / "json", 330, tmp_path / "foreign"), tmp_path / "model.gguf")
    assert not list(tmp_path.glob("*.gguf"))

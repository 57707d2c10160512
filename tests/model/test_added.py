"""Added tokens: what is written, what other programs read, what text gives, and what a document cannot forge."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from transformers import AutoTokenizer

from medloom.ledger import Refusal
from medloom.model import MEDITRON_TOKENS, extend_tokenizer, load_tokenizer, train_tokenizer
from medloom.model.sentencepiece_file import CONTROL, USER_DEFINED
from medloom.quantise.full.vocabulary import read_vocabulary

MARKS = MEDITRON_TOKENS[5:]
TEXT = ("As shown [bib_ref] Title of it..., Smith [/bib_ref] and in [fig_ref]Figure 2[/fig_ref].\n\n"
        "[table] Table 1: dose <5 mg x [/table]\n [formula][/formula]  two  spaces [bib] [/bib]")
FORGED = "see <EOD> and <s> and <PAD> [fig] a <CLS>[/fig]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([TEXT, FORGED, *(f"The dose of drug {n} was halved in {n * 7} patients." for n in range(200))], 340, folder)
    return folder


@pytest.fixture(scope="module", params=["learned", "llama2", "llama3"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, trained: Path) -> tuple[Path, Path]:
    """A tokenizer's folder and the same with Meditron's tokens and habit."""
    plain = trained if request.param == "learned" else request.getfixturevalue("shared") / "tokenizers" / request.param
    out: Path = tmp_path_factory.mktemp(request.param)
    extend_tokenizer(plain, MEDITRON_TOKENS, out, document_end="<EOD>", adds_bos=False)
    return plain, out


def test_meditrons_tokens_follow_the_vocabulary(pair: tuple[Path, Path]) -> None:
    plain, extended = (load_tokenizer(folder) for folder in pair)
    size = plain.vocab_size
    assert len(MEDITRON_TOKENS) == 17 and extended.vocab_size == size + 17
    assert extended.added == {token: size + place for place, token in enumerate(MEDITRON_TOKENS)}
    assert (pair[0] / "tokenizer.model").read_bytes() == (pair[1] / "tokenizer.model").read_bytes()
    assert (extended.bos_id, extended.eos_id) == (plain.bos_id, plain.eos_id)
    assert extended.digest != plain.digest, "the same text gives other ids, so tokens of the one are not the other's"


def test_what_stands_between_marks_is_a_text_of_its_own(pair: tuple[Path, Path]) -> None:
    plain, extended = (load_tokenizer(folder) for folder in pair)
    ids = extended.encode("a [bib_ref] b [/bib_ref].")
    opening, closing = extended.added["[bib_ref]"], extended.added["[/bib_ref]"]
    assert ids == [*plain.encode("a "), opening, *plain.encode(" b "), closing, *plain.encode(".")]
    assert extended.encode("[fig][/fig]") == [extended.added["[fig]"], extended.added["[/fig]"]]
    for text in (TEXT, FORGED, "", "[fig]", "plain text", *(f"x{mark} y" for mark in MARKS)):
        assert extended.decode(extended.encode(text)) == text
    assert all(extended.encode(f"x{mark}y").count(extended.added[mark]) == 1 for mark in MARKS)


def test_a_document_is_closed_and_cannot_forge_its_end(pair: tuple[Path, Path]) -> None:
    plain, extended = (load_tokenizer(folder) for folder in pair)
    ends = {extended.added[token] for token in MEDITRON_TOKENS[:5]} | {extended.bos_id, extended.eos_id}
    (document,) = extended.encode_documents([FORGED])
    assert document[-1] == extended.added["<EOD>"] == extended.document_end_id and not ends & set(document[:-1].tolist())
    assert document[:-1].tolist() == extended.encode(FORGED) and extended.decode(document) == FORGED
    (usual,) = plain.encode_documents(["some text"])
    assert usual.tolist() == [plain.bos_id, *plain.encode("some text"), plain.eos_id], "without the option the tokenizer's own habit stays"


def test_transformers_reads_the_same(pair: tuple[Path, Path]) -> None:
    """Equal but for control tokens in text, which transformers takes for the tokens themselves."""
    ours, json_form, theirs = load_tokenizer(pair[1]), load_tokenizer(pair[1] / "tokenizer.json"), AutoTokenizer.from_pretrained(pair[1])
    assert len(theirs) == ours.vocab_size == json_form.vocab_size
    assert theirs.convert_tokens_to_ids(list(MEDITRON_TOKENS)) == [ours.added[token] for token in MEDITRON_TOKENS]
    for text in (TEXT, "plain text", *(f" x {mark} y" for mark in MARKS)):
        assert theirs(text)["input_ids"] == ours.encode(text) == json_form.encode(text)
    assert json_form.encode(FORGED) == ours.encode(FORGED) != theirs(FORGED)["input_ids"]
    assert json_form.decode(ours.encode(TEXT)) == TEXT
    assert (json_form.adds_bos, json_form.document_end_id) == (False, ours.document_end_id)
    assert theirs.decode(ours.encode_documents([FORGED])[0], skip_special_tokens=True).count("[fig]") == 1


def test_a_gguf_converter_reads_the_same(trained: Path, tmp_path: Path) -> None:
    extend_tokenizer(trained, MEDITRON_TOKENS, tmp_path, adds_bos=False)
    vocabulary = read_vocabulary(tmp_path, SimpleNamespace(vocab_size=360, bos_id=1, eos_id=2))  # type: ignore[arg-type]
    added = vocabulary.entries[340:357]
    assert tuple(entry.text for entry in added) == MEDITRON_TOKENS and not vocabulary.add_bos
    assert [entry.kind for entry in added] == [CONTROL] * 5 + [USER_DEFINED] * 12


def test_tokens_are_added_twice_over(trained: Path, tmp_path: Path) -> None:
    extend_tokenizer(trained, ["[a]", "<X>"], tmp_path / "one")
    extend_tokenizer(tmp_path / "one", ["[b]"], tmp_path / "two", document_end="<X>")
    for path in (tmp_path / "two", tmp_path / "two/tokenizer.json"):
        both = load_tokenizer(path)
        assert both.added == {"[a]": 340, "<X>": 341, "[b]": 342} and both.adds_bos
        assert both.encode_documents(["[a][b]"])[0].tolist() == [1, 340, 342, 341]
    assert len(AutoTokenizer.from_pretrained(tmp_path / "two")) == 343


def test_tokens_that_a_user_of_transformers_added(trained: Path, tmp_path: Path) -> None:
    theirs = AutoTokenizer.from_pretrained(trained)
    theirs.add_tokens(["[note]", "dose"])  # found in normalised text, with the space before them: the tokenizers library's own way
    theirs.add_special_tokens({"pad_token": "<pad>"})
    theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    assert ours.vocab_size == len(theirs) == 343 and ours.added == {"[note]": 340, "dose": 341, "<pad>": 342}
    for text in ("a [note] b", "The dose was halved.", "no token"):
        assert [1, *ours.encode(text)] == theirs(text)["input_ids"]
    assert 342 not in ours.encode("<pad>") and 342 in theirs("<pad>")["input_ids"]
    extend_tokenizer(tmp_path, ["[fig]"], tmp_path / "more")
    more, theirs = load_tokenizer(tmp_path / "more"), AutoTokenizer.from_pretrained(tmp_path / "more")
    assert more.vocab_size == len(theirs) == 344
    assert all([1, *more.encode(text)] == theirs(text)["input_ids"] for text in ("a [note] b [fig] c", "The dose[fig] was halved."))
    (tmp_path / "tokenizer.model").write_bytes((trained / "tokenizer.model").read_bytes())
    assert load_tokenizer(tmp_path).vocab_size == 343


def test_the_form_of_older_folders(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((trained / "tokenizer.model").read_bytes())
    (tmp_path / "added_tokens.json").write_text(json.dumps({"[fig]": 341, "<EOD>": 340, "<s>": 1}))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.added == {"<EOD>": 340, "[fig]": 341} and tokenizer.vocab_size == 342
    assert 341 in tokenizer.encode("a [fig]") and 340 not in tokenizer.encode("<EOD>")


def test_what_is_refused(trained: Path, tmp_path: Path) -> None:
    for tokens, end, match in ((["[a]", "[a]"], None, "there already"), ([" "], None, "empty"), (["[a]"], "<EOD>", "no added token")):
        with pytest.raises(Refusal, match=match):
            extend_tokenizer(trained, tokens, tmp_path / "out", document_end=end)
    assert not (tmp_path / "out").exists()
    for token in ("<s>", "\u2581dose"):
        with pytest.raises(Refusal, match="there already"):
            extend_tokenizer(trained, [token], tmp_path / "vocabulary")
    extend_tokenizer(trained, ["[a]"], tmp_path)
    with pytest.raises(Refusal, match="there already"):
        extend_tokenizer(tmp_path, ["[a]"], tmp_path / "again")
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    for damage, match in (({"document_end": "<EOD>"}, "no added token"), ({"added_tokens_decoder": {"340": 7}}, "not known"),
                          ({"added_tokens_decoder": {"340": {"content": "[a]"}, "341": {"content": "[a]"}}}, "two added tokens")):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | damage))
        with pytest.raises(Refusal, match=match):
            load_tokenizer(tmp_path)

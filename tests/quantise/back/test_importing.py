"""A GGUF file comes back as the folder that it was made of, and as what llama.cpp and transformers take it for."""

from __future__ import annotations

import base64
import ctypes
import json
import shutil
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors import safe_open

from medloom.ledger import Refusal
from medloom.model import extend_tokenizer, load_template, load_tokenizer, new_model, save_weights, train_tokenizer, verify_weights
from medloom.model.encoders import LLAMA3_CONTROL, LLAMA3_PATTERN
from medloom.quantise import export_gguf, import_gguf, quantise
from medloom.quantise.back import importing
from medloom.quantise.coarse.ggml import quantise_rows
from medloom.quantise.distance.llama import Decoder
from medloom.recipe import Shape

from ..conftest import held

HARD = ["dose <5 mg/kg; if age > 3 y", "two  spaces and\nlines\n\n\tand tabs ", "caf\u00e9 \u03b1-blocker \u2265 10 \u00b5g \U0001f48a",
        " x", "  x", "a<s>b", "0123456789", "", " ", "\n", "it's I'LL don't", "\u2581x \u00a0y", "a [bib]b[/bib] c"]
KINDS = ("F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS", "IQ3_S",
         "IQ3_XXS", "IQ2_S", "TQ1_0", "TQ2_0")


def llama_cpp_ids(path: Path, texts: list[str]) -> list[list[int]]:
    """What llama.cpp cuts each text into, opened by the beginning token where the file says so; control tokens are not read out of text."""
    with Decoder(path, context=8) as decoder:
        library, room = decoder._library, (ctypes.c_int32 * 1000)()
        library.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_int32), ctypes.c_int32,
                                           ctypes.c_bool, ctypes.c_bool]
        vocabulary = library.llama_model_get_vocab(decoder._model)
        raws = [text.encode() for text in texts]
        return [list(room[: library.llama_tokenize(vocabulary, raw, len(raw), room, 1000, True, False)]) for raw in raws]


def retyped(source: Path, out: Path, kind: str | None, **changes: Any) -> None:
    """The file with the first layer's matrices in another ggml type, and other metadata."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(out, changes.pop("architecture", "llama"))
    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name != "general.architecture" and field.name not in changes:
            array = field.types[0] == gguf.GGUFValueType.ARRAY
            writer.add_key_value(field.name, field.contents(), field.types[0], field.types[-1] if array else None)
    for key, value in changes.items():
        add = {str: writer.add_string, int: writer.add_uint32, float: writer.add_float32, list: writer.add_array, bool: writer.add_bool}
        add[type(value)](key, value)
    for tensor in reader.tensors:
        if tensor.data.ndim == 1 or kind is None or not tensor.name.startswith("blk.0."):
            writer.add_tensor(tensor.name, tensor.data)
            continue
        type_ = gguf.GGMLQuantizationType[kind]
        if kind in ("F16", "BF16", "TQ1_0", "TQ2_0"):
            data = gguf.quants.quantize(np.ascontiguousarray(tensor.data), type_)
        else:
            data = quantise_rows(np.ascontiguousarray(tensor.data), type_)
        writer.add_tensor(tensor.name, data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def random_f32(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("full") / "f32.gguf"
    export_gguf(random_model, path, "F32")
    return path


def test_a_trained_model_comes_back_bit_for_bit(stories: Path, tmp_path: Path) -> None:
    export_gguf(stories, tmp_path / "model.gguf", "F32")
    made = import_gguf(tmp_path / "model.gguf", tmp_path / "back", "float32")
    found = verify_weights(stories, tmp_path / "back")
    assert found.same
    assert all(each.max_abs == 0 for each in found.tensors)
    for name in ("config.json", "tokenizer.model", "tokenizer.json", "generation_config.json"):
        assert (tmp_path / "back" / name).read_text("latin-1") == (stories / name).read_text("latin-1"), name
    assert (made["type"], made["parameters"], made["tensors"]) == ("F32", 260_032, {"F32": 47})
    note = json.loads((tmp_path / "back" / "made-from.json").read_text())
    assert (tmp_path / "model.gguf.sha256").read_text().split()[0] == note["sha256"]


def test_padding_added_tokens_and_the_chat_template_come_back(tmp_path: Path, texts: list[str]) -> None:
    train_tokenizer([text for text in texts for _ in range(4)], 330, tmp_path / "plain")
    extend_tokenizer(tmp_path / "plain", ["<EOD>", "[bib]", "[/bib]"], tmp_path / "tokenizer")
    model, back = tmp_path / "model", tmp_path / "back"
    shape = Shape(hidden=64, feed_forward=128, layers=2, heads=4, kv_heads=2, context=64, vocabulary=352)
    new_model(shape, tmp_path / "tokenizer", 1, model)
    load_template("plain", model).write(model)
    export_gguf(model, tmp_path / "model.gguf", "F32")
    import_gguf(tmp_path / "model.gguf", back, "float32")
    assert verify_weights(model, back).same
    assert load_tokenizer(back).vocab_size == 333  # 352 rows, of which 19 belong to no token
    assert load_template("tokenizer", back).source == load_template("plain", model).source
    from transformers import AutoTokenizer

    one, other = (AutoTokenizer.from_pretrained(folder) for folder in (model, back))
    for text in [*HARD, *texts, "a<EOD>b"]:
        assert load_tokenizer(back).encode(text) == load_tokenizer(model).encode(text), text
        assert other(text)["input_ids"] == one(text)["input_ids"], text
    turn = [{"role": "user", "content": "Which?"}]
    assert other.apply_chat_template(turn, tokenize=False) == one.apply_chat_template(turn, tokenize=False)


def test_llama_3s_rope_scaling_comes_back(random_model: Path, tmp_path: Path) -> None:
    for number, (factor, length) in enumerate(((8.0, 16), (32.0, 32))):
        folder = tmp_path / str(number)
        shutil.copytree(random_model, folder)
        config = json.loads((folder / "config.json").read_text())
        scaling = {"rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                   "original_max_position_embeddings": length}
        config["rope_scaling"], config["rope_parameters"] = scaling, {"rope_theta": 10_000.0, **scaling}
        (folder / "config.json").write_text(json.dumps(config))
        export_gguf(folder, tmp_path / f"{number}.gguf", "F32")
        import_gguf(tmp_path / f"{number}.gguf", tmp_path / f"back{number}", "float32")
        written = json.loads((tmp_path / f"back{number}" / "config.json").read_text())
        assert written["rope_scaling"] == scaling
        assert written["rope_parameters"] == {"rope_theta": 10_000.0, **scaling}
    # Bounds that no Llama 3 has are not guessed at.
    scaling["high_freq_factor"] = 3.0
    config["rope_scaling"], config["rope_parameters"] = scaling, {"rope_theta": 10_000.0, **scaling}
    (folder / "config.json").write_text(json.dumps(config))
    export_gguf(folder, tmp_path / "odd.gguf", "F32")
    with pytest.raises(Refusal, match=r"rope_freqs\.weight is not Llama 3's"):
        import_gguf(tmp_path / "odd.gguf", tmp_path / "odd", "float32")


@pytest.mark.parametrize("kind", KINDS)
def test_every_type_is_the_model_that_llama_cpp_reads(
        kind: str, random_model: Path, random_f32: Path, tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "model.gguf"
    retyped(random_f32, path, kind)
    import_gguf(path, tmp_path / "back", "float32")
    near, far = (held(folder, path, texts, 64)["kl"] for folder in (tmp_path / "back", random_model))
    assert near < max(far / 2, 2e-6)  # llama.cpp rounds activations, too; the rest of the way to the original is the weights' doing


def test_a_quantised_trained_model_is_what_transformers_makes_of_it(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    """transformers dequantises GGUF files by itself, and puts rows back by its own rule."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    export_gguf(stories, tmp_path / "f16.gguf", "F16")
    quantise(tmp_path / "f16.gguf", tmp_path / "q4.gguf", "Q4_K_M")
    made = import_gguf(tmp_path / "q4.gguf", tmp_path / "back", "float32")
    assert made["type"] == "Q4_K_M"
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="q4.gguf", dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "back", dtype=torch.float32)
    state = ours.state_dict()
    assert state.keys() == theirs.state_dict().keys()
    assert all(torch.equal(state[name], weight) for name, weight in theirs.state_dict().items())
    ids = AutoTokenizer.from_pretrained(tmp_path / "back")(texts[0], return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)
    near, far = (held(folder, tmp_path / "q4.gguf", texts, 200)["kl"] for folder in (tmp_path / "back", stories))
    assert near < far / 10


def test_text_is_cut_as_llama_cpp_cuts_it(stories: Path, random_f32: Path, tmp_path: Path, texts: list[str]) -> None:
    export_gguf(stories, tmp_path / "stories.gguf", "F16")
    for path in (tmp_path / "stories.gguf", random_f32):
        import_gguf(path, tmp_path / path.stem)
        tokenizer = load_tokenizer(tmp_path / path.stem)
        for text, ids in zip([*HARD, *texts], llama_cpp_ids(path, [*HARD, *texts]), strict=True):
            assert tokenizer.encode(text, bos=tokenizer.adds_bos) == ids, text


def test_a_byte_level_tokenizer_comes_back(stories: Path, tmp_path: Path, texts: list[str]) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoTokenizer

    library = Tokenizer(models.BPE(ignore_merges=True))
    library.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3_PATTERN), "isolated"),
                                                     pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    library.decoder = decoders.ByteLevel()
    library.train_from_iterator([*texts, *HARD], trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    count = library.get_vocab_size()
    control = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    library.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in control])
    library.add_tokens([AddedToken("[bib]", normalized=False)])
    content = json.loads(library.to_str())
    tokens = [library.id_to_token(number) for number in range(count + 4)] + [f"[PAD{number}]" for number in range(count + 4, 512)]
    path = tmp_path / "bytes.gguf"
    export_gguf(stories, tmp_path / "stories.gguf", "F32")
    retyped(tmp_path / "stories.gguf", path, None, **{
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [1] * count + [3, 3, 3, 4] + [5] * (508 - count), "tokenizer.ggml.scores": [0.0] * 512,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in content["model"]["merges"]],
        "tokenizer.ggml.bos_token_id": count, "tokenizer.ggml.eos_token_id": count + 1, "tokenizer.ggml.eot_token_id": count + 2})
    import_gguf(path, tmp_path / "back")
    ours, theirs = load_tokenizer(tmp_path / "back"), AutoTokenizer.from_pretrained(tmp_path / "back")
    assert (ours.vocab_size, ours.bos_id, ours.eos_id, ours.adds_bos) == (count + 4, count, count + 1, True)
    library.encode_special_tokens = True
    for text, ids in zip([*HARD, *texts], llama_cpp_ids(path, [*HARD, *texts]), strict=True):
        assert ours.encode(text, bos=True) == ids == [count, *library.encode(text).ids], text
        assert theirs(text)["input_ids"] == ids, text
        assert ours.decode(ids) == text
    assert theirs.encode("a<|eot_id|>", add_special_tokens=False)[-1] == count + 2
    assert json.loads((tmp_path / "back" / "generation_config.json").read_text())["eos_token_id"] == [count + 1, count + 2]


def test_llama_2s_real_vocabulary_comes_back(shared: Path, tmp_path: Path) -> None:
    """llama.cpp's own vocabulary file, its 47 published texts and their ids, and Meta's tokenizer.model."""
    from medloom.model.gguf_file import open_gguf
    from medloom.model.sentencepiece_file import read_pieces
    from medloom.quantise.back.tokenizer import write_tokenizer

    source = shared / "vocab" / "ggml-vocab-llama-spm.gguf"
    write_tokenizer(open_gguf(source), tmp_path)
    assert read_pieces(tmp_path / "tokenizer.model") == read_pieces(shared / "tokenizers" / "llama2" / "tokenizer.model")
    texts = source.with_name(f"{source.name}.inp").read_text().split("\n__ggml_vocab_test__\n")
    ids = [[int(word) for word in line.split()] for line in source.with_name(f"{source.name}.out").read_text().splitlines()]
    tokenizer = load_tokenizer(tmp_path)
    assert [tokenizer.encode(text) for text in texts[:len(ids)]] == ids
    assert len(ids) > 40


@pytest.mark.slow
def test_llama_3s_real_vocabulary_comes_back(shared: Path, tmp_path: Path) -> None:
    """Meta's tokens by rank, merges made of them, and llama.cpp's published texts and ids."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    from medloom.model.gguf_file import open_gguf
    from medloom.quantise.back.tokenizer import write_tokenizer

    lines = (shared / "tokenizers" / "llama3" / "tokenizer.model").read_bytes().splitlines()
    tokens = [base64.b64decode(line.split()[0]) for line in lines if line]
    letter, rank = bytes_to_unicode(), {token: number for number, token in enumerate(tokens)}
    texts = ["".join(letter[byte] for byte in token) for token in tokens]
    merges = [f"{texts[left]} {texts[right]}" for token in tokens for left, right in sorted(
        (rank[token[:cut]], rank[token[cut:]]) for cut in range(1, len(token)) if token[:cut] in rank and token[cut:] in rank)]
    path = tmp_path / "llama3.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list([*texts, *LLAMA3_CONTROL])
    writer.add_token_types([1] * len(texts) + [3] * len(LLAMA3_CONTROL))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(128_000)
    writer.add_eos_token_id(128_001)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    write_tokenizer(open_gguf(path), tmp_path)
    cases = (shared / "vocab" / "ggml-vocab-llama-bpe.gguf.inp").read_text().split("\n__ggml_vocab_test__\n")
    ids = [[int(word) for word in line.split()]
           for line in (shared / "vocab" / "ggml-vocab-llama-bpe.gguf.out").read_text().splitlines()]
    tokenizer = load_tokenizer(tmp_path)
    assert len(ids) > 40
    assert [tokenizer.encode(text) for text in cases[:len(ids)]] == ids
    assert (tokenizer.vocab_size, tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos) == (128_256, 128_000, 128_001, True)


def test_many_shards_are_the_same_weights(random_f32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_gguf(random_f32, tmp_path / "one", "bfloat16")

    def small(*given: Any, **more: Any) -> None:
        save_weights(*given, **more, shard_bytes=300_000)

    monkeypatch.setattr(importing, "save_weights", small)
    monkeypatch.setattr(importing, "_BLOCK", 1000)
    import_gguf(random_f32, tmp_path / "many", "bfloat16")
    shards = sorted((tmp_path / "many").glob("model-*.safetensors"))
    assert len(shards) > 10
    with safe_open(tmp_path / "one" / "model.safetensors", "pt") as one:
        names = set(one.keys())
        for path in shards:
            with safe_open(path, "pt") as shard:
                for name in shard.keys():  # noqa: SIM118  a safetensors handle is no mapping
                    assert torch.equal(shard.get_tensor(name), one.get_tensor(name)), name
                    names.remove(name)
    assert not names


def test_what_has_no_equal_form_is_refused(random_f32: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "model.gguf", tmp_path / "out"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"architecture": "qwen2"}, "architecture qwen2"),
        ({"llama.expert_count": 8}, "8 experts"),
        ({"split.count": 3}, "one of 3 parts"),
        ({"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 4.0}, "rope scaling 'yarn'"),
        ({"llama.rope.dimension_count": 32}, "not of one size"),
        ({"llama.block_count": 10}, "9 tensors are missing, first blk.9"),
        ({"llama.block_count": 8}, "9 tensors have no place in a Llama, first blk.8"),
        ({"llama.feed_forward_length": 256}, "another shape"),
        ({"tokenizer.ggml.model": "t5"}, "its tokenizer is 't5'"),
        ({"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2"}, "by the rule 'qwen2'"),
        ({"tokenizer.ggml.bos_token_id": 7}, "special tokens"),
        ({"tokenizer.ggml.scores": [0.0]}, "no whole vocabulary"),
    ]
    for changes, says in cases:
        retyped(random_f32, path, None, **changes)
        with pytest.raises(Refusal, match=says):
            import_gguf(path, out)
        assert sorted(place.name for place in tmp_path.iterdir()) == ["model.gguf"], "something was left behind"
    with pytest.raises(Refusal, match="dtype int8"):
        import_gguf(random_f32, out, "int8")
    with pytest.raises(Refusal, match="is not empty"):
        import_gguf(random_f32, tmp_path)
    content = bytearray(random_f32.read_bytes())
    place = int(next(tensor.data_offset for tensor in gguf.GGUFReader(random_f32).tensors if tensor.name == "blk.3.attn_q.weight"))
    content[place : place + 4] = np.float32(1e6).tobytes()
    path.write_bytes(content)
    with pytest.raises(Refusal, match=r"attn_q\.weight holds numbers .* float16 cannot hold"):
        import_gguf(path, out, "float16")
    assert not out.exists()
    import_gguf(path, out, "bfloat16")


def test_linear_scaling_and_a_context_of_its_own(random_f32: Path, tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "model.gguf"
    retyped(random_f32, path, None, **{"llama.rope.scaling.type": "linear", "llama.rope.scaling.factor": 4.0, "llama.rope.freq_base": 5e5})
    import_gguf(path, tmp_path / "back", "float32")
    assert json.loads((tmp_path / "back" / "config.json").read_text())["rope_parameters"] == {
        "rope_theta": 500_000.0, "rope_type": "linear", "factor": 4.0}
    assert held(tmp_path / "back", path, texts, 64)["kl"] < 1e-8

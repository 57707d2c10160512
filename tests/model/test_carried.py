"""What lies beside the weights goes with them: tokenizer, templates, generation settings, licence."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast

from medloom.model import Llama, ModelConfig, load_tokenizer, save_model

TEMPLATE = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
MESSAGES = [{"role": "user", "content": "dose <5 mg/kg?"}]


def test_a_folder_in_qwens_form(tmp_path: Path) -> None:
    """A byte-level tokenizer without a beginning token, whose template and stop tokens transformers finds again."""
    a, b = tmp_path / "a", tmp_path / "b"
    library = Tokenizer(models.BPE())
    library.pre_tokenizer, library.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    library.train_from_iterator(["the dose is given by mouth"] * 3, trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=marks))
    theirs = PreTrainedTokenizerFast(tokenizer_object=library, eos_token="<|im_end|>", pad_token="<|endoftext|>",
                                     chat_template=[{"name": "default", "template": TEMPLATE}, {"name": "short", "template": "short"}])
    theirs.save_pretrained(a)
    library.model.save(str(a))
    GenerationConfig(eos_token_id=[2, 0], pad_token_id=0, temperature=0.7, do_sample=True).save_pretrained(a)
    (a / "LICENSE").write_text("terms")
    (a / "config.json").write_text(json.dumps({"eos_token_id": [2, 0], "pad_token_id": 0}))
    model = Llama(ModelConfig(library.get_vocab_size(), 16, 24, 1, 2, 1, 64, family="qwen2", bos_id=None, eos_id=2))
    model.initialise(1)
    save_model(model, b, like=a)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "chat_template.jinja",
                 "additional_chat_templates/short.jinja", "LICENSE"):
        assert (b / name).read_bytes() == (a / name).read_bytes(), name
    back = AutoTokenizer.from_pretrained(b)
    assert back.apply_chat_template(MESSAGES, tokenize=False) == theirs.apply_chat_template(MESSAGES, tokenize=False)
    assert back.apply_chat_template(MESSAGES, tokenize=False, chat_template="short") == "short"
    generation = GenerationConfig.from_pretrained(b)
    assert (generation.eos_token_id, generation.pad_token_id, generation.temperature) == ([2, 0], 0, 0.7)
    assert json.loads((b / "config.json").read_text())["eos_token_id"] == [2, 0]
    ours = load_tokenizer(b)
    assert ours.digest == load_tokenizer(a).digest and ours.bos_id is None and ours.eos_id == 2
    assert ours.encode("the dose") == back("the dose")["input_ids"]

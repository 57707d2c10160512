"""The two stages: continued pretraining on a tokenised corpus, and finetuning on examples. Both hand their rows to one loop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..ledger import Progress, Refusal
from ..ledger.files import sha256_json
from ..model import Llama, carry_tokenizer, load_model, load_tokenizer, save_model
from ..passport import EMPTY, FILE, join_sketches, read_sketch, sketch_of
from ..recipe import Finetuning, Lora, Training
from .adapters import adapt, merge_adapter, save_adapter
from .data import Rows, StreamRows, WholeRows, in_epochs, interleaved, open_corpus
from .examples import read_examples, tokenise
from .loop import train
from .report import draw_loss, write_metrics


def pretrain(settings: Training, *, model: Path, tokens: Path, out: Path, state: Path, seed: int, progress: Progress) -> dict[str, Any]:
    """Continue the pretraining of a model folder on a tokenised corpus (train.bin, train.idx, order.npy) and write the new one.

    The order of the corpus decides what is read and how long: `settings.epochs` and `settings.tokens` have shaped it already, and `seed`
    too. out: a model folder (bfloat16) with metrics.jsonl and loss.png. Figures: steps, tokens, first_loss, last_loss and the like.
    Raises Refusal where model, tokenizer and tokens do not belong together, or there is too little text.
    """
    rows = _corpus(tokens, model, settings.length)
    figures = _run("continued pretraining", settings, rows, model, out, state, seed, progress)
    _carry_passport(model, tokens, (), out)
    return figures


def finetune(settings: Finetuning, *, model: Path, examples: Path, replay: Path | None, out: Path, state: Path, seed: int,
             progress: Progress) -> dict[str, Any]:
    """Finetune a model folder on examples (JSON lines: id, and prompt and completion or messages), of which only the answers are learned.

    They are written by `settings.template`, which the new folder then carries, and packed whole into rows, each epoch in a new hash
    order. `settings.replay` of all rows are corpus text, every token of which is learned: as the loss is per token, its weight in the
    gradient (`replay_learned_share`) is above its share of the rows.
    With `settings.lora` the network below is frozen, and the adapter is written too, or alone. out, figures and errors as in `pretrain`.
    """
    said = read_examples(examples)
    identifiers = [example.id for example in said]
    store, template = tokenise(said, model, settings.template)
    count = len(store)
    order = in_epochs(identifiers, round(count * settings.epochs), seed)
    whole = WholeRows(store, order, settings.length)
    rows: Rows = whole
    if settings.replay:
        if replay is None:
            raise Refusal(f"replay = {settings.replay} asks for corpus text and there is none; add a [corpus] or set replay = 0")
        rows = interleaved(whole, _corpus(replay, model, settings.length), settings.replay, seed)
    figures = _run("finetuning", settings, rows, model, out, state, seed, progress, settings.lora,
                   examples=sha256_json(identifiers))
    if template is not None:
        template.write(out)
    _carry_passport(model, replay if settings.replay else None, [example.text for example in said], out)
    assert store.mask is not None
    answers = int(np.add.reduceat(store.mask, store.offsets[:-1], dtype=np.int64)[order].sum())
    return figures | {"examples": count, "truncated": whole.truncated, "replay_rows": len(rows) - len(whole),
                      "replay_learned_share": 1 - answers / figures["learned_tokens"]}


def _run(name: str, settings: Training, rows: Rows, model: Path, out: Path, state: Path, seed: int, progress: Progress,
         lora: Lora | None = None, **identity: Any) -> dict[str, Any]:
    network = load_model(model)
    if lora is not None:
        adapt(network, lora, seed)
    what = {**settings.model_dump(mode="json", exclude={"checkpoint_seconds", "device"}), "seed": seed, "rows": len(rows), **identity}
    trained = train(network, rows, settings, name=name, state=state, identity=what, progress=progress)
    _save(trained.model, out, model, lora)
    write_metrics(trained.metrics, out)
    draw_loss(trained.metrics, out, name[0].upper() + name[1:])
    return trained.figures


def _save(network: Llama, out: Path, model: Path, lora: Lora | None) -> None:
    """The trained network as a model folder; where it has an adapter, that one too, or alone with the tokenizer."""
    if lora is not None:
        save_adapter(network, out / "adapter" if lora.merge else out, model.name)
        if not lora.merge:
            carry_tokenizer(model, out)
            return
        merge_adapter(network)
    save_model(network, out, like=model)


def _carry_passport(model: Path, tokens: Path | None, texts: Sequence[str], out: Path) -> None:
    """Write beside the weights the passport of all that they have read: the model's that they came from, that of the tokens, `texts`.

    What a base model without a passport has read is not known, and is no part of it. Tokens that have none leave the new model
    without one: it would say too little.
    """
    if tokens is not None and not (tokens / FILE).is_file():
        return
    sketches = [read_sketch(folder) for folder in (model, tokens) if folder is not None and (folder / FILE).is_file()]
    join_sketches([*sketches, sketch_of(texts, sketches[0] if sketches else EMPTY)], out / FILE)


def _corpus(folder: Path, model: Path, length: int) -> StreamRows:
    """A tokenised corpus, once it is known that this model's tokenizer made it."""
    note = folder / "mixture.json"
    made_by = json.loads(note.read_text(encoding="utf-8")).get("tokenizer") if note.is_file() else None
    tokenizer = load_tokenizer(model)
    if made_by is not None and made_by != tokenizer.digest:
        raise Refusal(f"{folder}: tokenised with another tokenizer ({str(made_by)[:12]}) than the model's ({tokenizer.digest[:12]}); "
                      "tokenise the corpus with this model")
    return open_corpus(folder, length)

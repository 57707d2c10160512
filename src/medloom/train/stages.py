"""The two stages: continued pretraining on a tokenised corpus, and finetuning on examples. Both hand their rows to one loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ledger import Progress, Refusal
from ..ledger.files import sha256_json
from ..model import Llama, ModelConfig, carry_tokenizer, flops_per_token, load_tokenizer, load_weights, save_model
from ..passport import EMPTY, FILE, join_sketches, read_sketch, sketch_of
from ..recipe import Finetuning, Layout, Lora, Training
from .adapters import adapt, initialise_adapters, merge_adapter, save_adapter
from .check import ROWS, check_fit
from .data import Rows, StreamRows, WholeRows, in_epochs, interleaved, open_corpus
from .device import choose_device, choose_precision
from .engine import Engine
from .examples import read_examples, tokenise
from .float8 import check_float8
from .heldout import measure, open_heldout
from .loader import load
from .loop import train
from .mesh import joined
from .report import draw_curves, write_metrics
from .start import check_start
from .watch import Watching, watch

ALONE = Layout()
NOT_THE_RUN = {"checkpoint_seconds", "keep_last", "keep_every", "device", "loggers"}  # what changes nothing in what is learned


def pretrain(settings: Training, *, model: Path, tokens: Path, out: Path, state: Path, seed: int, progress: Progress,
             layout: Layout = ALONE, watching: Watching | None = None) -> dict[str, Any]:
    """Continue the pretraining of a model folder on a tokenised corpus (train.bin, train.idx, order.npy) and write the new one.

    The order of the corpus decides what is read and how long: `settings.epochs` and `settings.tokens` have shaped it already, and `seed`
    too. Where the corpus has a tokenizer of its own, which has more tokens than the model's, the network grows by them and the new folder
    has that tokenizer. out: a model folder (bfloat16) with metrics.jsonl and curves.png. Figures: steps, tokens, first_loss, last_loss and
    the like. watching: where loggers keep the run. Under torchrun every rank of `layout` calls it. Raises Refusal where model, tokenizer
    and tokens do not belong together, the layout does not fit, or there is too little text.
    """
    grown = tokens / "tokenizer"
    tokenizer = grown if grown.is_dir() else model
    vocabulary = load_tokenizer(grown).vocab_size if grown.is_dir() else ModelConfig.from_folder(model).vocab_size
    rows = _corpus(tokens, tokenizer, vocabulary, settings)
    return _run("continued pretraining", settings, rows, model, out, state, seed, progress, layout, watching, tokens,
                also=lambda: _carry_passport(model, tokens, (), out), tokenizer=tokenizer)


def finetune(settings: Finetuning, *, model: Path, examples: Path, replay: Path | None, out: Path, state: Path, seed: int,
             progress: Progress, layout: Layout = ALONE, watching: Watching | None = None) -> dict[str, Any]:
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
    whole = WholeRows(store, order, settings.length, settings.documents)
    rows: Rows = whole
    if settings.replay:
        if replay is None:
            raise Refusal(f"replay = {settings.replay} asks for corpus text and there is none; add a [corpus] or set replay = 0")
        rows = interleaved(whole, _corpus(replay, model, ModelConfig.from_folder(model).vocab_size, settings), settings.replay, seed)

    def also() -> None:
        if template is not None:
            template.write(out)
        _carry_passport(model, replay if settings.replay else None, [example.text for example in said], out)

    figures = _run("finetuning", settings, rows, model, out, state, seed, progress, layout, watching, replay, also=also, tokenizer=model,
                   lora=settings.lora, examples=sha256_json(identifiers))
    assert store.mask is not None
    answers = int(np.add.reduceat(store.mask, store.offsets[:-1], dtype=np.int64)[order].sum())
    return figures | {"examples": count, "truncated": whole.truncated, "replay_rows": len(rows) - len(whole),
                      "replay_learned_share": 1 - answers / figures["learned_tokens"]}


def _run(name: str, settings: Training, rows: Rows, model: Path, out: Path, state: Path, seed: int, progress: Progress, layout: Layout,
         watching: Watching | None, tokens: Path | None, *, also: Callable[[], None], tokenizer: Path, lora: Lora | None = None,
         **identity: Any) -> dict[str, Any]:
    """Train, and write the model folder; the first rank then does `also`."""
    check_fit(ModelConfig.from_folder(model), settings, layout)
    if len(rows) < settings.batch:
        raise Refusal(f"{len(rows)} rows of {settings.length} tokens are fewer than one batch of {settings.batch}; "
                      "give more text, or make batch or length smaller")
    what = {**settings.model_dump(mode="json", exclude=NOT_THE_RUN), "seed": seed, "rows": len(rows), **identity}
    config, vocabulary, fill = _network(model, tokenizer, seed)
    with joined(layout, choose_device(settings.device)) as ranks:
        if settings.precision == "float8":
            check_float8(ranks.device, layout)
        engine = Engine.build(config, settings, ranks, choose_precision(settings.precision, ranks.device), vocabulary=vocabulary,
                              adapt=None if lora is None else lambda network: adapt(network, lora, seed))
        engine.materialise()
        for network in engine.networks:
            fill(network)
            initialise_adapters(network, seed)
        first = load(rows, 0, size=settings.batch, vocab_size=vocabulary, rank=ranks.data, ranks=layout.data, device=ranks.device)
        loss, base_loss = check_start(engine, first, model, fill)
        if ranks.first:
            progress.say(f"{name}: the first row's loss is {loss:.3f} in this layout and {base_loss:.3f} by the weights of the folder")
        watched = partial(watch, settings, watching if ranks.first else None, flops_per_token(config, settings.length), what)
        trained = train(engine, rows, name=name, state=state, identity=what, progress=progress, watched=watched,
                        heldout=None if tokens is None else _heldout(engine, tokens))
        _save(engine, out, model, vocabulary, lora)
        if ranks.first:
            if tokenizer != model:
                carry_tokenizer(tokenizer, out)
            write_metrics(trained.metrics, out)
            draw_curves(trained.metrics, out, name[0].upper() + name[1:])
            also()
    return trained.figures | {"start_loss": loss, "base_loss": base_loss}


def _heldout(engine: Engine, tokens: Path) -> Callable[[], dict[str, float]]:
    """Measures the loss on what a tokenised corpus holds out."""
    settings, ranks = engine.settings, engine.ranks
    heldout = open_heldout(tokens, settings.length, settings.documents)

    def loss_of_batch(rows: Rows, number: int) -> tuple[float, int]:
        batch = load(rows, number, size=settings.batch, vocab_size=engine.learners[0].vocabulary, rank=ranks.data,
                     ranks=ranks.layout.data, device=ranks.device)
        counted = torch.tensor(int(batch.counted.sum()), device=ranks.device)
        loss = ranks.total(engine.measure(batch).double(), "replicate", "shard", "pipeline")
        return float(loss), int(ranks.total(counted, "replicate", "shard"))

    return lambda: measure(loss_of_batch, heldout, settings.batch)


def _network(model: Path, tokenizer: Path, seed: int) -> tuple[ModelConfig, int, Callable[[Llama], None]]:
    """The network that a model folder gives with a tokenizer: its shape, how many tokens there are in it, and what fills it.

    Tokens that the model does not know have new rows.
    """
    config, known = ModelConfig.from_folder(model), load_tokenizer(model).vocab_size
    if known > config.vocab_size:
        raise Refusal(f"{model}: its tokenizer has {known} tokens and its network {config.vocab_size}; they do not belong together")
    if tokenizer == model:
        return config.padded(ROWS), config.vocab_size, partial(load_weights, folder=model, seed=seed)
    wanted = load_tokenizer(tokenizer).vocab_size
    # Rows of the model's tables beyond its own tokenizer belong to no token, and a new one must not begin as what lies there.
    return replace(config, vocab_size=wanted).padded(ROWS), wanted, partial(load_weights, folder=model, vocabulary=known, seed=seed)


def _save(engine: Engine, out: Path, model: Path, vocabulary: int, lora: Lora | None) -> None:
    """The trained network as a model folder; where it has an adapter, that one too, or alone with the tokenizer."""
    for network in engine.networks if lora is not None else ():
        assert lora is not None
        save_adapter(network, out / "adapter" if lora.merge else out, model.name)
        if not lora.merge:
            if engine.ranks.first:
                carry_tokenizer(model, out)
            return
        merge_adapter(network)
    save_model(engine.networks, out, like=model, vocabulary=vocabulary)


def _carry_passport(model: Path, tokens: Path | None, texts: Sequence[str], out: Path) -> None:
    """Write beside the weights the passport of all that they have read: the model's that they came from, that of the tokens, `texts`.

    What a base model without a passport has read is not known, and is no part of it. Tokens that have none leave the new model
    without one: it would say too little.
    """
    if tokens is not None and not (tokens / FILE).is_file():
        return
    sketches = [read_sketch(folder) for folder in (model, tokens) if folder is not None and (folder / FILE).is_file()]
    join_sketches([*sketches, sketch_of(texts, sketches[0] if sketches else EMPTY)], out / FILE)


def _corpus(folder: Path, tokenizer_folder: Path, vocabulary: int, settings: Training) -> StreamRows:
    """A tokenised corpus, once it is known that this tokenizer made it and that the network has all its tokens."""
    note = folder / "mixture.json"
    made_by = json.loads(note.read_text(encoding="utf-8")).get("tokenizer") if note.is_file() else None
    tokenizer = load_tokenizer(tokenizer_folder)
    if made_by is not None and made_by != tokenizer.digest:
        raise Refusal(f"{folder}: tokenised with another tokenizer ({str(made_by)[:12]}) than the model's ({tokenizer.digest[:12]}); "
                      "tokenise the corpus with this model")
    return open_corpus(folder, settings.length, settings.documents, vocabulary)

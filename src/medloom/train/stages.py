"""The two stages: continued pretraining on a tokenised corpus, and finetuning on examples. Both hand their rows to one loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..fit import ROWS, check_fit
from ..ledger import Progress, Refusal
from ..ledger.files import sha256_json
from ..model import Llama, ModelConfig, Tokenizer, carry_tokenizer, flops_per_token, load_tokenizer, load_weights, save_model
from ..passport import EMPTY, FILE, join_sketches, read_sketch, sketch_of
from ..recipe import Finetuning, Layout, Lora, Training
from .adapters import adapt, initialise_adapters, merge_adapter, save_adapter
from .data import Rows, StreamRows, WholeRows, in_epochs, interleaved, open_corpus
from .device import choose_device, choose_precision
from .engine import Engine
from .examples import read_examples, tokenise
from .float8 import check_float8
from .heldout import measure, open_heldout
from .loop import train
from .mesh import joined
from .report import draw_curves, write_metrics
from .start import check_start
from .watch import Watching, watch

ALONE = Layout()


@dataclass(frozen=True)
class Origin:
    """What a model folder and a tokenizer give: the network's shape, padded beyond its `vocabulary` of tokens, and what fills it.

    The tokenizer is the model's own, or one that has grown from it and lies in the folder `grown`.
    """

    model: Path
    grown: Path | None
    tokenizer: Tokenizer
    config: ModelConfig
    vocabulary: int
    fill: Callable[[Llama], None]


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
    origin = _origin(model, grown if grown.is_dir() else None, seed)
    rows = _corpus(tokens, origin, settings)
    return _run("continued pretraining", settings, rows, origin, out, state, seed, progress, layout, watching, tokens,
                also=lambda: _carry_passport(model, tokens, (), out))


def finetune(settings: Finetuning, *, model: Path, examples: Path, replay: Path | None, out: Path, state: Path, seed: int,
             progress: Progress, layout: Layout = ALONE, watching: Watching | None = None) -> dict[str, Any]:
    """Finetune a model folder on examples (JSON lines: id, and prompt and completion or messages), of which only the answers are learned.

    They are written by `settings.template`, which the new folder then carries, and packed whole into rows, each epoch in a new hash
    order. `settings.replay` of all rows are corpus text, every token of which is learned: as the loss is per token, its weight in the
    gradient (`replay_learned_share`) is above its share of the rows.
    With `settings.lora` the network below is frozen, and the adapter is written too, or alone. out, figures and errors as in `pretrain`.
    """
    origin = _origin(model, None, seed)
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
        rows = interleaved(whole, _corpus(replay, origin, settings), settings.replay, seed)

    def also() -> None:
        if template is not None:
            template.write(out)
        _carry_passport(model, replay if settings.replay else None, [example.text for example in said], out)

    figures = _run("finetuning", settings, rows, origin, out, state, seed, progress, layout, watching, replay, also=also,
                   lora=settings.lora, examples=sha256_json(identifiers))
    assert store.mask is not None
    answers = int(np.add.reduceat(store.mask, store.offsets[:-1], dtype=np.int64)[order].sum())
    return figures | {"examples": count, "truncated": whole.truncated, "replay_rows": len(rows) - len(whole),
                      "replay_learned_share": 1 - answers / figures["learned_tokens"]}


def _run(name: str, settings: Training, rows: Rows, origin: Origin, out: Path, state: Path, seed: int, progress: Progress, layout: Layout,
         watching: Watching | None, tokens: Path | None, *, also: Callable[[], None], lora: Lora | None = None,
         **identity: Any) -> dict[str, Any]:
    """Train, and write the model folder; the first rank then does `also`."""
    check_fit(origin.config, settings, layout)
    if len(rows) < settings.batch:
        raise Refusal(f"{len(rows)} rows of {settings.length} tokens are fewer than one batch of {settings.batch}; "
                      "give more text, or make batch or length smaller")
    what = {**settings.what(), "seed": seed, "rows": len(rows), **identity}
    del what["device"]  # a run may go on on another
    with joined(layout, choose_device(settings.device)) as ranks:
        if settings.precision == "float8":
            check_float8(ranks.device, layout)
        precision = choose_precision(settings.precision, ranks.device)
        engine = Engine.build(origin.config, settings, ranks, precision, vocabulary=origin.vocabulary,
                              adapt=None if lora is None else lambda network: adapt(network, lora, seed))
        engine.materialise()
        for network in engine.networks:
            origin.fill(network)
            initialise_adapters(network, seed)
        loss, base_loss = check_start(engine, engine.batch(rows, 0), origin.model, origin.fill)
        if ranks.first:
            progress.say(f"{name}: the first row's loss is {loss:.3f} in this layout and {base_loss:.3f} by the weights of the folder")
        watched = partial(watch, settings, watching if ranks.first else None, flops_per_token(origin.config, settings.length), what)
        trained = train(engine, rows, name=name, state=state, identity=what, progress=progress, watched=watched,
                        heldout=None if tokens is None else _heldout(engine, tokens))
        _save(engine, out, origin, lora)
        if ranks.first:
            if origin.grown is not None:
                carry_tokenizer(origin.grown, out)
            write_metrics(trained.metrics, out)
            draw_curves(trained.metrics, out, name[0].upper() + name[1:])
            also()
    return trained.figures | {"start_loss": loss, "base_loss": base_loss}


def _heldout(engine: Engine, tokens: Path) -> Callable[[], dict[str, float]]:
    """Measures the loss on what a tokenised corpus holds out."""
    heldout = open_heldout(tokens, engine.settings.length, engine.settings.documents)
    return lambda: measure(lambda rows, number: engine.measure(engine.batch(rows, number)), heldout, engine.settings.batch)


def _origin(model: Path, grown: Path | None, seed: int) -> Origin:
    """A model folder with its own tokenizer, or with one that has grown from it: tokens that the model does not know have new rows."""
    config, own = ModelConfig.from_folder(model), load_tokenizer(model)
    if own.vocab_size > config.vocab_size:
        raise Refusal(f"{model}: its tokenizer has {own.vocab_size} tokens and its network {config.vocab_size}; "
                      "they do not belong together")
    if grown is None:
        return Origin(model, None, own, config.padded(ROWS), config.vocab_size, partial(load_weights, folder=model, seed=seed))
    tokenizer = load_tokenizer(grown)
    # Rows of the model's tables beyond its own tokenizer belong to no token, and a new one must not begin as what lies there.
    return Origin(model, grown, tokenizer, replace(config, vocab_size=tokenizer.vocab_size).padded(ROWS), tokenizer.vocab_size,
                  partial(load_weights, folder=model, vocabulary=own.vocab_size, seed=seed))


def _save(engine: Engine, out: Path, origin: Origin, lora: Lora | None) -> None:
    """The trained network as a model folder; where it has an adapter, that one too, or alone with the tokenizer."""
    for network in engine.networks if lora is not None else ():
        assert lora is not None
        save_adapter(network, out / "adapter" if lora.merge else out, origin.model.name)
        if not lora.merge:
            if engine.ranks.first:
                carry_tokenizer(origin.model, out)
            return
        merge_adapter(network)
    save_model(engine.networks, out, like=origin.model, vocabulary=origin.vocabulary)


def _carry_passport(model: Path, tokens: Path | None, texts: Sequence[str], out: Path) -> None:
    """Write beside the weights the passport of all that they have read: the model's that they came from, that of the tokens, `texts`.

    What a base model without a passport has read is not known, and is no part of it. Tokens that have none leave the new model
    without one: it would say too little.
    """
    if tokens is not None and not (tokens / FILE).is_file():
        return
    sketches = [read_sketch(folder) for folder in (model, tokens) if folder is not None and (folder / FILE).is_file()]
    join_sketches([*sketches, sketch_of(texts, sketches[0] if sketches else EMPTY)], out / FILE)


def _corpus(folder: Path, origin: Origin, settings: Training) -> StreamRows:
    """A tokenised corpus, once it is known that this tokenizer made it and that the network has all its tokens."""
    note = folder / "mixture.json"
    made_by = json.loads(note.read_text(encoding="utf-8")).get("tokenizer") if note.is_file() else None
    if made_by is not None and made_by != origin.tokenizer.digest:
        raise Refusal(f"{folder}: tokenised with another tokenizer ({str(made_by)[:12]}) than the model's "
                      f"({origin.tokenizer.digest[:12]}); tokenise the corpus with this model")
    return open_corpus(folder, settings.length, settings.documents, origin.vocabulary)

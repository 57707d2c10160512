"""The two stages: continued pretraining on a tokenised corpus, and finetuning on examples. Both hand their rows to one loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ledger import Progress, Refusal
from ..ledger.files import sha256_json
from ..model import ModelConfig, Tokenizer, TokenStore, flops_per_token, load_tokenizer, save_model
from ..passport import EMPTY, FILE, join_sketches, read_sketch, sketch_of
from ..recipe import Finetuning, Layout, Training
from .data import Rows, StreamRows, WholeRows, in_epochs, interleaved, open_corpus
from .device import choose_device, choose_precision
from .engine import Engine
from .loop import train
from .mesh import joined
from .report import draw_curves, write_metrics
from .watch import Watching, watch

ALONE = Layout()
NOT_THE_RUN = {"checkpoint_seconds", "keep_last", "keep_every", "device", "loggers"}  # what changes nothing in what is learned


def pretrain(settings: Training, *, model: Path, tokens: Path, out: Path, state: Path, seed: int, progress: Progress,
             layout: Layout = ALONE, watching: Watching | None = None) -> dict[str, Any]:
    """Continue the pretraining of a model folder on a tokenised corpus (train.bin, train.idx, order.npy) and write the new one.

    The order of the corpus decides what is read and how long: `settings.epochs` and `settings.tokens` have shaped it already, and `seed`
    too. out: a model folder (bfloat16) with metrics.jsonl and curves.png. Figures: steps, tokens, first_loss, last_loss and the like.
    Raises Refusal where model, tokenizer and tokens do not belong together, or there is too little text.
    """
    rows = _corpus(tokens, model, settings.length)
    figures = _run("continued pretraining", settings, rows, model, out, state, seed, progress, layout, watching)
    _carry_passport(model, tokens, (), out)
    return figures


def finetune(settings: Finetuning, *, model: Path, examples: Path, replay: Path | None, out: Path, state: Path, seed: int,
             progress: Progress, layout: Layout = ALONE, watching: Watching | None = None) -> dict[str, Any]:
    """Finetune a model folder on examples (JSON lines: id, prompt, completion), of which only the completion and the end token are learned.

    Examples are packed whole into rows, each epoch in a new hash order. `settings.replay` of all rows are corpus text, every token of
    which is learned: as the loss is per token, its weight in the gradient (`replay_learned_share`) is above its share of the rows.
    out, figures and errors as in `pretrain`.
    """
    store, identifiers = _tokenised(examples, load_tokenizer(model))
    count = len(store)
    order = in_epochs(identifiers, round(count * settings.epochs), seed)
    whole = WholeRows(store, order, settings.length)
    rows: Rows = whole
    if settings.replay:
        if replay is None:
            raise Refusal(f"replay = {settings.replay} asks for corpus text and there is none; add a [corpus] or set replay = 0")
        rows = interleaved(whole, _corpus(replay, model, settings.length), settings.replay, seed)
    figures = _run("finetuning", settings, rows, model, out, state, seed, progress, layout, watching, examples=sha256_json(identifiers))
    _carry_passport(model, replay if settings.replay else None, [f"{prompt} {completion}" for _, prompt, completion in _examples(examples)],
                    out)
    assert store.mask is not None
    answers = int(np.add.reduceat(store.mask, store.offsets[:-1], dtype=np.int64)[order].sum())
    return figures | {"examples": count, "truncated": whole.truncated, "replay_rows": len(rows) - len(whole),
                      "replay_learned_share": 1 - answers / figures["learned_tokens"]}


def _run(name: str, settings: Training, rows: Rows, model: Path, out: Path, state: Path, seed: int, progress: Progress, layout: Layout,
         watching: Watching | None, **identity: Any) -> dict[str, Any]:
    config = ModelConfig.from_folder(model)
    if settings.length > config.max_positions:
        raise Refusal(f"length = {settings.length} is more than the {config.max_positions} positions of the model; "
                      f"set it to {config.max_positions} or less")
    if len(rows) < settings.batch:
        raise Refusal(f"{len(rows)} rows of {settings.length} tokens are fewer than one batch of {settings.batch}; "
                      "give more text, or make batch or length smaller")
    device = choose_device(settings.device)
    what = {**settings.model_dump(mode="json", exclude=NOT_THE_RUN), "seed": seed, "rows": len(rows), **identity}
    with joined(layout, device) as ranks:
        engine = Engine.build(config, settings, ranks, choose_precision(settings.precision, ranks.device))
        engine.materialise()
        engine.load(model)
        watched = partial(watch, settings, watching if ranks.first else None, flops_per_token(config, settings.length), what)
        trained = train(engine, rows, name=name, state=state, identity=what, progress=progress, watched=watched)
        save_model(engine.learners[0].network, out, like=model)
        if ranks.first:
            write_metrics(trained.metrics, out)
            draw_curves(trained.metrics, out, name[0].upper() + name[1:])
    return trained.figures


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


def _tokenised(examples: Path, tokenizer: Tokenizer) -> tuple[TokenStore, list[str]]:
    """Examples as a token store in memory, ordered by id so that the order of the file does not matter, and their ids."""
    pairs = sorted(_examples(examples))
    if not pairs:
        raise Refusal(f"{examples}: no examples; finetuning needs at least one line with id, prompt and completion")
    tokens: list[NDArray[np.int32]] = []
    masks: list[NDArray[np.uint8]] = []
    for _, prompt, completion in pairs:
        ids, boundary = tokenizer.encode_pair(prompt, completion)
        ids += [] if tokenizer.eos_id is None else [tokenizer.eos_id]
        tokens.append(np.asarray(ids, np.int32))
        masks.append((np.arange(len(ids)) >= boundary).astype(np.uint8))
    offsets = np.concatenate(([0], np.cumsum([len(ids) for ids in tokens]))).astype(np.int64)
    return TokenStore(np.concatenate(tokens), offsets, np.concatenate(masks)), [identifier for identifier, _, _ in pairs]


def _examples(path: Path) -> Iterator[tuple[str, str, str]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, 1):
                try:
                    example = json.loads(line)
                    identifier, prompt, completion = example["id"], example["prompt"], example["completion"]
                except (json.JSONDecodeError, KeyError, TypeError):
                    identifier = prompt = completion = None
                if not isinstance(identifier, str) or not isinstance(prompt, str) or not isinstance(completion, str) or not completion:
                    raise Refusal(f"{path}: line {number} is not a JSON object with the texts id, prompt and completion; write it again")
                yield identifier, prompt, completion
    except FileNotFoundError:
        raise Refusal(f"{path}: no such file; write the examples first") from None

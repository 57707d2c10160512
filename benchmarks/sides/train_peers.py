"""The peers' side of training, run by the interpreter of their own environment. Each with AdamW, clipping at 1 and the same rows."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from sides.clock import run
from sides.train_steps import Steps

RATE, DECAY, BETAS, CLIP = 3e-4, 0.1, (0.9, 0.95), 1.0
IGNORED = -100  # the target that transformers does not count


def _llama(model: str, device: str = "cpu") -> Any:
    from transformers import LlamaForCausalLM

    network = LlamaForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="sdpa").to(device)
    network.config.use_cache = False
    return network.train()


def _full(rows: str) -> list[dict[str, torch.Tensor]]:
    """Rows of length + 1 tokens as examples of `length`, every one of them with a target."""
    tokens = torch.from_numpy(np.load(rows))
    return [{"input_ids": row[:-1], "labels": row[1:], "shift_labels": row[1:]} for row in tokens]


def _stacked(examples: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}


def _padded(examples: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Documents padded at the end to the longest; padding is neither seen nor counted."""
    ids = [example["input_ids"] for example in examples]
    pad = torch.nn.utils.rnn.pad_sequence
    return {"input_ids": pad(ids, batch_first=True), "attention_mask": pad([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": pad(ids, batch_first=True, padding_value=IGNORED)}


def _documents(path: str) -> list[torch.Tensor]:
    with np.load(path) as held:
        return [torch.from_numpy(ids) for ids in np.split(held["tokens"], held["offsets"][1:-1])]


def _train(network: Any, examples: list[dict[str, torch.Tensor]], collate: Any, batch: int, scratch: str, *, cpu: bool, bf16: bool,
           compiled: bool) -> tuple[Steps, float]:
    """HF Trainer over the examples once, in their order; the clock and the first loss."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    clock, losses = Steps(), []

    class Watch(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.stamp()

        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            losses.extend([logs["loss"]] if "loss" in logs else [])

    with TemporaryDirectory(dir=scratch) as folder:
        arguments = TrainingArguments(
            output_dir=folder, per_device_train_batch_size=batch, num_train_epochs=1, learning_rate=RATE, lr_scheduler_type="constant",
            optim="adamw_torch_fused", adam_beta1=BETAS[0], adam_beta2=BETAS[1], weight_decay=DECAY, max_grad_norm=CLIP, bf16=bf16,
            use_cpu=cpu, torch_compile=compiled, train_sampling_strategy="sequential", dataloader_drop_last=True,
            remove_unused_columns=False, logging_first_step=True, logging_steps=10**6, save_strategy="no", report_to=[], disable_tqdm=True)
        Trainer(network, arguments, data_collator=collate, train_dataset=examples, callbacks=[Watch()]).train()
    return clock, losses[0]


def hf_trainer(model: str, rows: str, scratch: str, batch: int, device: str, bf16: bool, compiled: bool) -> Callable[[], Any]:
    """transformers' Trainer on rows without padding."""
    network, examples = _llama(model), _full(rows)

    def work() -> dict[str, Any]:
        clock, loss = _train(network, examples, _stacked, batch, scratch, cpu=device == "cpu", bf16=bf16, compiled=compiled)
        peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else 0.0
        counted = [batch * len(examples[0]["labels"])] * (len(examples) // batch)
        return {**clock.result(loss, counted), "gpu_peak_gb": peak}

    return work


def hf_padded(model: str, documents: str, scratch: str, batch: int) -> Callable[[], Any]:
    """transformers' Trainer on whole documents, each batch padded to its longest."""
    network = _llama(model)
    examples = [{"input_ids": ids} for ids in _documents(documents)]

    def work() -> dict[str, Any]:
        clock, loss = _train(network, examples, _padded, batch, scratch, cpu=True, bf16=False, compiled=False)
        lengths = [len(example["input_ids"]) for example in examples]
        groups = [lengths[start : start + batch] for start in range(0, len(lengths), batch)]
        return {**clock.result(loss, [sum(group) - batch for group in groups]), "positions": [batch * max(group) for group in groups[1:]]}

    return work


def bare_loop(model: str, rows: str, batch: int) -> Callable[[], Any]:
    """A plain loop over transformers' LlamaForCausalLM: forward, backward, clip, step."""
    network, examples = _llama(model), _full(rows)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY, fused=True)

    def work() -> dict[str, Any]:
        clock, losses = Steps(), []
        for start in range(0, len(examples), batch):
            loss = network(**_stacked(examples[start : start + batch])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimiser.step()
            optimiser.zero_grad()
            losses.append(float(loss))
            clock.stamp()
        return clock.result(losses[0], [batch * len(examples[0]["labels"])] * len(losses))

    return work


class FusedAdamW(torch.optim.AdamW):
    """litgpt asks for the fused kernel on a GPU alone; on a CPU it serves it as well."""

    def __init__(self, params: Any, lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(params, lr=lr, betas=tuple(betas), weight_decay=weight_decay, fused=True)


def litgpt(model: str, rows: str, scratch: str, batch: int, fused: bool) -> Callable[[], Any]:
    """litgpt's pretraining, which compiles the network whole, from the same weights by its own conversion. Alone its AdamW is not fused."""
    from litgpt import Config, pretrain
    from litgpt.args import EvalArgs, TrainArgs
    from litgpt.data import DataModule
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from safetensors.torch import load_file
    from torch.utils.data import DataLoader

    # litgpt writes its command line beside what it saves, and reads it from here.
    sys.argv = ["litgpt", "pythia-14m"]
    tokens = torch.from_numpy(np.load(rows))
    taken = [tokens[start : start + batch] for start in range(0, len(tokens), batch)]
    clock = Steps()

    class Stamped(torch.utils.data.IterableDataset[torch.Tensor]):
        def __iter__(self) -> Iterator[torch.Tensor]:
            for one in taken:
                yield one
                clock.stamp()  # asked for the next: its step is done

    class Loader(DataLoader[torch.Tensor]):
        # litgpt saves it with the weights, by these two where it has them.
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: dict[str, Any]) -> None:
            pass

    class Rows(DataModule):
        def connect(self, tokenizer: Any = None, batch_size: int = 1, max_seq_length: int | None = None, **_: Any) -> None:
            pass

        def train_dataloader(self) -> Any:
            return Loader(Stamped(), batch_size=None)

        def val_dataloader(self) -> Any:
            return Loader(taken[:1], batch_size=None)

    shape = json.loads((Path(model) / "config.json").read_text())
    config = Config(
        name="benchmark", block_size=tokens.shape[1] - 1, vocab_size=shape["vocab_size"], padded_vocab_size=shape["vocab_size"],
        n_layer=shape["num_hidden_layers"], n_head=shape["num_attention_heads"], n_query_groups=shape["num_key_value_heads"],
        n_embd=shape["hidden_size"], head_size=shape["head_dim"], intermediate_size=shape["intermediate_size"], rotary_percentage=1.0,
        rope_base=int(shape["rope_theta"]), norm_eps=shape["rms_norm_eps"], parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP")

    def work() -> dict[str, Any]:
        with TemporaryDirectory(dir=scratch) as folder:
            begin = Path(folder) / "begin"
            begin.mkdir()
            weights: dict[str, torch.Tensor] = {}
            copy_weights_hf_llama(config, {}, weights, load_file(Path(model) / "model.safetensors"))
            torch.save(weights, begin / "lit_model.pth")
            count = tokens.shape[0] * (tokens.shape[1] - 1)
            pretrain.setup(
                model_name="benchmark", model_config=config, out_dir=Path(folder) / "out", precision="32-true", devices=1, data=Rows(),
                initial_checkpoint_dir=begin, logger_name="csv", eval=EvalArgs(interval=10**6, final_validation=False),
                train=TrainArgs(save_interval=None, log_interval=1, global_batch_size=batch, micro_batch_size=batch, max_tokens=count,
                                max_norm=CLIP, min_lr=RATE, lr_warmup_steps=0),
                optimizer={"class_path": "sides.train_peers.FusedAdamW" if fused else "torch.optim.AdamW",
                           "init_args": {"lr": RATE, "betas": list(BETAS), "weight_decay": DECAY}})
            with next(Path(folder).glob("out/logs/**/metrics.csv")).open() as stream:
                loss = float(next(csv.DictReader(stream))["loss"])
        return clock.result(loss, [batch * (tokens.shape[1] - 1)] * len(taken))

    return work


@torch.no_grad()
def _loss(network: Any, documents: Sequence[torch.Tensor]) -> float:
    """Nats a target of documents read one by one, each alone."""
    total, counted = 0.0, 0
    for ids in documents:
        if len(ids) > 1:
            total += float(network(input_ids=ids[None], labels=ids[None]).loss) * (len(ids) - 1)
            counted += len(ids) - 1
    return total / counted


def losses(model: str, documents: dict[str, str]) -> Callable[[], Any]:
    """transformers' loss, in nats a target, of each set of documents."""
    network = _llama(model)
    held = {name: _documents(path) for name, path in documents.items()}
    return lambda: {name: _loss(network, found) for name, found in held.items()}


if __name__ == "__main__":
    run({work.__name__: work for work in (hf_trainer, hf_padded, bare_loop, litgpt, losses)})

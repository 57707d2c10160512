"""Our own network as an engine: the shared beginning once, questions padded to the right, the head only where it is needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..ledger.files import sha256_file, sha256_json
from ..model import Cache, Llama, load_model, load_tokenizer
from .engine import Ids

HEAD_ROWS = 2048  # positions that go through the head at once: bounds the memory that a large vocabulary takes


class TorchEngine:
    """A Hugging Face model folder, in float32 on `device` ("auto" takes a GPU where there is one)."""

    def __init__(self, folder: Path, device: str = "auto", batch: int = 16) -> None:
        self._folder = Path(folder)
        self._device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
        self._model: Llama = load_model(self._folder, device=str(self._device)).eval()
        self._tokenizer = load_tokenizer(self._folder)
        self.context = self._model.config.max_positions
        self.batch = batch
        self._shared: tuple[tuple[int, ...], Cache] = ((), Cache())

    def identity(self) -> str:
        """Digest over config.json, the weights and the tokenizer files."""
        files = sorted(path for pattern in ("config.json", "*.safetensors", "tokenizer*") for path in self._folder.glob(pattern))
        return sha256_json({path.name: sha256_file(path) for path in files})

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """See Engine."""
        return self._tokenizer.encode_batch(texts, bos=self._tokenizer.adds_bos)

    @torch.inference_mode()
    def next_token_logprobs(self, prompts: Sequence[Ids], candidates: Sequence[Ids], shared: int = 0) -> list[list[float]]:
        """See Engine."""
        found: list[list[float]] = [[] for _ in prompts]
        for rows in self._batches([len(prompt) for prompt in prompts]):
            hidden = self._hidden([prompts[row][shared:] for row in rows], prompts[rows[0]][:shared])
            last = torch.tensor([len(prompts[row]) - shared - 1 for row in rows], device=self._device)
            scores = self._logprobs(hidden[torch.arange(len(rows), device=self._device), last])
            for row, score in zip(rows, scores, strict=True):
                found[row] = score[torch.tensor(list(candidates[row]), device=self._device)].tolist()
        return found

    @torch.inference_mode()
    def text_logprobs(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int = 0) -> list[list[float]]:
        """See Engine. The question is computed once; its continuations branch off from it."""
        found = []
        for prompt, branches in zip(prompts, continuations, strict=True):
            cache = self._prefix(prompt[:shared]).expanded(1)
            first = self._logprobs(self._model(self._tensor([prompt[shared:]]), cache=cache)[:, -1])[0]
            sums = first[torch.tensor([branch[0] for branch in branches], device=self._device)]
            if max(map(len, branches)) > 1:
                inputs = self._tensor([branch[:-1] for branch in branches])
                hidden = self._model(inputs, cache=cache.expanded(len(branches)))
                sums = sums + self._sums(hidden, [branch[1:] for branch in branches], [0] * len(branches))
            found.append(sums.tolist())
        return found

    @torch.inference_mode()
    def token_logprobs(self, rows: Sequence[Ids], starts: Sequence[int]) -> list[float]:
        """For each row, the summed log-probability of its tokens from position `start` (at least 1) on, given those before them."""
        found = [0.0] * len(rows)
        for chosen in self._batches([len(row) for row in rows]):
            hidden = self._hidden([rows[number][:-1] for number in chosen], ())
            first = [starts[number] - 1 for number in chosen]
            sums = self._sums(hidden, [rows[number][start + 1:] for number, start in zip(chosen, first, strict=True)], first)
            for number, value in zip(chosen, sums.tolist(), strict=True):
                found[number] = value
        return found

    def __enter__(self) -> TorchEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._model
        self._shared = ((), Cache())

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Row numbers, longest first so that what does not fit in memory shows at once, like lengths together."""
        order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
        for start in range(0, len(order), self.batch):
            yield order[start:start + self.batch]

    def _prefix(self, ids: Ids) -> Cache:
        """Keys and values of the shared beginning, kept until another one is asked for."""
        wanted = tuple(ids)
        if self._shared[0] != wanted:
            cache = Cache()
            if wanted:
                self._model(self._tensor([wanted]), cache=cache)
            self._shared = (wanted, cache)
        return self._shared[1]

    def _hidden(self, rows: Sequence[Ids], prefix: Ids) -> Tensor:
        """Hidden states [rows, longest, hidden_size]. Padding stands to the right, where no earlier position can look."""
        cache = self._prefix(prefix).expanded(len(rows)) if prefix else None
        hidden: Tensor = self._model(self._tensor(rows), cache=cache)
        return hidden

    def _logprobs(self, hidden: Tensor) -> Tensor:
        return self._model.logits(hidden).float().log_softmax(-1)

    def _sums(self, hidden: Tensor, targets: Sequence[Ids], first: Sequence[int]) -> Tensor:
        """Row by row, the summed log-probability of `targets`, the first of them predicted at position `first`: [rows]."""
        row = torch.tensor([number for number, ids in enumerate(targets) for _ in ids], dtype=torch.long, device=self._device)
        column = torch.tensor([start + i for start, ids in zip(first, targets, strict=True) for i in range(len(ids))],
                              dtype=torch.long, device=self._device)
        wanted = torch.tensor([token for ids in targets for token in ids], dtype=torch.long, device=self._device)
        values = torch.zeros(len(wanted), dtype=torch.float64, device=self._device)
        for start in range(0, len(wanted), HEAD_ROWS):
            part = slice(start, start + HEAD_ROWS)
            scores = self._logprobs(hidden[row[part], column[part]])
            values[part] = scores.gather(1, wanted[part, None])[:, 0].double()
        # Row by row, not scattered: on a GPU a scattered sum adds in another order each time.
        return torch.stack([own.sum() for own in torch.split(values, [len(ids) for ids in targets])])

    def _tensor(self, rows: Sequence[Ids]) -> Tensor:
        return pad_sequence([torch.tensor(list(row), dtype=torch.long) for row in rows], batch_first=True).to(self._device)

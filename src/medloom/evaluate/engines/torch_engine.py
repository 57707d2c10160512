"""Our own network as an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...ledger.files import sha256_file, sha256_json
from ...model import Llama, load_model, load_tokenizer
from .decode import Decoder
from .engine import Continuation, Ids, Sampling
from .passage import EMPTY, Passage, Question, Reader

PACKED = 8192  # positions that are computed at once, unless one text has more
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
        self._reader = Reader(self._model)
        self._shared: tuple[tuple[int, ...], Passage] = ((), EMPTY)

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
        for rows in self._batches([len(prompt) - shared for prompt in prompts]):
            hidden, _ = self._reader.read(self._beginning(prompts[rows[0]][:shared]), [Question(prompts[row][shared:]) for row in rows])
            for row, score in zip(rows, self._logprobs(hidden), strict=True):
                found[row] = score[torch.tensor(list(candidates[row]), device=self._device)].tolist()
        return found

    @torch.inference_mode()
    def text_logprobs(self, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], shared: int = 0) -> list[list[float]]:
        """See Engine. The question is computed once; its continuations follow it as branches."""
        found: list[list[float]] = [[] for _ in prompts]
        sizes = [len(prompt) - shared + sum(map(len, own)) for prompt, own in zip(prompts, continuations, strict=True)]
        for rows in self._batches(sizes):
            # The last token of a branch predicts nothing that is asked for.
            branches = (tuple(branch[:-1] for branch in continuations[row] if len(branch) > 1) for row in rows)
            questions = [Question(prompts[row][shared:], own) for row, own in zip(rows, branches, strict=True)]
            hidden, _ = self._reader.read(self._beginning(prompts[rows[0]][:shared]), questions)
            place, states, targets, sizes_of = len(rows), [], [], []
            for number, row in enumerate(rows):
                for branch in continuations[row]:
                    states += [number, *range(place, place + len(branch) - 1)]
                    place += len(branch) - 1
                    targets += list(branch)
                    sizes_of.append(len(branch))
            sums = iter(self._summed(hidden, states, targets, sizes_of))
            for row in rows:
                found[row] = [next(sums) for _ in continuations[row]]
        return found

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling, shared: int = 0
                 ) -> list[list[Continuation]]:
        """See Engine. Questions of like length are written together."""
        ends = frozenset(token for token in (self._tokenizer.eos_id, self._tokenizer.document_end_id) if token is not None)
        decoder = Decoder(self._reader, self._tokenizer.decode, ends)
        found: list[list[Continuation]] = [[] for _ in prompts]
        for rows in self._batches([len(prompt) - shared for prompt in prompts]):
            written = decoder.write(self._beginning(prompts[rows[0]][:shared]), [prompts[row][shared:] for row in rows],
                                    [seeds[row] for row in rows], sampling)
            for row, continuations in zip(rows, written, strict=True):
                found[row] = continuations
        return found

    @torch.inference_mode()
    def token_logprobs(self, rows: Sequence[Ids], starts: Sequence[int]) -> list[float]:
        """For each row, the summed log-probability of its tokens from position `start` (at least 1) on, given those before them."""
        found = [0.0] * len(rows)
        for chosen in self._batches([len(row) for row in rows]):
            padded = pad_sequence([torch.tensor(list(rows[number][:-1])) for number in chosen], batch_first=True)
            hidden = self._model(padded.to(self._device))
            longest = hidden.shape[1]
            states = [place * longest + position for place, number in enumerate(chosen)
                      for position in range(starts[number] - 1, len(rows[number]) - 1)]
            targets = [token for number in chosen for token in rows[number][starts[number]:]]
            sums = self._summed(hidden.flatten(0, 1), states, targets, [len(rows[number]) - starts[number] for number in chosen])
            for number, value in zip(chosen, sums, strict=True):
                found[number] = value
        return found

    def __enter__(self) -> TorchEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        del self._model, self._reader
        self._shared = ((), EMPTY)

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Row numbers, longest first so that what does not fit in memory shows at once, like lengths together."""
        rows: list[int] = []
        for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
            if rows and (len(rows) == self.batch or sum(lengths[one] for one in rows) + lengths[row] > PACKED):
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _beginning(self, ids: Ids) -> Passage:
        """The shared beginning as it was read, kept until another one is asked for."""
        wanted = tuple(ids)
        if self._shared[0] != wanted:
            self._shared = (wanted, self._reader.read_beginning(wanted))
        return self._shared[1]

    def _logprobs(self, hidden: Tensor) -> Tensor:
        return self._model.logits(hidden).float().log_softmax(-1)

    def _summed(self, hidden: Tensor, states: Sequence[int], targets: Ids, sizes: Sequence[int]) -> list[float]:
        """The log-probabilities of `targets`, each predicted by a row of `hidden`, [rows, hidden_size], summed in groups of `sizes`."""
        place = torch.tensor(states, dtype=torch.long, device=self._device)
        wanted = torch.tensor(targets, dtype=torch.long, device=self._device)
        values = torch.zeros(len(wanted), dtype=torch.float64, device=self._device)
        for start in range(0, len(wanted), HEAD_ROWS):
            part = slice(start, start + HEAD_ROWS)
            values[part] = self._logprobs(hidden[place[part]]).gather(1, wanted[part, None])[:, 0].double()
        # Group by group, not scattered: on a GPU a scattered sum adds in another order each time.
        return [float(own.sum()) for own in torch.split(values, list(sizes))]

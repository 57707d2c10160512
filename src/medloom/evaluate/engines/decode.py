"""Writing many continuations at once: the beginning that all share, the question of several branches, and what each branch wrote itself.

The three are kept apart. A step's queries look at the beginning as one matrix, at the questions as one batch, and at the branches as
another; the room for what branches write is taken at the start. Branches that have ended leave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from .engine import Continuation, Ids, Sampling
from .mixing import Mixed, mix
from .passage import KeyValues, Passage, Question, Reader, finished, keys_and_values, queries

LOOKS_BACK = 8  # tokens before the last that are read for a stop text, over its own number of characters


class Decoder:
    """Continues questions behind one beginning."""

    def __init__(self, reader: Reader, decode: Callable[[Ids], str], ends: frozenset[int]) -> None:
        self.reader, self.decode, self.ends = reader, decode, ends

    def write(self, beginning: Passage, questions: Sequence[Ids], seeds: Sequence[Sequence[int]], sampling: Sampling
              ) -> list[list[Continuation]]:
        """One continuation for each seed of each question."""
        hidden, layers = self.reader.read(beginning, [Question(ids) for ids in questions])
        scores = self.reader.model.logits(hidden).float()
        rows = [(question, branch) for question, own in enumerate(seeds) for branch in range(len(own))]
        draws = _Draws([seeds[question][branch] for question, branch in rows], sampling, scores.device)
        written: list[list[int]] = [[] for _ in rows]
        ended = [False] * len(rows)
        grid = _Grid(beginning, questions, layers, [len(own) for own in seeds], sampling.tokens, self.reader)
        scores = scores[torch.tensor([question for question, _ in rows], device=scores.device)]
        alive = list(range(len(rows)))
        for step in range(sampling.tokens):
            tokens = draws(scores, alive, step).tolist()
            going = []
            for place, (row, token) in enumerate(zip(alive, tokens, strict=True)):
                if token in self.ends:
                    ended[row] = True
                    continue
                written[row].append(token)
                if self._stopped(written[row], sampling):
                    ended[row] = True
                else:
                    going.append(place)
            if step + 1 == sampling.tokens or not going:
                break
            fed = torch.tensor([tokens[place] for place in going], device=scores.device)
            alive = [alive[place] for place in going]
            scores = self.reader.model.logits(grid.step(fed, going)).float()
        found: list[list[Continuation]] = [[] for _ in questions]
        for (question, _), ids, end in zip(rows, written, ended, strict=True):
            found[question].append(Continuation(_cut(self._text(questions[question][-1], ids), sampling.stop), tuple(ids), end))
        return found

    def _text(self, before: int, ids: list[int]) -> str:
        """What the ids say after the token before them: alone, the first would lose its space."""
        head, whole = self.decode([before]), self.decode([before, *ids])
        return whole[len(head):] if whole.startswith(head) else self.decode(ids)

    def _stopped(self, ids: list[int], sampling: Sampling) -> bool:
        if not sampling.stop:
            return False
        tail = self.decode(ids[-(max(map(len, sampling.stop)) + LOOKS_BACK):])
        return any(stop in tail for stop in sampling.stop)


class _Draws:
    """The next token of each row, by a stream of random numbers of its own; greedy where the temperature is 0."""

    def __init__(self, seeds: Sequence[int], sampling: Sampling, device: torch.device) -> None:
        self.sampling = sampling
        self.random = torch.stack([torch.rand(sampling.tokens, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
                                   for seed in seeds]).to(device) if sampling.temperature else None
        self.counts: Tensor | None = None

    def __call__(self, scores: Tensor, alive: list[int], step: int) -> Tensor:
        if self.sampling.frequency_penalty:
            if self.counts is None:
                self.counts = scores.new_zeros(scores.shape)
            scores = scores - self.sampling.frequency_penalty * self.counts[alive]
        if self.random is None:
            tokens = scores.argmax(-1)
        else:
            sums = (scores / self.sampling.temperature).softmax(-1).cumsum(-1, dtype=torch.float64)
            wanted = self.random[alive, step, None] * sums[:, -1:]
            tokens = torch.searchsorted(sums, wanted, right=True)[:, 0].clamp(max=scores.shape[-1] - 1)
        if self.counts is not None:
            self.counts[alive, tokens] += 1
        return tokens


class _Grid:
    """Keys and values of branches that are being written: a row a question, a column a branch; both shrink as branches end."""

    def __init__(self, beginning: Passage, questions: Sequence[Ids], layers: list[KeyValues], branches: Sequence[int], tokens: int,
                 reader: Reader) -> None:
        self.beginning, self.reader = beginning, reader
        self.device = layers[0][0].device
        sizes = [len(ids) for ids in questions]
        self.sizes = torch.tensor(sizes, device=self.device)
        self.questions = [(_padded(k, sizes), _padded(v, sizes)) for k, v in layers]
        self.length = 0
        config = reader.model.config
        shape = (len(questions), max(branches), config.kv_heads, tokens, config.head_size)
        self.own = [(k.new_zeros(shape), v.new_zeros(shape)) for k, v in layers]
        self.places = torch.tensor([(question, branch) for question, count in enumerate(branches) for branch in range(count)],
                                   device=self.device)  # of each row that is alive

    def step(self, tokens: Tensor, going: list[int]) -> Tensor:
        """Feed each row that goes on its token; gives its hidden state: [rows, hidden_size]. `going` are places among the rows so far."""
        self._shrink(self.places[torch.tensor(going, device=self.device)])
        model, window = self.reader.model, self.reader.window
        embed, norm = model.model.embed_tokens, model.model.norm
        assert embed is not None and norm is not None
        row, column = self.places[:, 0], self.places[:, 1]
        at = self.beginning.length + self.sizes[row] + self.length
        angle = at[:, None].float() * model.frequencies
        cos, sin = angle.cos()[None, None], angle.sin()[None, None]
        x = embed(tokens)[None]
        self.length += 1
        count, width = self.own[0][0].shape[:2]
        grid_at = torch.zeros((count, width), dtype=torch.long, device=self.device)
        grid_at[row, column] = at
        masks = self._masks(grid_at, window)
        seen = self.reader.sight(at, torch.arange(self.beginning.length, device=self.device))
        for number, block in enumerate(self.reader.blocks):
            attention = block.self_attn
            normed = block.input_layernorm(x)
            k, v = keys_and_values(attention, normed, cos, sin)
            own_k, own_v = self.own[number]
            own_k[row, column, :, self.length - 1], own_v[row, column, :, self.length - 1] = k[0].transpose(0, 1), v[0].transpose(0, 1)
            q = queries(attention, normed, cos, sin)
            # As a grid: [questions, heads, branches, head_size].
            grid = q.new_zeros((count, width, *q.shape[1:2], q.shape[3]))
            grid[row, column] = q[0].transpose(0, 1)
            over_question = mix(grid.transpose(1, 2), *self.questions[number], masks[0])
            seen_k, seen_v = (own[:, :, :, :self.length].flatten(0, 1) for own in (own_k, own_v))
            over_own = mix(grid.flatten(0, 1)[:, :, None], seen_k, seen_v, masks[1])
            own_out, own_sums = (x[:, :, 0].view(count, width, *x.shape[1:2], *x.shape[3:]) for x in (over_own.out, over_own.sums))
            parts = [_rows(over_question.out.transpose(1, 2), over_question.sums.transpose(1, 2), row, column),
                     _rows(own_out, own_sums, row, column)]
            if self.beginning.length:
                parts.append(mix(q, *self.beginning.layers[number], seen))
            x = finished(block, x, parts)
        hidden: Tensor = norm(x)[0]
        return hidden

    def _masks(self, at: Tensor, window: int | None) -> tuple[Tensor, Tensor | None]:
        """What each branch sees of its padded question, [questions, 1, branches or 1, longest], and of itself, [rows, 1, 1, length]."""
        position = torch.arange(self.questions[0][0].shape[2], device=self.device)
        whole = (position < self.sizes[:, None])[:, None, None]
        if window is None:
            return whole, None
        held = whole & (at[:, None, :, None] - (self.beginning.length + position) < window)
        back = self.length - 1 - torch.arange(self.length, device=self.device)
        return held, (back < window).expand(at.numel(), 1, 1, -1)

    def _shrink(self, places: Tensor) -> None:
        """Keep the rows at `places`; once a quarter of the grid is empty, move what is left together."""
        self.places = places
        count, width = self.own[0][0].shape[:2]
        numbers, own = torch.unique(places[:, 0], return_inverse=True)
        widest = int(torch.bincount(own).max())
        if len(numbers) * widest > 0.75 * count * width:
            return
        column = torch.cat([torch.arange(int(n), device=self.device) for n in torch.bincount(own)])
        self.sizes = self.sizes[numbers]
        self.questions = [(k[numbers], v[numbers]) for k, v in self.questions]
        moved = []
        for k, v in self.own:
            shape = (len(numbers), widest, *k.shape[2:])
            new = k.new_zeros(shape), v.new_zeros(shape)
            for whole, old in zip(new, (k, v), strict=True):
                whole[own, column, :, :self.length] = old[places[:, 0], places[:, 1], :, :self.length]
            moved.append(new)
        self.own = moved
        self.places = torch.stack((own, column), 1)


def _padded(x: Tensor, sizes: list[int]) -> Tensor:
    """[1, heads, packed positions, head_size] as [questions, heads, longest, head_size]."""
    longest = max(sizes)
    return torch.cat([pad(part, (0, 0, 0, longest - part.shape[2])) for part in torch.split(x, sizes, 2)])


def _rows(out: Tensor, sums: Tensor, row: Tensor, column: Tensor) -> Mixed:
    """Of a grid [questions, branches, heads, …] the rows that are alive, as [1, heads, rows, …]."""
    return Mixed(out[row, column].transpose(0, 1)[None], sums[row, column].transpose(0, 1)[None])


def _cut(text: str, stops: Sequence[str]) -> str:
    """The text before the first of what stops it."""
    return text[:min((place for stop in stops if (place := text.find(stop)) >= 0), default=len(text))]

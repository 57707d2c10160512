"""One pass of the network over many questions behind one beginning, without anything that no score needs.

The beginning is computed once and its keys are never copied; a question is computed once for all its options, which follow it as branches;
no position is padding; in the last layer keys and values are of all positions, but queries and feed-forward only of those whose next token
is asked for, and only these reach the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...model import Llama
from ...model.llama import Attention, Block, rotate
from .engine import Ids
from .mixing import Mixed, joined, mix

KeyValues = tuple[Tensor, Tensor]  # [1, kv_heads, positions, head_size] each


@dataclass(frozen=True)
class Passage:
    """What a model has read: how many positions, and the keys and values of each layer."""

    length: int
    layers: tuple[KeyValues, ...]


EMPTY = Passage(0, ())


@dataclass(frozen=True)
class Question:
    """Tokens that follow the beginning, and branches that follow these; `asked` says whether the question's last position is needed."""

    ids: Ids
    branches: tuple[Ids, ...] = ()


@dataclass(frozen=True)
class _Span:
    """A run of packed positions: where it begins and ends, at which position of its text, and of which question it is (itself, for one)."""

    start: int
    stop: int
    position: int
    question: int


class Reader:
    """The network's layers, run over packed questions."""

    def __init__(self, model: Llama) -> None:
        self.model, self.window = model, model.config.window
        self.blocks: list[Block] = list(model.model.layers.values())  # type: ignore[arg-type]

    def read_beginning(self, ids: Ids) -> Passage:
        """The beginning that questions share."""
        if not ids:
            return EMPTY
        _, layers = self.read(EMPTY, [Question(ids)])
        return Passage(len(ids), tuple(layers))

    def read(self, beginning: Passage, questions: Sequence[Question]) -> tuple[Tensor, list[KeyValues]]:
        """Final hidden states, [asked, hidden_size], and the keys and values of all positions, layer by layer.

        Asked are, in this order: the last position of every question, then every position of every branch, question by question.
        """
        spans = _laid(questions, beginning.length)
        own = len(questions)
        device = self.model.frequencies.device
        ids = [token for question in questions for token in question.ids] + [
            token for question in questions for branch in question.branches for token in branch]
        positions = torch.cat([torch.arange(span.position, span.position + span.stop - span.start) for span in spans]).to(device)
        asked = torch.tensor([span.stop - 1 for span in spans[:own]] + list(range(spans[own - 1].stop, spans[-1].stop)), device=device)
        embed = self.model.model.embed_tokens
        assert embed is not None and self.model.model.norm is not None
        x = embed(torch.tensor(ids, device=device))[None]
        angle = positions[:, None].float() * self.model.frequencies
        cos, sin = angle.cos()[None, None], angle.sin()[None, None]
        keys = torch.arange(beginning.length, device=device)
        seen, first = self.sight(positions, keys), self._first(spans)
        layers: list[KeyValues] = []
        for number, block in enumerate(self.blocks):
            attention = block.self_attn
            normed = block.input_layernorm(x)
            k, v = keys_and_values(attention, normed, cos, sin)
            layers.append((k, v))
            if number == len(self.blocks) - 1:
                x, normed = x[:, asked], normed[:, asked]
                q = queries(attention, normed, cos[:, :, asked], sin[:, :, asked])
                parts, seen = self._sparse(q, k, v, spans, own, positions, asked), self.sight(positions[asked], keys)
            else:
                q = queries(attention, normed, cos, sin)
                parts = self._dense(q, k, v, spans, own, positions, first)
            if beginning.length:
                parts.append(mix(q, *beginning.layers[number], seen))
            x = finished(block, x, parts)
        hidden: Tensor = self.model.model.norm(x)[0]
        return hidden, layers

    def sight(self, at: Tensor, keys: Tensor) -> Tensor | None:
        """Which of some earlier positions each position sees, [1, 1, positions, keys]; None for all of them."""
        if self.window is None or not len(keys) or int(at.max()) - int(keys.min()) < self.window:
            return None
        return (at[:, None] - keys < self.window)[None, None]

    def _first(self, spans: list[_Span]) -> Tensor:
        """The first packed position that each sees of its own span: [1, positions]."""
        first = torch.cat([torch.full((span.stop - span.start,), span.start) for span in spans])
        if self.window is not None:
            first = torch.maximum(first, torch.arange(len(first)) - self.window + 1)
        return first[None]

    def _dense(self, q: Tensor, k: Tensor, v: Tensor, spans: list[_Span], own: int, positions: Tensor, first: Tensor) -> list[Mixed]:
        """Every position over its own span, and positions of branches over their question too."""
        if q.device.type == "cpu":
            parts = [Mixed(*torch.ops.medloom.document_attention(q, k, v, first))]
        else:
            each = [mix(q[:, :, s.start:s.stop], k[:, :, s.start:s.stop], v[:, :, s.start:s.stop], self._causal(positions[s.start:s.stop]))
                    for s in spans]
            parts = [Mixed(torch.cat([part.out for part in each], 2), torch.cat([part.sums for part in each], 2))]
        if len(spans) > own:
            parts.append(self._over_questions(q, k, v, spans, own, positions, torch.arange(q.shape[2], device=q.device)))
        return parts

    def _over_questions(self, q: Tensor, k: Tensor, v: Tensor, spans: list[_Span], own: int, positions: Tensor, at: Tensor) -> Mixed:
        """Branches over the questions that they follow. `at` are the packed positions of the queries; others than branches' see nothing."""
        out, sums = torch.zeros_like(q), q.new_full(q.shape[:3], -torch.inf)
        offset = len(at) - (spans[-1].stop - spans[own - 1].stop)  # of the first branch among the queries
        for question, first, stop in _branches(spans, own):
            mine = slice(offset + first - spans[own - 1].stop, offset + stop - spans[own - 1].stop)
            keys = slice(question.start, question.stop)
            part = mix(q[:, :, mine], k[:, :, keys], v[:, :, keys], self.sight(positions[first:stop], positions[keys]))
            out[:, :, mine], sums[:, :, mine] = part.out, part.sums
        return Mixed(out, sums)

    def _sparse(self, q: Tensor, k: Tensor, v: Tensor, spans: list[_Span], own: int, positions: Tensor, asked: Tensor) -> list[Mixed]:
        """`_dense` for the asked positions alone: one of each question, all of the branches."""
        parts = []
        place = 0
        for number, span in enumerate(spans):
            size = 1 if number < own else span.stop - span.start
            keys = slice(span.start, span.stop)
            at = positions[span.stop - size:span.stop]
            mask = self.sight(at, positions[keys]) if size == 1 else self._causal(at)
            parts.append(mix(q[:, :, place:place + size], k[:, :, keys], v[:, :, keys], mask))
            place += size
        found = [Mixed(torch.cat([part.out for part in parts], 2), torch.cat([part.sums for part in parts], 2))]
        if len(spans) > own:
            found.append(self._over_questions(q, k, v, spans, own, positions, asked))
        return found

    def _causal(self, at: Tensor) -> Tensor:
        back = at[:, None] - at
        return ((back >= 0) if self.window is None else (back >= 0) & (back < self.window))[None, None]


def finished(block: Block, x: Tensor, parts: Sequence[Mixed]) -> Tensor:
    """A layer's output, from its input and what its attention found in several places."""
    x = x + block.self_attn.o_proj(joined(parts).transpose(1, 2).flatten(2))
    out: Tensor = x + block.mlp(block.post_attention_layernorm(x))
    return out


def queries(attention: Attention, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotated queries of hidden states [batch, length, hidden_size]: [batch, heads, length, head_size]."""
    q = attention.q_proj(x).unflatten(-1, (-1, attention.head_size)).transpose(1, 2)
    return rotate(attention.q_norm(q) if attention.q_norm is not None else q, cos, sin)


def keys_and_values(attention: Attention, x: Tensor, cos: Tensor, sin: Tensor) -> KeyValues:
    """Rotated keys, and values, of hidden states [batch, length, hidden_size]: [batch, kv_heads, length, head_size] each."""
    k, v = (project(x).unflatten(-1, (-1, attention.head_size)).transpose(1, 2) for project in (attention.k_proj, attention.v_proj))
    return rotate(attention.k_norm(k) if attention.k_norm is not None else k, cos, sin), v


def _laid(questions: Sequence[Question], beginning: int) -> list[_Span]:
    """Where everything lies: the questions first, then all their branches."""
    spans: list[_Span] = []
    place = 0
    for number, question in enumerate(questions):
        spans.append(_Span(place, place + len(question.ids), beginning, number))
        place += len(question.ids)
    for number, question in enumerate(questions):
        for branch in question.branches:
            spans.append(_Span(place, place + len(branch), beginning + len(question.ids), number))
            place += len(branch)
    return spans


def _branches(spans: list[_Span], own: int) -> list[tuple[_Span, int, int]]:
    """Each question that has branches, and the packed positions that these take together."""
    found: dict[int, tuple[int, int]] = {}
    for span in spans[own:]:
        first, _ = found.get(span.question, (span.start, 0))
        found[span.question] = first, span.stop
    return [(spans[number], first, stop) for number, (first, stop) in found.items()]

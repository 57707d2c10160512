"""Whether two model folders hold the same model: configuration, tokenizer, every tensor, and the scores that both give.

Tensors are read block by block, and the network is run layer by layer, so that neither model has to fit in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..ledger import Progress, Refusal, Silent
from ..ledger.files import read_json, sha256_json
from .by_layer import run_by_layer
from .config import ModelConfig
from .sentencepiece_file import CONTROL, UNKNOWN, read_pieces
from .stored import Stored
from .tokenizer import load_tokenizer
from .weights import TABLES, is_redundant, load_model

BLOCK = 1 << 20  # numbers compared at a time
ROWS, LENGTH = 3, 64  # fixed sequences of tokens that both networks read
ALIKE = 1e-4  # of scores computed in float32, as the network is held against transformers'
BROKEN = 1e30  # stands for a difference that is no finite number


@dataclass(frozen=True)
class Difference:
    """Two tensors of one name. `relative`: the norm of their difference over that of the first. `beyond`: how many numbers differ by
    more than rounding explains. Of tables of other lengths the common rows are compared; other shapes that differ give no figures."""

    name: str
    kind: str
    same: bool
    max_abs: float | None = None
    relative: float | None = None
    beyond: int | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Verification:
    """What was found. `config`, `tokenizer`: what differs, A's and B's. `tensors`: all that both have, furthest apart first."""

    config: dict[str, tuple[Any, Any]]
    tokenizer: tuple[str | None, str | None] | None
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    tensors: tuple[Difference, ...]
    scores: float | None
    scores_allowed: float | None
    argmax_agreement: float | None

    @property
    def same(self) -> bool:
        """Whether the two are one model, as far as the dtypes can tell."""
        agree = self.scores is not None and self.scores_allowed is not None and self.scores <= self.scores_allowed
        return agree and not (self.config or self.tokenizer or self.only_a or self.only_b) and all(found.same for found in self.tensors)


def verify_weights(a: Path, b: Path, progress: Progress | None = None) -> Verification:
    """Hold folder `b` against folder `a`.

    Numbers of one dtype are the same where they are equal; of two dtypes, where rounding to the coarser explains the difference.
    Scores, computed in float32, are the same within 1e-4, and where numbers were rounded to a dtype of relative spacing e, within
    4 e of the greatest score. Raises Refusal for a folder that holds no model of the family, or broken files.
    """
    configs = ModelConfig.from_folder(a), ModelConfig.from_folder(b)
    fields = asdict(configs[0]), asdict(configs[1])
    tokenizers = _tokenizer(a), _tokenizer(b)
    with Stored(a) as first, Stored(b) as second:
        names = [[name for name in stored.shapes if not is_redundant(name, stored, config)]
                 for stored, config in zip((first, second), configs, strict=True)]
        common = [name for name in names[0] if name in second.shapes]
        only_a, only_b = (tuple(sorted({*own} - {*other})) for own, other in (names, reversed(names)))
        found, coarsest = [], 0.0
        with (progress or Silent()).task("compare", len(common), "tensors") as task:
            for name in common:
                found.append(_compare(name, first, second, configs[0]))
                coarsest = max(coarsest, _rounding(name, first, second)[0])
                task.advance(1)
    scores = None if only_a or only_b else _scores(a, b, *configs)
    return Verification(
        config={key: (fields[0][key], fields[1][key]) for key in fields[0] if fields[0][key] != fields[1][key]},
        tokenizer=None if tokenizers[0] == tokenizers[1] else tokenizers,
        only_a=only_a, only_b=only_b,
        tensors=tuple(sorted(found, key=lambda each: (each.same, -(BROKEN if each.relative is None else each.relative), each.name))),
        scores=None if scores is None else scores[0],
        scores_allowed=None if scores is None else ALIKE + 8 * coarsest * scores[2],
        argmax_agreement=None if scores is None else scores[1],
    )


def _tokenizer(folder: Path) -> str | None:
    """A digest of all that decides ids, however its files are laid out: programs write one tokenizer in many ways."""
    try:
        tokenizer = load_tokenizer(folder)
    except Refusal:
        return None
    added = [[token.text, token.id, token.mark, token.loose] for token in tokenizer.added_tokens]
    habits = [added, tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos, tokenizer.document_end_id]
    if tokenizer.is_sentencepiece:
        model = read_pieces(tokenizer.path)
        pieces = [[piece.text, piece.kind, 0 if piece.kind in (UNKNOWN, CONTROL) else piece.score] for piece in model.pieces]
        return sha256_json([pieces, asdict(replace(model, pieces=())), habits])
    if tokenizer.path.suffix != ".json":
        return tokenizer.digest
    content = read_json(tokenizer.path)
    rules = content["model"] | {"merges": [merge.split(" ") if isinstance(merge, str) else merge for merge in content["model"]["merges"]]}
    kept = {key: value for key, value in rules.items() if value not in (None, False, "")}  # what is not said is the default
    return sha256_json([kept, content.get("normalizer"), content.get("pre_tokenizer"), habits])


def _rounding(name: str, first: Stored, second: Stored) -> tuple[float, float]:
    """What rounding one tensor to the dtype of the other may change: a share of the number, and where that is less, so much."""
    dtypes = {first.dtype(name), second.dtype(name)}
    if len(dtypes) == 1:
        return 0.0, 0.0
    about = [torch.finfo(dtype) for dtype in dtypes if dtype.is_floating_point]
    return max((info.eps / 2 for info in about), default=0.0), max((info.smallest_normal * info.eps for info in about), default=0.0)


def _compare(name: str, first: Stored, second: Stored, config: ModelConfig) -> Difference:
    kinds = [f"{str(each.dtype(name)).removeprefix('torch.')} {list(each.shapes[name])}" for each in (first, second)]
    kind = kinds[0] if kinds[0] == kinds[1] else " / ".join(kinds)
    one, other = first.shapes[name], second.shapes[name]
    if one != other and not (name in TABLES and one[1:] == other[1:]):
        return Difference(name, kind, same=False, hint="transposed" if one == other[::-1] else None)
    share, floor = _rounding(name, first, second)
    count = min(one[0], other[0])
    largest, squares, norm, beyond, lowest = 0.0, 0.0, 0.0, 0, count
    for rows in _blocks((count, *one[1:])):
        x, y = first.read(name, rows).double(), second.read(name, rows).double()
        apart = (x - y).abs().nan_to_num(BROKEN, BROKEN)
        apart[(x == y) | (x.isnan() & y.isnan())] = 0
        far = apart > (share * torch.maximum(x.abs(), y.abs())).nan_to_num(0, 0).clamp(min=floor)
        largest = max(largest, float(apart.max()))
        squares, norm = squares + float(apart.square().sum()), norm + float(x.nan_to_num(0, 0, 0).square().sum())
        if bool(far.any()):
            lowest = min(lowest, rows.start + int(far.nonzero()[0, 0]))
            beyond += int(far.sum())
    hint = _hint(name, first, second, config, lowest) if beyond else None
    if one != other:
        more = other[0] - one[0]
        hint = f"{'B' if more > 0 else 'A'} has {abs(more)} more rows: padding that was left in, or added tokens"
    relative = (squares / norm) ** 0.5 if norm else float(squares > 0)
    return Difference(name, kind, one == other and not beyond, largest, relative, beyond, hint)


def _hint(name: str, first: Stored, second: Stored, config: ModelConfig, lowest: int) -> str | None:
    """What a converter may have done, where it explains the whole difference."""
    if name in TABLES:
        return f"only rows from {lowest} on differ: padding, or added tokens" if lowest else None
    share, floor = _rounding(name, first, second)

    def alike(tensor: Tensor, other: Tensor) -> bool:
        return tensor.shape == other.shape and torch.allclose(tensor, other, rtol=share, atol=floor)

    one, other = first.read(name).float(), second.read(name).float()
    if one.dim() == 2 and alike(one.T, other):
        return "transposed"
    heads = config.heads if ".q_proj." in name else config.kv_heads if ".k_proj." in name else 0
    if heads and one.shape[0] == heads * config.head_size:
        for halves, pairs, which in ((one, other, "B"), (other, one, "A")):
            # Hugging Face rotates halves of a head; Meta's and llama.cpp's files hold neighbours.
            if alike(halves.view(heads, 2, -1, *one.shape[1:]).transpose(1, 2).reshape(one.shape), pairs):
                return f"{which} has its rows in rotary pairs, as Meta's files have: they must be permuted"
    return None


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(BLOCK // max(torch.Size(shape[1:]).numel(), 1), 1)
    for begin in range(0, shape[0], step):
        yield slice(begin, min(begin + step, shape[0]))


def _scores(a: Path, b: Path, first: ModelConfig, second: ModelConfig) -> tuple[float, float, float] | None:
    """Greatest difference of a score, share of positions with the same likeliest token, greatest score; None where one cannot be run."""
    vocabulary = min(first.vocab_size, second.vocab_size)
    length = min(LENGTH, first.max_positions, second.max_positions)
    tokens = torch.randint(vocabulary, (ROWS, length), generator=torch.Generator().manual_seed(0))
    try:
        one, other = (_run(folder, config, tokens)[..., :vocabulary] for folder, config in ((a, first), (b, second)))
    except Refusal:
        return None
    agreement = float((one.argmax(-1) == other.argmax(-1)).double().mean())
    return float((one - other).abs().nan_to_num(BROKEN, BROKEN).max()), agreement, float(one.nan_to_num(0, 0, 0).abs().max())


@torch.inference_mode()
def _run(folder: Path, config: ModelConfig, tokens: Tensor) -> Tensor:
    """Scores of every position, with one layer of the network in memory at a time."""
    hidden, last = run_by_layer(config, lambda part: load_model(folder, part=part), tokens)
    return last.logits(hidden)


def describe(found: Verification, listed: int = 8) -> str:
    """A short account of what was found, for people: the worst tensors by name, then the scores, then the answer."""
    lines = [f"config     {key}: {one} / {other}" for key, (one, other) in found.config.items()]
    if found.tokenizer is not None:
        lines.append("tokenizer  " + " / ".join("none" if digest is None else digest[:12] for digest in found.tokenizer))
    for which, names in (("A", found.only_a), ("B", found.only_b)):
        if names:
            lines.append(f"only in {which}  {', '.join(names[:listed])}" + _more(names, listed))
    apart = [each for each in found.tensors if not each.same]
    if apart:
        width = max(len(each.name) for each in apart[:listed])
        lines.append(f"{'tensor':<{width}}  {'max abs':>9}  {'relative':>9}  {'beyond':>9}  dtype and shape")
        for each in apart[:listed]:
            figures = [f"{'-':>9}"] * 3
            if each.max_abs is not None:
                figures = [f"{each.max_abs:9.2e}", f"{each.relative:9.2e}", f"{each.beyond:9d}"]
            lines.append("  ".join([f"{each.name:<{width}}", *figures, each.kind]))
        lines += [_more(apart, listed).strip()] if len(apart) > listed else []
        hints = Counter(each.hint for each in apart if each.hint)
        lines += [f"{count} of them: {hint}" for hint, count in hints.items()]
    rounded = sum(1 for each in found.tensors if each.same and each.max_abs)
    exact = len(found.tensors) - len(apart) - rounded
    lines.append(f"{len(found.tensors)} tensors in both: {exact} equal, {rounded} equal but for rounding, {len(apart)} different")
    if found.scores is not None and found.argmax_agreement is not None:
        lines.append(f"scores apart by {found.scores:.2e} at most ({found.scores_allowed:.2e} allowed), "
                     f"{found.argmax_agreement:.1%} of positions with the same likeliest token")
    return "\n".join([*lines, "the same model" if found.same else "not the same model"])


def _more(listing: Sequence[Any], listed: int) -> str:
    return f" and {len(listing) - listed} more" if len(listing) > listed else ""

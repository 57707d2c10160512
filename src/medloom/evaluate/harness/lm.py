"""Our engines as a model of lm-eval, registered as `medloom`: any of its tasks, scored by what computes shared beginnings once.

Prompts are cut as lm-eval's own `hf` model cuts them, context and continuation as one text, and cut from the left where they do not fit,
so that the numbers are that model's. Needs lm-eval (`pip install medloom[lm-eval]`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from ...ledger import Refusal
from ..engines import Engine, Sampling

LEAST = 64  # tokens: a shorter beginning is not worth being computed apart
FEWEST = 4  # prompts
TOKENS = 256  # what a task may generate where it does not say

Pair = tuple[tuple[int, ...], tuple[int, ...]]


@register_model("medloom")
class MedloomLM(TemplateLM):
    """A model folder or GGUF file in `pretrained`, a server at `url`, or an engine that is there already.

    `tokenizer` is the folder whose tokenizer cuts texts for a GGUF file or a server; theirs do where it is not given. Whether a text is
    what the model would write greedily costs a generation, so that it is found out only for requests that stand alone (as LAMBADA's do)
    and never for one of several options, unless `greedy` is "always"; without it those are told as False.
    """

    def __init__(self, pretrained: str | None = None, url: str | None = None, model: str | None = None, tokenizer: str | None = None,
                 batch_size: int | str = 16, device: str | None = None, greedy: str = "alone", engine: Engine | None = None,
                 max_batch_size: int | None = None, **others: Any) -> None:
        super().__init__()
        if others:
            raise Refusal(f"the model medloom takes no {', '.join(sorted(others))}; it takes pretrained, url, model, tokenizer, greedy")
        if greedy not in ("alone", "always"):
            raise Refusal(f"greedy is {greedy!r}; it is alone or always")
        if not str(batch_size).isdigit() or int(batch_size) < 1:
            raise Refusal(f"batch_size is {batch_size!r}; give a number, for what fits is not found out here")
        self._greedy_always = greedy == "always"
        self._engine = engine if engine is not None else _engine(pretrained, url, model, tokenizer, int(batch_size), device)
        named = tokenizer or (pretrained if pretrained is not None and Path(pretrained).is_dir() else None)
        self._opening = self._engine.encode([""])[0]
        self._prefix, self._end = _marks(named, self._opening)
        # Our own network reads the context alone; what is beside it must also hold the token that it writes.
        self._room = self._engine.context + (url is None and Path(pretrained or ".").is_dir())

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return self.prefix_token_id if self._end is None else self._end

    @property
    def prefix_token_id(self) -> int:
        """The token that stands before a text without a context."""
        if self._prefix is None:
            raise Refusal("this model's tokenizer has no beginning token, and lm-eval asks for a text without a context; name a tokenizer "
                          "folder that says its bos_token or eos_token")
        return self._prefix

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Ids, with the beginning token where that is the tokenizer's habit."""
        ids = self._engine.encode([string])[0]
        return ids[len(self._opening):] if add_special_tokens is False else ids

    def apply_chat_template(self, chat_history: Sequence[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Always refused: a template's control tokens would be read as plain text."""
        raise Refusal("the model medloom asks in plain text; leave --apply_chat_template out, or take lm-eval's model hf")

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """For each (context, continuation) its log-probability, and whether the model would write it greedily (see the class)."""
        asked = Counter((request.task_name, request.doc_id) for request in requests)
        self._alone = [self._greedy_always or asked[request.task_name, request.doc_id] == 1 for request in requests]
        found: list[tuple[float, bool]] = super().loglikelihood(list(requests), disable_tqdm=disable_tqdm)
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood", request.args, value)
        return found

    def _loglikelihood_tokens(self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any) -> list[tuple[float, bool]]:
        pairs = [self._cut(context, continuation) for _, context, continuation in requests]
        scores = self._scores(pairs)
        greedy = self._greedy([pair for pair, alone in zip(pairs, self._alone, strict=True) if alone])
        return [(scores[pair], pair in greedy) for pair in pairs]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """For each text the log-probability of all of it, in windows of the whole context."""
        windows = [[self._cut(*make_disjoint_window(window)) for window in get_rolling_token_windows(
            self.tok_encode(request.args[0]), prefix_token=self.prefix_token_id, max_seq_len=self._room - 1, context_len=1)]
            for request in requests]
        scores = self._scores([pair for row in windows for pair in row])
        found = [sum(scores[pair] for pair in row) for row in windows]
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, value)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """For each (context, settings) what the model writes; the n-th of equal requests is drawn with seed n."""
        repeats: Counter[tuple[str, str]] = Counter()
        groups: dict[Sampling, list[tuple[int, tuple[int, ...], int]]] = defaultdict(list)
        for number, request in enumerate(requests):
            context, settings = request.args
            sampling = _sampling(settings)
            if sampling.tokens >= self._engine.context:
                raise Refusal(f"{request.task_name}: generates {sampling.tokens} tokens, and the model takes {self._engine.context} with "
                              "the prompt; lower it: --gen_kwargs max_gen_toks=N")
            prompt = tuple(self.tok_encode(context)[-(self._engine.context - sampling.tokens):])
            groups[sampling].append((number, prompt, repeats[context, str(settings)]))
            repeats[context, str(settings)] += 1
        found = [""] * len(requests)
        for sampling, members in groups.items():
            seeds: dict[tuple[int, ...], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
            for number, prompt, seed in members:
                seeds[prompt][seed].append(number)
            for shared, prompts in self._batches(list(seeds)):
                written = self._engine.generate(prompts, [list(seeds[prompt]) for prompt in prompts], sampling, shared)
                for prompt, row in zip(prompts, written, strict=True):
                    for numbers, one in zip(seeds[prompt].values(), row, strict=True):
                        for number in numbers:
                            found[number] = one.text
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("generate_until", request.args, value)
        return found

    def _cut(self, context: Sequence[int], continuation: Sequence[int]) -> Pair:
        """What of a context fits before its continuation: its last tokens, one at least."""
        keep = self._room - len(continuation)
        if keep < 1:
            raise Refusal(f"a continuation has {len(continuation)} tokens, and the model takes {self._engine.context}; leave the task out")
        return tuple(context[-keep:]), tuple(continuation)

    def _scores(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        """The log-probability of every continuation; each context is computed once, and what contexts share once for all."""
        branches: dict[tuple[int, ...], dict[tuple[int, ...], None]] = defaultdict(dict)
        for context, continuation in pairs:
            branches[context][continuation] = None
        found: dict[Pair, float] = {}
        for shared, prompts in self._batches(list(branches)):
            rows = [list(branches[prompt]) for prompt in prompts]
            if all(len(branch) == 1 for row in rows for branch in row):
                values = self._engine.next_token_logprobs(prompts, [[token for (token,) in row] for row in rows], shared)
            else:
                values = self._engine.text_logprobs(prompts, rows, shared)
            found |= {(prompt, branch): value for prompt, row, own in zip(prompts, rows, values, strict=True)
                      for branch, value in zip(row, own, strict=True)}
        return found

    def _greedy(self, pairs: Sequence[Pair]) -> set[Pair]:
        """Those pairs whose continuation the model would write greedily: the first token of each, and of those the rest."""
        found = set(pairs)
        for tokens in (1, max((len(continuation) for _, continuation in pairs), default=1)):
            wanted = {context for context, continuation in found if len(continuation) > 1 or tokens == 1}
            for shared, prompts in self._batches(sorted(wanted)):
                written = self._engine.generate(prompts, [[0]] * len(prompts), Sampling(tokens=tokens), shared)
                begun = {prompt: row[0].ids for prompt, row in zip(prompts, written, strict=True)}
                found -= {(context, continuation) for context, continuation in found
                          if context in begun and begun[context][:len(continuation)] != continuation[:tokens]}
        return found

    def _batches(self, prompts: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
        """Prompts that begin alike, longest first, `batch` at a time, with the number of first tokens that they share."""
        apart: list[tuple[int, ...]] = []
        for shared, members in _families(sorted(prompts)):
            if len(members) < FEWEST or shared < LEAST:
                apart += members
            else:
                yield from self._cuts(shared, members)
        yield from self._cuts(0, apart)

    def _cuts(self, shared: int, members: list[tuple[int, ...]]) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
        members = sorted(members, key=lambda prompt: (-len(prompt), prompt))
        for start in range(0, len(members), self._engine.batch):
            yield shared, members[start:start + self._engine.batch]


def _families(prompts: Sequence[tuple[int, ...]]) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
    """Neighbours of a sorted list that share a beginning; a new family begins where less than half of the last one's is shared."""
    family: list[tuple[int, ...]] = []
    shared = 0
    for prompt in prompts:
        common = _common(family[0], prompt) if family else 0
        if family and (common < LEAST or (len(family) > 1 and 2 * common < shared)):
            yield shared, family
            family = []
        shared = common if family else 0
        family.append(prompt)
    if family:
        yield shared, family


def _common(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """How many first tokens two prompts share, always leaving one of each."""
    most = min(len(one), len(other)) - 1
    return next((i for i in range(most) if one[i] != other[i]), most)


def _engine(pretrained: str | None, url: str | None, model: str | None, tokenizer: str | None, batch: int, device: str | None) -> Engine:
    if (pretrained is None) == (url is None):
        raise Refusal("give either pretrained=FOLDER (or a .gguf file) or url=http://HOST:PORT")
    cutter = None if tokenizer is None else Path(tokenizer)
    engine: Any
    if url is not None:
        from ..engines import ServerEngine

        engine = ServerEngine(url, model, tokenizer=cutter, batch=batch)
    elif Path(str(pretrained)).suffix == ".gguf":
        from ..engines import GGUFEngine

        engine = GGUFEngine(Path(str(pretrained)), tokenizer=cutter, batch=batch)
    else:
        from ..engines import TorchEngine

        engine = TorchEngine(Path(str(pretrained)), device or "auto", batch)
    found: Engine = engine
    return found


def _marks(folder: str | None, opening: Sequence[int]) -> tuple[int | None, int | None]:
    """The token that stands before a text without a context, and the one that ends a text."""
    if folder is None:
        return (opening[-1] if opening else None), None
    from ...model import load_tokenizer

    own = load_tokenizer(Path(folder))
    return (own.eos_id if own.bos_id is None else own.bos_id), own.eos_id


def _sampling(settings: dict[str, Any]) -> Sampling:
    """A task's settings. Raises Refusal for one that is not understood: an answer that was made otherwise would be worse than none."""
    known = dict(normalize_gen_kwargs(settings, TOKENS))
    sampling = Sampling(tokens=int(known.pop("max_gen_toks")), temperature=float(known.pop("temperature", 0.0)),
                        stop=tuple(text for text in known.pop("until", ()) if text))
    known.pop("do_sample", None)
    if any(known.get(name) not in (None, neutral) for name, neutral in (("top_p", 1.0), ("top_k", 0))) or set(known) - {"top_p", "top_k"}:
        raise Refusal(f"the task asks for {', '.join(sorted(known))} in generation, which the model medloom does not know")
    return sampling

"""A served model's confidence on questions whose answers are known, and the threshold below which it had better not answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from pydantic import ValidationError

from .evaluate import Item, message, read_benchmark
from .ledger import Progress, Refusal
from .ledger.files import atomic
from .numbers import percent, probability
from .recipe import Benchmark
from .serve import Offer, Settings, opened
from .serve import ask as ask_model
from .serve.abstention import Calibration, Decision, decide, options_of, refuse_too_few, threshold_for

if TYPE_CHECKING:
    from rich.table import Table

KINDS = get_args(Benchmark.model_fields["kind"].annotation)
# A question and its labels to the probability of each; None where the model cannot take the question.
Ask = Callable[[str, Sequence[str]], Awaitable[Mapping[str, float] | None]]


@dataclass(frozen=True)
class Question:
    """What is asked, the labels that its answer is one of, and the right one."""

    text: str
    labels: tuple[str, ...]
    right: str


@dataclass(frozen=True)
class Asked:
    """A model's answers to the questions that it could take: how sure it was of each, whether it was right, what it chose from."""

    confidences: tuple[float, ...]
    right: tuple[bool, ...]
    forms: tuple[str, ...]

    def share(self, threshold: float) -> tuple[float, float]:
        """The shares of all questions that are answered at a threshold, and that are answered wrongly."""
        answered = [right for confidence, right in zip(self.confidences, self.right, strict=True) if confidence >= threshold]
        return len(answered) / len(self.right), answered.count(False) / len(self.right)


@dataclass(frozen=True)
class Questions:
    """What is asked. `left_out` counts those whose options a server cannot tell; `sha256` is of all that the file holds."""

    asked: tuple[Question, ...]
    left_out: int
    sha256: str


def read_questions(path: Path, kind: str, part: str | None = None, limit: int | None = None) -> Questions:
    """A benchmark's test questions as a chat is asked them. Raises Refusal as the benchmark's reader does, and where none is left."""
    try:
        settings = Benchmark.model_validate({"name": "calibration", "kind": kind, "path": str(path), "part": part, "limit": limit})
    except ValidationError:
        raise Refusal(f"--kind {kind}: there is no such benchmark; take {', '.join(KINDS)}") from None
    benchmark = read_benchmark(settings, path)
    asked = tuple(question for item in benchmark.items if (question := _question(item)) is not None)
    if not asked:
        raise Refusal(f"{path}: holds no question with listed options, or to be answered yes or no (docs/abstention.md)")
    assert benchmark.integrity is not None
    return Questions(asked, len(benchmark.items) - len(asked), benchmark.integrity["digest"])


def _question(item: Item) -> Question | None:
    text = message(item)
    labels = options_of(text)
    if labels is None or len(labels) != len(item.options) or not (item.lettered or labels == item.options):
        return None
    return Question(text, labels, labels[item.answer])


async def ask_all(questions: Questions, ask: Ask, progress: Progress, at_once: int = 1) -> Asked:
    """Put every question, `at_once` of them at a time."""
    room = asyncio.Semaphore(at_once)

    async def one(question: Question) -> Decision | None:
        async with room:
            shares = await ask(question.text, question.labels)
            task.advance()
            return None if shares is None else decide(shares, 0.0)

    with progress.task("calibrate", len(questions.asked), "questions") as task:
        decisions = await asyncio.gather(*map(one, questions.asked))
    answers = [(decision, question) for decision, question in zip(decisions, questions.asked, strict=True) if decision is not None]
    return Asked(tuple(decision.confidence for decision, _ in answers),
                 tuple(decision.answer == question.right for decision, question in answers),
                 tuple(" ".join(question.labels) for _, question in answers))


def calibration(asked: Asked, questions: Questions, risk: float, *, model: str, sha256: str | None, template: str) -> Calibration:
    """The threshold for a risk, and what it comes to on the questions that it was found with. Raises Refusal where they are too few."""
    threshold = threshold_for(asked.confidences, asked.right, risk)
    answered, wrong = asked.share(threshold)
    count = len(asked.right)
    return Calibration(
        model=model, sha256=sha256, template=template, risk=risk, threshold=threshold, questions=count, answered=answered,
        accuracy=1 - wrong / answered if answered else None, wrong=wrong, left_out=questions.left_out + len(questions.asked) - count,
        forms=dict(Counter(asked.forms).most_common()), questions_sha256=questions.sha256, date=time.strftime("%Y-%m-%d", time.gmtime()),
        medloom=version("medloom"))


def calibrate(offer: Offer, settings: Settings, questions: Questions, risk: float, progress: Progress) -> tuple[Calibration, Asked]:
    """Open a model, ask it as it would be served, and close it. Raises Refusal for a model that cannot be, and for too few questions."""
    refuse_too_few(len(questions.asked), risk)  # before the model is asked all of them
    with opened(offer, settings) as model:
        asked = asyncio.run(ask_all(questions, partial(ask_model, model), progress, settings.slots))
        return calibration(asked, questions, risk, model=model.name, sha256=model.facts.get("sha256"), template=model.template.name), asked


def caution(asked: Asked) -> str | None:
    """What to say of a model that is not shown to be surer where it is right: it keeps a risk by silence alone.

    By the test of Mann and Whitney (1947), one-sided, at 0.05, of the confidences of right answers against those of wrong ones.
    """
    from scipy.stats import mannwhitneyu

    right, wrong = ([one for one, each in zip(asked.confidences, asked.right, strict=True) if each is which] for which in (True, False))
    if not wrong:
        return None
    p = float(mannwhitneyu(right, wrong, alternative="greater").pvalue) if right else 1.0
    if p < 0.05:
        return None
    return (f"It is not shown that this model is surer where it is right (p = {probability(p)}): it keeps the risk by answering little, "
            "and what it answers need not be better for it.")


def calibration_table(found: Calibration, asked: Asked) -> Table:
    """What is answered with the threshold and without one."""
    from rich.table import Table

    table = Table("threshold", "answered", "right when answered", "wrong of all asked", "risk", title=f"{found.questions:,} questions")
    _, wrong = asked.share(0.0)
    table.add_row("none", percent(1.0), percent(1 - wrong), percent(wrong), "")
    table.add_row(f"{found.threshold:.6f}", percent(found.answered), percent(found.accuracy) or "none", percent(found.wrong),
                  percent(found.risk))
    return table


def draw_calibration(found: Calibration, asked: Asked, path: Path) -> None:
    """Write an SVG: how often answers are wrong, for every share of the questions that is answered. The same answers, the same bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    shares = [asked.share(threshold) for threshold in sorted(set(asked.confidences), reverse=True)]
    answered = [100 * share for share, _ in shares]
    with rc_context({"svg.hashsalt": "medloom", "svg.fonttype": "none"}), atomic(path) as temporary:
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.plot(answered, [100 * wrong / share for share, wrong in shares], color="#1b7f5c", label="of the answered")
        axes.plot(answered, [100 * wrong for _, wrong in shares], color="#b03a2e", label="of all asked")
        axes.axhline(100 * found.risk, color="#444444", linestyle="dashed", linewidth=1, label=f"risk, {percent(found.risk)}")
        axes.plot([100 * found.answered], [100 * found.wrong], "o", color="#b03a2e", label=f"threshold {found.threshold:.3f}")
        axes.set(xlim=(0, 100), ylim=(0, None), xlabel=f"answered, % of {found.questions:,} questions", ylabel="wrong, %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})

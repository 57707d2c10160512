"""A model as it is served: an engine, the form its conversations take, the queue before it, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medloom.notice import NOTICE

from .abstention import Calibration, Decision, abstention, chances, decide, options_of
from .admission import Admission
from .engines import Ask, Engine, Piece, Turn, Unable
from .engines.control import guarded
from .templates import FILE, SERVER, Template

LIKELIEST = 256  # next tokens that are looked at for an answer's label


class Model:
    """One model under the name that clients call it by.

    facts: its name, file, bytes and sha256, as far as they are known; calibration: below which confidence it abstains, None where it always
    answers; queue: how many requests may wait for a slot, patience: for how many
    seconds.
    """

    def __init__(self, name: str, engine: Engine, template: Template, facts: dict[str, Any], *,
                 calibration: Calibration | None = None, queue: int = 16, patience: float = 60.0) -> None:
        self.name, self.engine, self.template, self.facts = name, engine, template, facts
        self.calibration = calibration
        self.admission = Admission(engine.slots, queue, patience)
        self._created = int(time.time())

    @property
    def fingerprint(self) -> str:
        """Which weights and which template make the answers."""
        return f"{(self.facts.get('sha256') or 'unknown')[:12]}-{self.template.name}"

    @property
    def entry(self) -> dict[str, Any]:
        """Its entry in the list of models."""
        template = {"name": self.template.name, "form": self.template.form, "stop": list(self.template.stop), "turns": self.template.turns}
        metadata = {"name": self.name, "file": None, "bytes": None, "sha256": None, **self.facts, "engine": self.engine.kind,
                    "context": self.engine.context, "slots": self.engine.slots, "template": template, "embeddings": self.engine.embeds,
                    "abstention": self.calibration.facts() if self.calibration else None, "notice": NOTICE}
        return {"id": self.name, "object": "model", "created": self._created, "owned_by": "medloom", "metadata": metadata}

    def prompt(self, turns: Sequence[Turn]) -> str | Sequence[Turn]:
        """What the engine is to go on from. Raises ValueError for a conversation that the template cannot take."""
        # What a message spells is text, even where it spells a control token.
        safe: list[Turn] = [{"role": turn["role"], "content": guarded(turn["content"], self.engine.control)} for turn in turns]
        return safe if self.template in (FILE, SERVER) else self.template.text(safe)

    async def decide(self, turns: Sequence[Turn]) -> tuple[Decision, Piece] | None:
        """What it would answer to the last question of a conversation, and what is said: that answer, or that it abstains.

        The answer is the option alone, for that is what was calibrated. None where the model is not calibrated or the question is another
        kind. Raises as `chances` does.
        """
        labels = options_of(turns[-1]["content"]) if self.calibration is not None else None
        if labels is None or self.calibration is None:
            return None
        asked = await self._first_token(turns)
        decision = decide(chances(_top(asked), labels), self.calibration.threshold)
        return decision, replace(asked, text=abstention(decision) if decision.abstained else decision.answer, tokens=(), reason="stop")

    async def chances(self, turns: Sequence[Turn], labels: Sequence[str]) -> dict[str, float]:
        """The probability of each label as the answer to the last question of a conversation.

        Raises what the engine raises, Unable where it tells no log-probabilities, and ValueError as `prompt` does.
        """
        return chances(_top(await self._first_token(turns)), labels)

    async def _first_token(self, turns: Sequence[Turn]) -> Piece:
        piece = await self.engine.whole(Ask(self.prompt(turns), 1, temperature=0, logprobs=min(LIKELIEST, self.engine.told)))
        if not _top(piece):
            raise Unable("the engine tells no log-probabilities, from which a confidence could be made")
        return piece


def _top(piece: Piece) -> dict[str, float]:
    """Log-probabilities of the likeliest first tokens by their text; of tokens with one text, the likelier one's."""
    return {token.text: token.logprob for first in piece.tokens[:1] for token in reversed(first.top) if token.logprob is not None}

"""A model as it is served: an engine, the form its conversations take, the queue before it, and what is told of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from medloom.notice import NOTICE

from .abstention import chances
from .admission import Admission
from .engines import Engine, LlamaCpp, Turn, Unable
from .engines.control import guarded
from .templates import FILE, SERVER, Template

LIKELIEST = 256  # next tokens that are looked at for an answer's label


class Model:
    """One model under the name that clients call it by.

    facts: its name, file, bytes and sha256, as far as they are known; queue: how many requests may wait for a slot, patience: for how many
    seconds.
    """

    def __init__(self, name: str, engine: Engine, template: Template, facts: dict[str, Any], *,
                 queue: int = 16, patience: float = 60.0) -> None:
        self.name, self.engine, self.template, self.facts = name, engine, template, facts
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
                    "abstention": None, "notice": NOTICE}
        return {"id": self.name, "object": "model", "created": self._created, "owned_by": "medloom", "metadata": metadata}

    def prompt(self, turns: Sequence[Turn]) -> str | Sequence[Turn]:
        """What the engine is to go on from. Raises ValueError for a conversation that the template cannot take."""
        # What a message spells is text, even where it spells a control token.
        control = self.engine.control if isinstance(self.engine, LlamaCpp) else ()
        safe: list[Turn] = [{"role": turn["role"], "content": guarded(turn["content"], control)} for turn in turns]
        return safe if self.template in (FILE, SERVER) else self.template.text(safe)

    async def chances(self, question: str, labels: Sequence[str]) -> dict[str, float]:
        """The probability of each label as the answer to a question that stands alone.

        Raises what the engine raises, Unable where it tells no log-probabilities, and ValueError as `prompt` does.
        """
        top = await self.engine.next_token(self.prompt([{"role": "user", "content": question}]), LIKELIEST)
        if not top:
            raise Unable("the engine tells no log-probabilities, from which a confidence could be made")
        return chances(top, labels)

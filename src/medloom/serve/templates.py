"""How a conversation becomes the text that a model goes on from, and where its answer ends.

Wrong forms are the commonest reason for a model that repeats the question. A model that carries a chat template in its file gets that one
("file"), one behind another server that server's own ("server"), and a base model, which knows no turns, the plain form. Any of those below
can be chosen in their place; which one is, is told in /v1/models and with every answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from medloom.ledger import Refusal
from medloom.model.templates import CHATML, LLAMA2, LLAMA3, MEDITRON, MISTRAL, SOURCES

from .engines import Piece, Turn

if TYPE_CHECKING:
    from jinja2 import Template as Jinja

SYSTEM = ("You are an assistant that answers questions about medicine for people who study or practise it. Say what is well established, "
          "name what is uncertain, and say so when you do not know. Do not invent facts or sources. When a question is about a particular "
          "person's health, say what a qualified professional should be asked.")
# One question and its answer, so that a base model sees what is wanted of it.
SHOT: tuple[Turn, Turn] = (
    {"role": "user", "content": "Why should a cut be rinsed before it is covered?"},
    {"role": "assistant", "content":
        "Rinsing a small cut under clean running water carries off dirt and many of the germs in it, which makes an infection less likely. "
        "Soap helps on the skin around the cut, but it irritates the open wound. After rinsing, pat the skin dry and cover the cut with a "
        "clean dressing. A wound that is deep, gapes, keeps bleeding, comes from a bite or holds dirt that does not come out should be "
        "seen by a professional, who will also ask about protection against tetanus."})
# Meditron's deployment (FastChat, branch meditron-deploy): "User" and "Assistant", a colon, "\n### " between. The original's first stop
# string, "<\s>", is a slip for "</s>" and never came.
ROLES = """\
{% for message in messages %}{% if not loop.first %}{{ '\\n### ' }}{% endif %}\
{{ {'system': '', 'user': 'User: ', 'assistant': 'Assistant: '}[message['role']] + message['content'].strip() }}{% endfor %}\
{{ '\\n### Assistant:' }}"""
ROLES_STOP = ("</s>", "###", "Assistant:", "User:")
# The plain form of finetuning, as a text.
PLAIN_STOPS = ("\nQuestion:", "\n\n")


@dataclass(frozen=True)
class Template:
    """A form of conversation.

    source: Jinja, None where the engine lays on a form of its own; stop: what ends an answer besides the model's end token; turns: whether
    earlier turns are sent along, or each question stands alone; trim: whether white space around an answer belongs to the form and not to
    it; system, shots: what stands before a conversation that brings no system text of its own.
    """

    name: str
    source: str | None = None
    stop: tuple[str, ...] = ()
    turns: bool = True
    trim: bool = False
    system: str | None = None
    shots: tuple[Turn, ...] = ()

    @property
    def form(self) -> str:
        """The form, shown on a question."""
        if self.source is None:
            return "the chat template in the model file" if self.name == "file" else "the chat template of the server behind this one"
        return self.text([{"role": "user", "content": "{question}"}])

    def text(self, turns: Sequence[Turn]) -> str:
        """The conversation as one text, open for the assistant. Raises ValueError for one that the form cannot take."""
        from jinja2 import TemplateError

        given = list(turns)
        if self.system is not None and given[0]["role"] != "system":
            given.insert(0, {"role": "system", "content": self.system})
        if self.shots:
            at = int(given[0]["role"] == "system")
            given[at:at] = self.shots
        try:
            return self._jinja.render(messages=given, add_generation_prompt=True, bos_token="", eos_token="</s>")
        except (TemplateError, TypeError, LookupError) as error:
            raise ValueError(f"the template {self.name!r} does not take this conversation: {error}") from None

    @cached_property
    def _jinja(self) -> Jinja:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        assert self.source is not None
        return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(self.source)


FILE, SERVER = Template("file"), Template("server")
PLAIN = Template("plain", SOURCES["plain"], PLAIN_STOPS, turns=False, trim=True)
TEMPLATES = {template.name: template for template in (
    PLAIN,
    Template("meditron-zero-shot", ROLES, ROLES_STOP, trim=True, system=SYSTEM),
    Template("meditron-one-shot", ROLES, ROLES_STOP, trim=True, system=SYSTEM, shots=SHOT),
    Template("meditron", MEDITRON, ("<|im_end|>",), trim=True),  # as its finetuned models were trained
    Template("chatml", CHATML, ("<|im_end|>",), trim=True),
    Template("llama2", LLAMA2, trim=True),
    Template("llama3", LLAMA3, ("<|eot_id|>",), trim=True),
    Template("mistral", MISTRAL, trim=True),
)}


def named_template(name: str) -> Template:
    """One of TEMPLATES. Raises Refusal with the names there are."""
    try:
        return TEMPLATES[name]
    except KeyError:
        raise Refusal(f"--template {name}: no such form; take {', '.join(TEMPLATES)}, or leave it out for the model's own") from None


class Trimmed:
    """Pieces of one answer without the white space around it, which belongs to a base model's form and not to the answer."""

    def __init__(self) -> None:
        self._begun, self._held = False, ""

    def __call__(self, piece: Piece) -> Piece:
        text = self._held + piece.text if self._begun else piece.text.lstrip()
        self._begun = self._begun or bool(text)
        bare = text.rstrip()
        self._held = text[len(bare):]
        return replace(piece, text=bare)

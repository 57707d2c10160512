"""What a client may ask: the fields of OpenAI's completions and chat completions that are honoured here, and no others.

A field that would be silently ignored is refused, with its name: an answer that was made otherwise than asked is worse
than none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Text = Annotated[str, Field(min_length=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class StreamOptions(_Closed):
    """Whether the last chunk of a stream tells the token counts."""

    include_usage: bool = False


class Sampling(_Closed):
    """What both kinds of request share. Temperature 0 takes the likeliest token always."""

    model: str | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = None
    seed: int | None = Field(default=None, ge=0, lt=2**32)
    presence_penalty: float = Field(default=0.0, ge=-2, le=2)
    frequency_penalty: float = Field(default=0.0, ge=-2, le=2)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    user: str | None = None

    @property
    def stops(self) -> list[str]:
        """The stop sequences, always as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())


class CompletionRequest(Sampling):
    """The body of POST /v1/completions: text to go on from."""

    prompt: Text
    echo: Literal[False] = False


class Part(_Closed):
    """A piece of a message; only text is understood."""

    type: Literal["text"]
    text: str


class Message(_Closed):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(min_length=1)]
    name: str | None = None

    @property
    def text(self) -> str:
        """The content as one string."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Sampling):
    """The body of POST /v1/chat/completions: a conversation whose last turn is the user's."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: int | None = Field(default=None, ge=1)


def explain(error: ValidationError) -> tuple[str, str | None]:
    """The first fault of a body: what is wrong, and the field it is in."""
    fault: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    # A union names its branches in the path; they tell a client nothing.
    branches = ("str", "constrained-str")
    place = ".".join(str(part) for part in fault["loc"] if not (isinstance(part, str) and ("[" in part or part in branches)))
    if fault["type"] == "extra_forbidden":
        return f"{place}: this server does not know the field; leave it out", place
    return f"{place}: {fault['msg']}" if place else str(fault["msg"]), place or None

"""What a client may ask: the fields of OpenAI's API that are honoured here, and no others.

A field that would be silently ignored is refused, with its name: an answer that was made otherwise than asked is worse
than none.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Text = Annotated[str, Field(min_length=1)]
Ids = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
MOST_ANSWERS = 128  # prompts times answers to each, in one request
MOST_TOPS = 20


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class StreamOptions(_Closed):
    """Whether the last chunk of a stream tells the token counts, and, as in vLLM, whether every chunk tells those so far."""

    include_usage: bool = False
    continuous_usage_stats: bool = False


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
    logit_bias: Annotated[dict[Annotated[int, Field(ge=0, lt=2**31)], Annotated[float, Field(ge=-100, le=100)]],
                          Field(max_length=1024)] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int = Field(default=1, ge=1, le=MOST_ANSWERS)
    user: str | None = None

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop sequences."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class CompletionRequest(Sampling):
    """The body of POST /v1/completions: text or token ids to go on from, or several of them."""

    prompt: Text | Ids | Annotated[list[Text], Field(min_length=1, max_length=MOST_ANSWERS)] | \
        Annotated[list[Ids], Field(min_length=1, max_length=MOST_ANSWERS)]
    max_tokens: int | None = Field(default=None, ge=0)
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=MOST_TOPS)

    @model_validator(mode="after")
    def _something_to_do(self) -> CompletionRequest:
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens: 0 is for echo alone")
        if len(self.prompts) * self.n > MOST_ANSWERS:
            raise ValueError(f"n: at most {MOST_ANSWERS} answers in one request")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """The prompts, always as a list."""
        prompt = self.prompt
        if isinstance(prompt, str):
            return [prompt]
        ids = [part for part in prompt if isinstance(part, int)]
        return [ids] if ids else [part for part in prompt if not isinstance(part, int)]


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
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_TOPS)

    @model_validator(mode="after")
    def _ends_with_a_question(self) -> ChatRequest:
        if self.messages[-1].role != "user":
            raise ValueError("messages: the last one must be the user's")
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs: needs logprobs to be true")
        return self


class EmbeddingRequest(_Closed):
    """The body of POST /v1/embeddings."""

    model: str | None = None
    input: Text | Annotated[list[Text], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """The texts, always as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


def explain(error: ValidationError) -> tuple[str, str | None]:
    """The first fault of a body: what is wrong, and the field it is in."""
    fault: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if fault["type"] == "value_error":  # of our own, which begin with the field
        message = str(fault["msg"]).removeprefix("Value error, ")
        return message, message.partition(":")[0]
    # A union names its branches in the path; they tell a client nothing.
    branches = ("str", "constrained-str")
    place = ".".join(str(part) for part in fault["loc"] if not (isinstance(part, str) and ("[" in part or part in branches)))
    if fault["type"] == "extra_forbidden":
        return f"{place}: this server does not know the field; leave it out", place
    return f"{place}: {fault['msg']}" if place else str(fault["msg"]), place or None

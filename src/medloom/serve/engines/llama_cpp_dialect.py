"""What llama.cpp's server is asked at /completion and answers there, in its own dialect, which tells more than OpenAI's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .engine import Ask, Broken, Piece, Refused, Scored, Starting, Written, decoded, too_long


def request_of(ask: Ask, prompt: str | list[int]) -> dict[str, Any]:
    """OpenAI's sampling and no other: llama.cpp cuts the tail of its own accord, and takes the top_p before the temperature."""
    penalised = ["penalties"] if ask.presence or ask.frequency else []
    return {"prompt": prompt, "n_predict": ask.tokens, "temperature": ask.temperature, "top_p": ask.top_p, "top_k": 1,
            "samplers": penalised + (["temperature", "top_p"] if ask.temperature else ["top_k"]),
            "presence_penalty": ask.presence, "frequency_penalty": ask.frequency, "stop": list(ask.stop),
            # What was asked before must not show in the last bits of what is to repeat itself.
            "cache_prompt": ask.seed is None and ask.logprobs is None,
            **({"logit_bias": [list(pair) for pair in ask.bias]} if ask.bias else {}),
            **({} if ask.seed is None else {"seed": ask.seed}), **({} if ask.logprobs is None else {"n_probs": max(1, ask.logprobs)})}


def pieces_of(batch: list[bytes], logprobs: int | None) -> list[Piece]:
    """What came together; as one piece and the last one, where no token is looked at by itself."""
    events: list[dict[str, Any]] = json.loads(b"[" + b",".join(batch) + b"]")
    if any("error" in event for event in events):
        raise Broken("the engine failed while it wrote the answer")
    if logprobs is None and len(events) > 1:
        events[:-1] = [{**events[-2], "content": "".join([event["content"] for event in events[:-1]])}]
    return [piece_of(event, logprobs) for event in events]


def piece_of(event: dict[str, Any], logprobs: int | None) -> Piece:
    """One event of a stream, or an answer as a whole."""
    tokens: tuple[Written, ...] = ()
    if logprobs is not None:
        tokens = tuple(Written(told.text, told.bytes, told.logprob, tuple(map(_scored, entry["top_logprobs"][:logprobs])))
                       for entry in event.get("completion_probabilities", ()) for told in [_scored(entry)])
    reason = None if not event.get("stop") else "length" if event.get("stop_type") == "limit" else "stop"
    return Piece(event["content"], tokens, reason, int(event["tokens_evaluated"]), int(event["tokens_predicted"]))


def may_hide_its_token(ask: Ask) -> bool:
    """Whether log-probabilities are wanted of one token alone, which all of them tell where llama.cpp does not."""
    return ask.logprobs is not None and ask.tokens == 1 and ask.temperature == 0 and not ask.presence and not ask.frequency


def sought(answer: dict[str, Any], number: int, logprobs: int | None) -> Written | None:
    """A token in the place of the only one that was written, with the likeliest ones there; None where it is not told of."""
    place = _place(answer)
    told = next((_scored(entry) for entry in place if entry["id"] == number), None)
    return None if told is None else Written(told.text, told.bytes, told.logprob, tuple(map(_scored, place[:logprobs])))


def likeliest(answer: dict[str, Any], bias: Mapping[int, float]) -> int:
    """The token that would have stood in the place of the only one that was written, had these biases been laid on it."""
    told = (entry for entry in _place(answer) if entry["logprob"] is not None)
    return int(max(told, key=lambda entry: float(entry["logprob"]) + bias.get(entry["id"], 0.0))["id"])


def checked(status: int, content: bytes) -> dict[str, Any]:
    """The engine's JSON, or what its refusal means."""
    said = decoded(content)
    if status == 200 and isinstance(said, dict):
        return said
    error = said.get("error", {}) if isinstance(said, dict) else {}
    if status == 400 and error.get("type") == "exceed_context_size_error":
        raise too_long(error.get("n_prompt_tokens"), error.get("n_ctx"))
    if status == 400:
        raise Refused(str(error.get("message", "the engine refuses the request")))
    if status == 503:
        raise Starting
    raise Broken("the engine failed")


def _place(answer: dict[str, Any]) -> list[dict[str, Any]]:
    (place,) = answer["completion_probabilities"]
    return list(place["top_logprobs"])


def _scored(entry: dict[str, Any]) -> Scored:
    return Scored(entry["token"], bytes(entry["bytes"]), None if entry["logprob"] is None else float(entry["logprob"]))

"""What a server must stand: clients that leave, its own end, an engine that dies, requests that make no sense."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from measure import Row
from serve_bench import Server, bodies, gateway, long_prompts, slow_model
from serve_inputs import malformed
from sides.serve_client import BROKEN, Answer, Exchange, ask, begin, completion, load

TRIALS, SLOTS = 20, 4
WARM = 4000  # senseless requests before those that are measured
NEVER = 5.0  # seconds that are waited for a slot
_KINDS = ("mid-stream", "without streaming", "in the queue")
_LONG = {"prompt": "Glorin is a drug", "max_tokens": 2000, "temperature": 0}
_SHORT = {"prompt": "Glorin is", "max_tokens": 1, "temperature": 0}


async def disconnect(folder: Path) -> Row:
    """All slots are taken and one request waits; one leaves, and the time counts until its place is another's."""
    waits: dict[str, list[float]] = {kind: [] for kind in _KINDS}
    with gateway(slow_model(folder), slots=SLOTS, queue=1) as server:
        for number in range(TRIALS * len(_KINDS)):
            kind = _KINDS[number % len(_KINDS)]
            waits[kind].append(seconds := await _leaving(server, kind, number % SLOTS))
            if seconds >= NEVER:
                break  # the slot stays taken, and nothing more can be measured
    worst = max(second for seconds in waits.values() for second in seconds)
    told = ", ".join(f"{kind} {median(seconds) * 1e3:.0f} ms in the middle, {max(seconds) * 1e3:.0f} at most (n = {len(seconds)})"
                     for kind, seconds in waits.items() if seconds)
    return Row("disconnect", worst, None, "s, at most", None, 0.5, worst < 0.5,
               f"{SLOTS} slots; {told}; until another has the place and, in a slot, its first token"
               + (f"; NOT FREED in {NEVER:g} s" if worst >= NEVER else ""), dict(waits))


async def _leaving(server: Server, kind: str, which: int) -> float:
    """Seconds from a client's leaving until another has its place, at most NEVER."""
    streams = [await _streaming(server) for _ in range(SLOTS - (kind == "without streaming"))]
    if kind == "without streaming":
        streams.insert(which, await begin(server.url, completion(server.url, **_LONG)))
    waiting = await begin(server.url, completion(server.url, **_LONG, stream=True))
    await _full(server)
    await asyncio.sleep(0.1)  # the last one is in its slot, too, and at work
    assert b"data: " not in waiting.held, "one waits, or there is nothing to measure"
    leaves = waiting if kind == "in the queue" else streams[which]
    leaves.leave()
    left = time.perf_counter()
    try:
        async with asyncio.timeout(NEVER):
            if kind == "in the queue":
                streams.append(newcomer := await _place(server))
                seconds = newcomer.sent - left
            else:
                streams.append(waiting)
                await _data(waiting)
                seconds = time.perf_counter() - left
    except TimeoutError:
        return NEVER
    for stream in streams:
        stream.leave()
    await _empty(server)
    return seconds


async def _streaming(server: Server) -> Exchange:
    """A long stream that has begun."""
    while True:
        stream = await begin(server.url, completion(server.url, **_LONG, stream=True))
        await _data(stream)
        if b" 200 " in stream.held[:15]:
            return stream
        await asyncio.sleep(0.01)


async def _data(stream: Exchange) -> None:
    """Wait for an event, or for the end."""
    while b"data: " not in stream.held and not stream.closed.is_set():
        stream.some.clear()
        await stream.some.wait()


async def _full(server: Server) -> None:
    """Wait until a newcomer is turned away."""
    while (await ask(server.url, completion(server.url, **_SHORT))).status != 429:
        await asyncio.sleep(0.005)


async def _empty(server: Server) -> None:
    """Wait until as many as there are slots are served at once."""
    request = completion(server.url, **_SHORT)
    while {answer.status for answer in await asyncio.gather(*(ask(server.url, request) for _ in range(SLOTS)))} != {200}:
        await asyncio.sleep(0.01)


async def _place(server: Server) -> Exchange:
    """A newcomer that is let into the queue: a refusal comes at once, so one that hears nothing is in."""
    while True:
        newcomer = await begin(server.url, completion(server.url, **_LONG, stream=True))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await newcomer.some.wait()
        if not newcomer.held:
            return newcomer
        newcomer.leave()


async def drain(folder: Path) -> Row:
    """SIGTERM while 8 streams are under way: they end whole, newcomers are told 503, and the server is gone before its deadline of 30 s."""
    tokens, count = 200, 8
    with gateway(slow_model(folder), slots=count) as server:
        body = {**_LONG, "max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
        streams = [await begin(server.url, completion(server.url, **body)) for _ in range(count)]
        for stream in streams:
            await _data(stream)
        server.process.send_signal(signal.SIGTERM)
        told = time.perf_counter()
        await asyncio.sleep(0.2)
        alive = sum(not stream.closed.is_set() for stream in streams)
        newcomers = []
        while not any(stream.closed.is_set() for stream in streams):
            newcomers.append((await ask(server.url, completion(server.url, **_SHORT))).status)
            await asyncio.sleep(0.1)
        for stream in streams:
            await stream.closed.wait()
        code = await asyncio.to_thread(server.process.wait, 60)
        seconds = time.perf_counter() - told
    answers = [stream.answer() for stream in streams]
    whole = sum(b"data: [DONE]" in answer.body and answer.tokens == tokens and answer.status == 200 for answer in answers)
    right = alive == whole == count and newcomers and {*newcomers} == {503} and code == 0
    return Row("drain", seconds, None, "s, at most", None, 30, bool(right) and seconds < 30,
               f"{whole} of {count} streams of {tokens} tokens ended whole, {alive} of them were under way; {len(newcomers)} newcomers "
               f"were told {sorted({*newcomers})}; exit code {code}", {"newcomers": newcomers})


async def crash(model: Path) -> Row:
    """The engine is killed, twice, under 16 clients: they are told at once, it comes back by itself, and nobody gets another's answer."""
    kills: list[float] = []
    with gateway(model, slots=16) as server:
        prompts = await asyncio.to_thread(long_prompts, server, 32)
        asked = [body for prompt in prompts for body in bodies([prompt], stream=len(prompt) % 2 == 0)]
        references = [_text((await ask(server.url, completion(server.url, **body))).body) for body in asked]
        kept = [number for number, text in enumerate(references) if text and references.count(text) == 1]

        async def kill() -> None:
            for pause in (2.0, 5.0):
                await asyncio.sleep(pause)
                assert server.engine is not None, "no engine to kill"
                os.kill(server.engine, signal.SIGKILL)
                kills.append(time.perf_counter())

        answers, _ = await asyncio.gather(
            load(server.url, "/v1/completions", [asked[number] for number in kept], 16, seconds=12), kill())
    own = [references[number] for number in kept]
    hit = [(answer, at) for _, answer in answers for at in kills if answer.sent < at < answer.sent + answer.seconds]
    told = [answer.sent + answer.seconds - at for answer, at in hit]
    told_last = max(told, default=float("nan"))
    unsaid = [answer for _, answer in answers if _unsaid(answer)]
    texts = [(which, _text(answer.body)) for which, answer in answers if answer.status == 200]
    strange = sum(text != own[which] and text in own for which, text in texts)
    good = [answer for _, answer in answers if answer.status == 200 and not _failed(answer)]
    ready = [min((answer.sent + answer.seconds for answer in good if answer.sent > at), default=float("inf")) - at for at in kills]
    broke, same = sum(_failed(answer) for answer, _ in hit), sum(text == own[which] for which, text in texts)
    statuses = ", ".join(f"{count} of {status}" for status, count in sorted(Counter(answer.status for answer, _ in hit).items()))
    met = len(kept) >= 16 and bool(hit) and told_last < 1 and not unsaid and not strange and max(ready) < 30
    return Row("crash", told_last, None, "s, at most", None, 1, met,
               f"until the last of {len(hit)} requests under way at a kill knew ({statuses}; {broke} by an error in the stream); "
               f"{len(unsaid)} were cut off unsaid; served again {' and '.join(f'{one:.1f}' for one in ready)} s after a kill; {strange} "
               f"of {len(texts):,} answers to {len(kept)} prompts were another's, {same:,} equal to what was answered one by one",
               {"told_s": told, "ready_s": ready, "prompts": len(kept), "answers": len(texts)})


def _events(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]


def _text(body: bytes) -> str:
    """The answer's text, streamed or whole; of a stream that failed, what came before."""
    events = _events(body) if b"data: " in body else [json.loads(body)]
    return "".join(choice["text"] for event in events for choice in event.get("choices", ()))


def _failed(answer: Answer) -> bool:
    """Whether a stream that had begun says that it failed."""
    return answer.status == 200 and b"data: " in answer.body and any("error" in event for event in _events(answer.body))


def _unsaid(answer: Answer) -> bool:
    """Whether an answer is neither whole nor an error that the client can know of."""
    if answer.status == 200:
        return b"data: " in answer.body and b"data: [DONE]" not in answer.body and not _failed(answer)
    return answer.status not in (502, 503)


async def malformed_bodies(model: Path, count: int = 5000, seed: int = 20261128) -> Row:
    """Requests that make no sense, 8 at a time: never a 5xx, no memory that stays, and a right answer straight after."""
    right = bodies(["The records of the patient give"], stream=False, tokens=8)[0]
    with gateway(model, slots=SLOTS) as server:
        requests = list(malformed(server.url, count, seed))
        before = _text((await ask(server.url, completion(server.url, **right))).body)
        held = []
        await _all(server, list(malformed(server.url, WARM, seed + 1)))  # memory that Python keeps to use again is not growth
        held.append(server.resident_mb())
        began = time.perf_counter()
        statuses = await _all(server, requests)
        held.append(server.resident_mb())
        seconds = time.perf_counter() - began
        after = await ask(server.url, completion(server.url, **right))
    growth = held[1] - held[0]
    errors = sorted({f"{kind} {status}" for kind, status in statuses if status >= 500})
    same = after.status == 200 and _text(after.body) == before
    found = dict(sorted(Counter(status for _, status in statuses).items()))
    told = ", ".join(f"{status or 'closed without a word'} {count:,} times" for status, count in found.items())
    return Row("malformed", growth, None, "MB more, at most", None, 5, not errors and growth < 5 and same,
               f"{count:,} requests in {seconds:.0f} s; 5xx: {', '.join(errors) or 'none'}; memory of the gateway {held[0]:.0f} MB after "
               f"{WARM:,} others before and {held[1]:.0f} after all; straight after {'the same answer' if same else 'ANOTHER ANSWER'} as "
               f"before; told: {told}",
               {"statuses": {str(status): count for status, count in found.items()}, "resident_mb": held, "seed": seed})


async def _all(server: Server, requests: Sequence[tuple[str, bytes]], at_once: int = 8) -> list[tuple[str, int]]:
    """The status that each request came to; one that the server waits for more of is left after a second."""
    statuses: list[tuple[str, int]] = []
    rest = iter(requests)

    async def client() -> None:
        for kind, request in rest:
            answer = await ask(server.url, request, timeout=1)
            first = answer.body[:12].split(b" ")
            said = int(first[1]) if answer.status == BROKEN and len(first) > 1 and first[1].isdigit() else answer.status
            statuses.append((kind, said))

    await asyncio.gather(*(client() for _ in range(at_once)))
    return statuses



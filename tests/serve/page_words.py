"""What a test says to the chat page, and, in the API's words, what a server may say to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from medloom.notice import NOTICE

DIGEST = "c280663e630bb0f9a11b135ded780d75af5ac28e51838334c977bd09523bc621"

# In place of the network a stream that the test writes: push(text), end(), and the requests as they were made.
STREAM = """
const real = window.fetch;
window.asked = [];
window.fetch = (path, options) => {
  if (!/completions$/.test(path)) return real(path, options);
  window.asked.push({ path, headers: options.headers, body: JSON.parse(options.body) });
  const body = new ReadableStream({ start(stream) {
    window.push = (text) => stream.enqueue(new TextEncoder().encode(text));
    window.end = () => stream.close();
    options.signal.addEventListener("abort", () => stream.error(options.signal.reason));
  } });
  return Promise.resolve(new Response(body, { headers: { "Content-Type": "text/event-stream" } }));
};
"""


def entry(name: str, **more: Any) -> dict[str, Any]:
    """A model as /v1/models describes it."""
    template = {"name": "chatml", "form": "<|im_start|>user\n{question}<|im_end|>", "stop": ["<|im_end|>"], "turns": True}
    metadata = {"name": name, "file": f"{name}.gguf", "bytes": 2258112, "sha256": DIGEST, "engine": "llama.cpp", "context": 2048,
                "slots": 4, "template": template, "embeddings": False, "abstention": None, "notice": NOTICE}
    return {"id": name, "object": "model", "created": 1, "owned_by": "medloom", "metadata": {**metadata, **more}}


def models(*entries: dict[str, Any]) -> Callable[[Any], None]:
    """Have the page be told of these models."""
    return lambda page: page.route("**/v1/models", lambda route: route.fulfill(json={"object": "list", "data": list(entries)}))


def chunk(content: str = "", reason: str | None = None, *, chat: bool = True, **more: Any) -> str:
    """One event of a stream."""
    said = {"delta": {"content": content} if content else {}} if chat else {"text": content}
    choice = {"index": 0, **said, "finish_reason": reason, **more}
    return f"data: {json.dumps({'choices': [choice], 'system_fingerprint': f'{DIGEST[:12]}-chatml'})}\n\n"


def usage(read: int, written: int) -> str:
    """The last event before the end of a stream, and the end."""
    return f"data: {json.dumps({'choices': [], 'usage': {'prompt_tokens': read, 'completion_tokens': written}})}\n\ndata: [DONE]\n\n"


def scripted(page: Any) -> None:
    """Two models, and a stream that the test writes."""
    abstention = {"risk": 0.1, "threshold": 0.62, "questions": 400, "sha256": DIGEST}
    models(entry("heron", abstention=abstention), entry("otter", sha256=None))(page)
    page.add_init_script(STREAM)


def push(page: Any, *parts: str) -> None:
    for part in parts:
        page.evaluate("(text) => window.push(text)", part)


def ask(page: Any, text: str, **settings: str) -> None:
    """Set what is given and send `text`."""
    if settings:
        if page.locator("#settings[open]").count() == 0:
            page.locator("#settings summary").click()
        for name, value in settings.items():
            page.locator(f"#ask [name={name}]").fill(value)
        page.locator("#settings summary").click()
    page.locator("#input").fill(text)
    page.keyboard.press("Enter")


def answered(page: Any, number: int) -> Any:
    """The answer of exchange `number`, once it has ended."""
    answer = page.locator(".exchange").nth(number - 1).locator(".answer:not(.growing)")
    answer.wait_for()
    return answer


def saved(page: Any, kind: str) -> str:
    with page.expect_download() as caught:
        page.locator(f"#save-{kind}").click()
    assert caught.value.suggested_filename.endswith(f".{kind}")
    return str(Path(caught.value.path()).read_text(encoding="utf-8"))

// One question to a model: what is sent, and what is heard until the answer ends.

import { Refused, stream } from "./api.js";
import { before } from "./conversation.js";
import { time } from "./words.js";

const since = (moment) => (performance.now() - moment) / 1000;
const rounded = (value, places) => Number(value.toFixed(places));

// The request for an answer to `exchange`, and the answer as it stands before anything is heard.
export function prepare(exchange, { id, metadata: { name, file, sha256, template } }, { system, ...sampling }) {
  const chat = exchange.mode === "chat";
  const history = chat && template.turns ? before(exchange) : [];
  const messages = [...(system ? [{ role: "system", content: system }] : []), ...history, { role: "user", content: exchange.text }];
  return {
    answer: { model: { id, name, file, sha256, template }, settings: { ...sampling, ...(system ? { system } : {}) }, earlier: history.length / 2,
      asked: new Date().toISOString(), text: "", ended: "left", queue: 0, figures: {} },
    path: chat ? "v1/chat/completions" : "v1/completions",
    body: { model: id, ...sampling, stream: true, stream_options: { include_usage: true, continuous_usage_stats: true }, ...(chat ? { messages } : { prompt: exchange.text }) },
  };
}

// Fills in the answer while it is heard: `grow` at each piece, `live` four times a second with how it goes, `queued` at each new place in the queue.
// Returns the server's refusal, or null where the answer came, or was stopped.
export async function hear({ answer, path, body }, signal, { grow, live, queued }) {
  const began = performance.now();
  let [place, first, pieces, usage, refusal] = [null, 0, 0, null, null];

  function report() {
    const tokens = usage?.completion_tokens || pieces;
    const speed = first && since(first) > .5 ? ` · ${((tokens - 1) / since(first)).toFixed(1)} tokens/s` : "";
    const waiting = place ? `${place} before you in the queue` : place === 0 ? "The model reads" : "Waiting for the model";
    live(first ? `${tokens} tokens${speed} · first after ${time((first - began) / 1000)}` : `${waiting} · ${Math.floor(since(began))} s so far`);
  }

  function take(event) {
    usage = event.usage ?? usage;
    answer.fingerprint = event.system_fingerprint ?? answer.fingerprint;
    for (const choice of event.choices) {
      answer.abstention = choice.abstention ?? answer.abstention;
      answer.ended = choice.finish_reason ?? answer.ended;
      const piece = (choice.delta ? choice.delta.content : choice.text) || "";
      if (!piece) continue;
      first ||= performance.now();
      pieces += 1;
      answer.text += piece;
      grow();
    }
  }

  report();
  const ticker = setInterval(report, 250);
  try {
    for await (const { queue, event } of stream(path, body, signal)) {
      if (event) take(event);
      else if (queue !== place) {
        place = queue;
        answer.queue = Math.max(answer.queue, queue);
        queued(queue);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") answer.ended = "stopped";
    else if (error instanceof Refused) Object.assign(answer, { ended: "failed", error: (refusal = error).message });
    else throw error;
  } finally {
    clearInterval(ticker);
    const writing = first ? since(first) : 0;
    const tokens = usage?.completion_tokens ?? pieces;
    answer.figures = { seconds: rounded(since(began), 3), completion_tokens: tokens };
    if (usage) answer.figures.prompt_tokens = usage.prompt_tokens;
    if (first) answer.figures.first_ms = Math.round(first - began);
    if (writing > .05 && tokens > 1) answer.figures.tokens_per_second = rounded((tokens - 1) / writing, 1);
  }
  return refusal;
}

// Asks the server that the page came from, and nobody else.

import { tab } from "./web.js";

const KEY = "medloom-key"; // never in what is saved of a conversation

export const hold = (key) => tab.setItem(KEY, key);

// A no of the server's, or no answer at all. `status`: HTTP's, 0 where the server cannot be reached; `wait`: seconds that it asks for.
export class Refused extends Error {
  constructor(message, status = 0, wait = 0) {
    super(message);
    Object.assign(this, { status, wait });
  }
}

async function request(path, more = {}, headers = {}) {
  const key = tab.getItem(KEY);
  let response;
  try {
    response = await fetch(path, { ...more, headers: { ...headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("the server cannot be reached");
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => null);
  throw new Refused(said?.error?.message ?? `the server answered ${response.status}`, response.status, Number(response.headers.get("Retry-After")) || 0);
}

// The models that are served, as /v1/models describes them.
export async function models() {
  return (await (await request("v1/models")).json()).data;
}

// What comes of a streamed request, in turn: { queue }, how many are served before it, and the API's own { event }s.
export async function* stream(path, body, signal) {
  const response = await request(path, { method: "POST", body: JSON.stringify(body), signal },
    { "Content-Type": "application/json", "X-Medloom-Queue": "places" });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let held = "";;) {
    const { value, done } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Refused("the connection broke off");
    });
    if (done) throw new Refused("the answer broke off");
    const parts = (held + value).split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const place = /^: queue (\d+)/.exec(part);
      if (place) yield { queue: Number(place[1]) };
      if (!part.startsWith("data: ")) continue;
      if (part === "data: [DONE]") return;
      const event = JSON.parse(part.slice(6));
      if (event.error) throw new Refused(event.error.message, 200, event.error.retry_after ?? 0);
      yield { event };
    }
  }
}

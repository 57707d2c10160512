// What both pages share: asking the server they came from, and nobody else, with the token of the link.

import { at } from "./web.js";

export const token = () => decodeURIComponent(location.hash.slice(1));

export function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// The body of an answer, or an Error with what the server says and its status.
export async function ask(path, body = null) {
  const headers = { Authorization: `Bearer ${token()}` };
  let response;
  try {
    response = body === null ? await fetch(path, { headers })
      : await fetch(path, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error("the server cannot be reached; try again in a moment"), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.error || `the server answered ${response.status}`), { status: response.status });
  return answer;
}

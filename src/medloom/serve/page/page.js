"use strict";
// The whole page: asks the API of the server it came from, and nobody else.

const at = (id) => document.getElementById(id);
const turns = []; // of the conversation, as the API takes them
let model = null; // as /v1/models describes it
let running = null; // AbortController of the answer under way

const mode = () => document.querySelector("input[name=mode]:checked").value;
const say = (text, bad = false) => { at("status").textContent = text; at("status").classList.toggle("bad", bad); };

function headers() {
  const key = at("key").value || sessionStorage.getItem("medloom-key") || "";
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function complaint(response) {
  try { return (await response.json()).error.message; } catch { return `the server answered ${response.status}`; }
}

async function describe() {
  const response = await fetch("v1/models", { headers: headers() });
  if (response.status === 401) {
    at("key-field").hidden = false;
    document.querySelector(".settings").open = true;
    at("key").focus();
    say("This server needs an API key: give it under Settings.", true);
    return;
  }
  if (!response.ok) throw new Error(await complaint(response));
  model = (await response.json()).data[0];
  const about = model.metadata;
  at("model").textContent = about.name === model.id ? model.id : `${about.name} (${model.id})`;
  at("digest").textContent = about.sha256 ? `sha256 ${about.sha256.slice(0, 12)}…` : "";
  at("digest").title = about.sha256 ? `SHA-256 of the model file: ${about.sha256}` : "";
  at("notice-full").textContent = about.notice;
  at("form").textContent = about.template.form;
  at("tokens").max = about.context;
  at("tokens").value = Math.min(256, Math.floor(about.context / 2));
  say("");
}

// Adds a turn to the log and returns the place where its text grows; what was given stands before it, in another shade.
function show(who, kind, given, text) {
  const turn = document.createElement("article");
  turn.className = `turn ${kind}`;
  const head = document.createElement("h2");
  head.textContent = who;
  const body = document.createElement("p");
  const [before, place] = [document.createElement("span"), document.createElement("span")];
  before.className = "given";
  before.textContent = given;
  place.textContent = text;
  body.append(before, place);
  turn.append(head, body);
  at("log").append(turn);
  follow();
  return place;
}

function follow() { at("log").scrollTop = at("log").scrollHeight; }

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) if (part.startsWith("data: ")) yield part.slice(6);
  }
}

async function ask(text) {
  const chat = mode() === "chat";
  const body = { model: model.id, stream: true, stream_options: { include_usage: true }, temperature: Number(at("temperature").value),
    max_tokens: Number(at("tokens").value), ...(at("seed").value ? { seed: Number(at("seed").value) } : {}) };
  // A base model knows no turns: each question stands alone.
  const history = model.metadata.template.name === "file" ? turns : [];
  if (chat) body.messages = [...history, { role: "user", content: text }];
  else body.prompt = text;
  if (chat) show("You", "user", "", text);
  at("log").setAttribute("aria-busy", "true"); // a screen reader waits for the whole answer
  running = new AbortController();
  const began = performance.now();
  let first = 0, answer = "", place = null, usage = null, whole = false, reason = "";
  try {
    const response = await fetch(chat ? "v1/chat/completions" : "v1/completions",
      { method: "POST", headers: headers(), body: JSON.stringify(body), signal: running.signal });
    if (!response.ok) throw new Error(await complaint(response));
    place = show(model.id, "model", chat ? "" : text, "");
    for await (const data of events(response)) {
      if (data === "[DONE]") { whole = true; break; }
      const event = JSON.parse(data);
      if (event.error) throw new Error(event.error.message);
      if (event.usage) usage = event.usage;
      for (const choice of event.choices) {
        const piece = chat ? choice.delta.content || "" : choice.text;
        reason = choice.finish_reason || reason;
        if (!piece) continue;
        first = first || performance.now();
        answer += piece;
        place.textContent = answer;
        follow();
      }
    }
    if (!whole) throw new Error("the answer broke off");
    if (!answer) place.textContent = " (the model ends here without a word)";
    say(reason === "length" ? "The answer reached the longest length allowed." : "");
    if (chat) turns.push({ role: "user", content: text }, { role: "assistant", content: answer || " " });
  } catch (error) {
    if (error.name === "AbortError") say("Stopped.");
    else say(`No answer: ${error.message}`, true);
  }
  if (place && usage && first) {
    const figures = document.createElement("p");
    figures.className = "figures";
    const seconds = (performance.now() - first) / 1000;
    const speed = seconds > 0.05 ? `, ${Math.round(usage.completion_tokens / seconds)} tokens/s` : "";
    figures.textContent = `${usage.completion_tokens} tokens, first after ${Math.round(first - began)} ms${speed}`;
    place.parentElement.after(figures);
    follow();
  }
  at("log").setAttribute("aria-busy", "false");
  running = null;
}

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("input").value;
  if (running || !text.trim()) return;
  try {
    if (at("key").value) sessionStorage.setItem("medloom-key", at("key").value);
    if (!model) await describe();
    if (!model) return;
    at("send").disabled = true;
    at("stop").hidden = false;
    say("Waiting for the model…");
    at("input").value = "";
    await ask(text);
  } catch (error) {
    say(`No answer: ${error.message}`, true);
  } finally {
    at("send").disabled = false;
    at("stop").hidden = true;
    at("input").focus();
  }
});

at("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("ask").requestSubmit();
  }
});

at("stop").addEventListener("click", () => { if (running) running.abort(); });

at("clear").addEventListener("click", () => {
  if (running) running.abort();
  turns.length = 0;
  at("log").replaceChildren();
  say("");
  at("input").focus();
});

for (const choice of document.querySelectorAll("input[name=mode]")) {
  choice.addEventListener("change", () => { at("input-label").textContent = mode() === "chat" ? "Question" : "Text to go on from"; });
}

window.addEventListener("error", (event) => say(`The page failed: ${event.message}`, true));
window.addEventListener("unhandledrejection", (event) => say(`The page failed: ${event.reason}`, true));
at("log").dataset.empty = "Answers appear here.";
describe().catch((error) => say(`The server does not answer: ${error.message}`, true));

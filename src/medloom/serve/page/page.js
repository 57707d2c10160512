// The page's course: which model, what is asked of it, and what comes of it.

import { Refused, hold, models, stream } from "./api.js";
import { before, clear, exchanges, keep, load } from "./conversation.js";
import { copy, download, json, markdown } from "./saving.js";
import { countdown, drawAll, open } from "./view.js";
import { at, complain, make, measure } from "./web.js";
import { ending, time } from "./words.js";

const CODE = ["SHA-256", "Form of a question", "Stops before"];
const SETTINGS = "medloom-settings";
const form = at("ask");
const fields = form.elements;
let served = []; // the models, as /v1/models describes them
let model = null; // the one that is asked
let running = null; // AbortController of the answer under way

const chat = () => fields.mode.value === "chat";
const say = (text) => { at("status").textContent = text; };
const turns = ({ metadata: { template } }) => template.turns ?? template.name === "file";

// ---- which model

async function describe() {
  try {
    served = await models();
  } catch (error) {
    if (error.status === 401) return door(sessionStorage.length > 0 && at("key").value ? "The server does not know this key." : "");
    const again = make("button", { type: "button" }, "Try again");
    again.addEventListener("click", describe);
    return complain(`The models cannot be looked up: ${error.message}.`, again);
  }
  at("door").hidden = true;
  at("ask").hidden = at("log").hidden = false;
  at("empty").hidden = exchanges.length > 0;
  at("models").replaceChildren(...served.map(({ id }) => make("option", {}, id)));
  at("choose").hidden = served.length < 2;
  at("model").hidden = served.length > 1;
  choose(served.find(({ id }) => id === remembered().model) ?? served[0]);
  performance.mark("ready");
}

function choose(one) {
  model = one;
  const { name, file, bytes, sha256, engine, context, template, abstention, notice } = one.metadata;
  at("models").value = at("model").textContent = one.id;
  document.title = `${one.id} – Medloom`;
  at("digest").textContent = sha256 ? `sha256 ${sha256.slice(0, 12)}` : "sha256 not told";
  at("about").hidden = at("notice").querySelector("details").hidden = false;
  at("template").textContent = `template ${template.name}`;
  at("notice-full").textContent = notice;
  const facts = {
    Name: name, File: file && `${file}${bytes ? `, ${(bytes / 1e6).toFixed(1)} MB` : ""}`, "SHA-256": sha256 ?? "not told by the server behind", Engine: engine,
    Context: context && `${context} tokens, question and answer together`, Template: template.name, "Form of a question": template.form,
    "Stops before": template.stop.map((stop) => JSON.stringify(stop)).join(", ") || "what the template says",
    Turns: turns(one) ? "the conversation is sent along" : "each question stands alone",
    Abstains: abstention && `on choices less sure than ${abstention.threshold}, to be wrong in at most ${abstention.risk} of those it answers (${abstention.questions} questions)`,
    API: `${new URL("v1", location.href)}, in OpenAI’s form`,
  };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map(([key, value]) =>
    make("div", {}, make("dt", {}, key), make("dd", {}, CODE.includes(key) ? make("code", {}, value) : value))));
  if (context) fields.max_tokens.max = context;
  if (context && Number(fields.max_tokens.value) > context) fields.max_tokens.value = Math.floor(context / 2);
  at("manner").textContent = `${turns(one) ? "It is sent the conversation so far with each question." : "It knows no turns: each question stands alone."} A question reaches it in the form “${template.name}”, which stands above under About this model.`;
  brief();
}

function door(said) {
  at("door").hidden = false;
  at("ask").hidden = at("log").hidden = at("empty").hidden = true;
  at("door-said").textContent = said;
  at("key").value = "";
  at("key").focus();
}

// ---- settings

function brief() {
  const set = sampling();
  at("brief").textContent = [`temperature ${set.temperature}`, set.top_p < 1 ? `top p ${set.top_p}` : "", `at most ${set.max_tokens} tokens`,
    set.seed === undefined ? "" : `seed ${set.seed}`, set.stop ? "stops" : "", set.system ? "system text" : ""].filter(Boolean).join(", ");
}

// The settings as the API takes them, and the system text.
function sampling() {
  const stop = fields.stops.value.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
  return { temperature: Number(fields.temperature.value), top_p: Number(fields.top_p.value), max_tokens: Number(fields.max_tokens.value),
    ...(fields.seed.value ? { seed: Number(fields.seed.value) } : {}), ...(stop.length ? { stop } : {}),
    ...(chat() && fields.system.value.trim() ? { system: fields.system.value } : {}) };
}

function remembered() {
  return JSON.parse(sessionStorage.getItem(SETTINGS) ?? "{}");
}

function remember() {
  sessionStorage.setItem(SETTINGS, JSON.stringify({ ...Object.fromEntries(new FormData(form)), model: model?.id }));
}

function mode() {
  at("input-label").textContent = chat() ? "Question" : "Text to go on from";
  fields.system.disabled = !chat();
  brief();
}

// ---- one answer

async function ask(exchange) {
  const { system, ...settings } = sampling();
  const history = exchange.mode === "chat" && turns(model) ? before(exchange) : [];
  const { name, file, sha256, template } = model.metadata;
  const answer = { model: { id: model.id, name, file, sha256, template }, settings: system ? { ...settings, system } : settings, earlier: history.length / 2,
    asked: new Date().toISOString(), text: "", ended: "left", queue: 0, figures: {} };
  const body = { model: model.id, ...settings, stream: true, stream_options: { include_usage: true } };
  if (exchange.mode === "chat") body.messages = [...(system ? [{ role: "system", content: system }] : []), ...history, { role: "user", content: exchange.text }];
  else body.prompt = exchange.text;
  exchange.answers = [...exchange.answers.filter(({ text, ended }) => text || ended === "stop"), answer];
  busy(true);
  const place = open(exchange);
  const began = performance.now();
  let [queue, first, pieces, usage, wait] = [null, 0, 0, null, 0];
  const since = (moment) => (performance.now() - moment) / 1000;
  const live = () => place.live(first ? `${pieces} tokens${since(first) > .5 ? ` · ${((pieces - 1) / since(first)).toFixed(1)} tokens/s` : ""} · first after ${time((first - began) / 1000)}`
    : `${queue ? `${queue} before you in the queue` : queue === 0 ? "The model reads" : "Waiting for the model"} · ${Math.floor(since(began))} s so far`);
  const ticker = setInterval(live, 250);
  live();
  running = new AbortController();
  try {
    for await (const { queue: ahead, event } of stream(exchange.mode === "chat" ? "v1/chat/completions" : "v1/completions", body, running.signal)) {
      if (event === undefined) {
        if (ahead && ahead !== queue) say(`${ahead} before you in the queue.`);
        queue = ahead;
        answer.queue = Math.max(answer.queue, ahead);
        continue;
      }
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
        place.grow();
      }
    }
  } catch (error) {
    if (error.name === "AbortError") answer.ended = "stopped";
    else if (error instanceof Refused) {
      Object.assign(answer, { ended: "failed", error: error.message });
      wait = error.wait;
      if (error.status === 401) door("The server does not know the key any more.");
    } else throw error;
  } finally {
    clearInterval(ticker);
    running = null;
    const writing = first ? since(first) : 0;
    const tokens = usage?.completion_tokens ?? pieces;
    answer.figures = { ...(first ? { first_ms: Math.round(first - began) } : {}), seconds: Math.round(since(began) * 1000) / 1000, completion_tokens: tokens,
      ...(usage ? { prompt_tokens: usage.prompt_tokens } : {}), ...(writing > .05 && tokens > 1 ? { tokens_per_second: Math.round((tokens - 1) / writing * 10) / 10 } : {}) };
    place.settle();
    busy(false);
    store();
  }
  say(ending(answer) || "The answer is complete.");
  if (answer.ended === "failed") countdown(wait, () => say("You can try again now."));
}

function busy(yes) {
  const held = document.activeElement.matches(yes ? "#send, .again" : "#stop"); // the button that goes away
  at("send").hidden = yes;
  at("stop").hidden = !yes;
  for (const id of ["save-md", "save-json", "clear"]) at(id).disabled = yes || !exchanges.length;
  if (held) (yes ? at("stop") : at("input")).focus();
}

function store() {
  try {
    keep();
  } catch {
    complain("The conversation has become too long for this browser to keep over a reload. Save it as a file.");
  }
}

// ---- what the reader does

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("input").value;
  if (running || !text.trim()) return;
  if (!model) await describe();
  if (!model) return;
  at("input").value = "";
  remember();
  const exchange = { mode: fields.mode.value, text, answers: [] };
  exchanges.push(exchange);
  await ask(exchange);
});
form.addEventListener("invalid", () => { at("settings").open = true; }, true); // a field that cannot be seen cannot be put right
form.addEventListener("input", () => { remember(); mode(); });
form.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.target !== at("input") || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
at("stop").addEventListener("click", () => running?.abort());
at("models").addEventListener("change", () => {
  choose(served.find(({ id }) => id === at("models").value));
  remember();
});
at("door").addEventListener("submit", (event) => {
  event.preventDefault();
  hold(at("key").value.trim());
  return describe();
});
at("log").addEventListener("click", async (event) => {
  const act = event.target.dataset.act;
  const exchange = exchanges[[...at("log").children].indexOf(event.target.closest(".exchange"))];
  if (act === "again" && !running && model) await ask(exchange);
  if (act === "copy") {
    await copy(exchange.answers.at(-1).text);
    event.target.focus();
    event.target.textContent = "Copied";
    say("Copied.");
    setTimeout(() => { event.target.textContent = "Copy"; }, 2000);
  }
});
at("clear").addEventListener("click", () => {
  if (!confirm("Clear the conversation? It is kept nowhere else.")) return;
  clear();
  drawAll();
  busy(false);
  at("input").focus();
});
at("save-md").addEventListener("click", () => download(markdown(model.metadata.notice), "text/markdown", "md"));
at("save-json").addEventListener("click", () => download(json(model.metadata.notice), "application/json", "json"));
addEventListener("pagehide", () => { if (running) store(); });

// ---- begin

measure("top", "ask");
for (const [name, value] of Object.entries(remembered())) if (fields[name]) fields[name].value = value;
load();
drawAll();
busy(false);
mode();
describe();

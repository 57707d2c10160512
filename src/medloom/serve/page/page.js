// The page's course: which model, what is asked of it, and what comes of it.

import { hold, models } from "./api.js";
import { hear, prepare } from "./asking.js";
import { clear, exchanges, keep, load } from "./conversation.js";
import { copy, download, json, markdown } from "./saving.js";
import { fields, recall, remember, sampling, show } from "./settings.js";
import { countdown, drawAll, open } from "./view.js";
import { at, complain, make, measure, tab } from "./web.js";
import { ending } from "./words.js";

const CODE = ["SHA-256", "Form of a question", "Stops before"];
const CHOSEN = "medloom-model";
const form = at("ask");
let served = []; // the models, as /v1/models describes them
let model = null; // the one that is asked
let running = null; // AbortController of the answer under way

const say = (text) => { at("status").textContent = text; };

// ---- which model

async function describe() {
  try {
    served = await models();
  } catch (error) {
    if (error.status === 401) return door(at("key").value ? "The server does not know this key." : "");
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
  choose(served.find(({ id }) => id === tab.getItem(CHOSEN)) ?? served[0]);
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
    Name: name, File: file && [file, bytes && `${(bytes / 1e6).toFixed(1)} MB`].filter(Boolean).join(", "),
    "SHA-256": sha256 ?? "not told by the server behind", Engine: engine,
    Context: context && `${context} tokens, question and answer together`, Template: template.name, "Form of a question": template.form,
    "Stops before": template.stop.map((stop) => JSON.stringify(stop)).join(", ") || "what the template says",
    Turns: template.turns ? "the conversation is sent along" : "each question stands alone",
    Abstains: abstention && `where it is less sure of a choice than ${abstention.threshold}, set on ${abstention.questions} questions for a risk of ${abstention.risk}`,
    API: `${new URL("v1", location.href)}, in OpenAI’s form`,
  };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map(([key, value]) =>
    make("div", {}, make("dt", {}, key), make("dd", {}, CODE.includes(key) ? make("code", {}, value) : value))));
  if (context) fields.max_tokens.max = context;
  if (context && Number(fields.max_tokens.value) > context) fields.max_tokens.value = Math.floor(context / 2);
  at("manner").textContent = `${template.turns ? "It is sent the conversation so far with each question." : "It knows no turns: each question stands alone."} `
    + `A question reaches it in the form “${template.name}”, which stands above under About this model.`;
  show();
}

function door(said) {
  at("door").hidden = false;
  at("ask").hidden = at("log").hidden = at("empty").hidden = true;
  at("door-said").textContent = said;
  at("key").value = "";
  at("key").focus();
}

// ---- one answer

async function ask(exchange) {
  const request = prepare(exchange, model, sampling());
  const { answer } = request;
  exchange.answers = [...exchange.answers.filter(({ text, ended }) => text || ended === "stop"), answer];
  running = new AbortController();
  busy(true);
  const place = open(exchange);
  let refusal = null;
  try {
    refusal = await hear(request, running.signal, { ...place, queued: (ahead) => { if (ahead) say(`${ahead} before you in the queue.`); } });
  } finally {
    running = null;
    place.settle();
    busy(false);
    store();
  }
  say(ending(answer) || "The answer is complete.");
  if (refusal) countdown(refusal.wait, () => say("You can try again now."));
  if (refusal?.status === 401) door("The server does not know the key any more.");
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
form.addEventListener("input", () => { remember(); show(); });
form.addEventListener("keydown", (event) => {
  if (event.key === "Escape") running?.abort();
  if (event.target !== at("input") || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
at("stop").addEventListener("click", () => running?.abort());
at("models").addEventListener("change", () => {
  choose(served.find(({ id }) => id === at("models").value));
  tab.setItem(CHOSEN, model.id);
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
recall();
try {
  load();
  drawAll();
} catch {
  clear();
  complain("What this tab kept of a conversation cannot be read. It begins anew.");
}
busy(false);
show();
describe();

// Draws the conversation. What a model wrote is shown as text, whatever is in it.

import { exchanges } from "./conversation.js";
import { at, make } from "./web.js";
import { ending, figures, verdict } from "./words.js";

const near = () => innerHeight + scrollY > document.documentElement.scrollHeight - 160;
const button = (act, text) => make("button", { type: "button", class: `plain small ${act}`, "data-act": act }, text);

// Keeps the end in view while `change` makes the page longer, for a reader who is there.
function following(change) {
  const follow = near();
  change();
  if (follow) scrollTo(0, document.documentElement.scrollHeight);
}

function words(exchange, answer) {
  return make("p", { class: "text" }, make("span", { class: "given" }, exchange.mode === "chat" ? "" : exchange.text), make("span", {}, answer.text));
}

function badge(abstention) {
  const { answer, confidence, threshold, abstained } = abstention;
  const meter = make("meter", { min: 0, max: 1, low: threshold, optimum: 1, value: confidence, "aria-hidden": "true" });
  return make("p", { class: abstained ? "badge abstained" : "badge" }, meter, make("span", {}, verdict({ answer, confidence, threshold, abstained })));
}

// One answer as it stands: what was said, how it ended, what it took.
function told(exchange, answer) {
  const parts = [words(exchange, answer)];
  const [how, took] = [ending(answer), figures(answer)];
  if (answer.abstention) parts.push(badge(answer.abstention));
  if (how) parts.push(make("p", { class: answer.ended === "failed" ? "bad" : "how" }, how));
  if (took.length) parts.push(make("p", { class: "figures" }, ...took.flatMap((one) => [" · ", make("span", {}, one)]).slice(1)));
  return parts;
}

function section(exchange) {
  const answer = exchange.answers.at(-1);
  const acts = make("p", { class: "acts", "aria-live": "off" });
  if (answer.text) acts.append(button("copy", "Copy"));
  acts.append(button("again", answer.ended === "failed" ? "Try again" : "Regenerate"));
  const older = exchange.answers.slice(0, -1);
  return make("section", { class: "answer" }, make("h3", {}, answer.model.id), ...told(exchange, answer), acts,
    ...(older.length ? [make("details", { class: "older" }, make("summary", {}, `Earlier answers (${older.length})`),
      ...older.map((one) => make("div", {}, ...told(exchange, one))))] : []));
}

function article(exchange) {
  const number = exchanges.indexOf(exchange) + 1;
  const chat = exchange.mode === "chat";
  const head = make("h2", { id: `head-${number}` }, `${chat ? "Question" : "Completion"} ${number}`);
  return make("article", { class: "exchange", "aria-labelledby": head.id },
    make("div", { class: chat ? "question" : "prompt" }, head, chat ? make("p", {}, exchange.text) : ""), section(exchange));
}

export function drawAll() {
  at("log").replaceChildren(...exchanges.map(article));
  at("empty").hidden = exchanges.length > 0;
  scrollTo(0, document.documentElement.scrollHeight);
}

// The place of the last exchange's answer: `grow` while it is written, `live` tells how it goes, `settle` when it has ended.
export function open(exchange) {
  at("empty").hidden = true;
  at("log").setAttribute("aria-busy", "true"); // a screen reader waits for the whole answer
  const answer = exchange.answers.at(-1);
  const place = words(exchange, answer);
  const state = make("p", { class: "figures", "aria-live": "off" });
  const growing = make("section", { class: "answer growing" }, make("h3", {}, answer.model.id), place, state);
  const known = at("log").children[exchanges.indexOf(exchange)];
  const whole = known ?? article(exchange);
  whole.querySelector(".answer").replaceWith(growing);
  if (!known) at("log").append(whole);
  scrollTo(0, document.documentElement.scrollHeight);
  return {
    grow: () => following(() => { place.lastChild.textContent = answer.text; }),
    live: (text) => following(() => { state.textContent = text; }),
    settle: () => {
      at("log").setAttribute("aria-busy", "false");
      following(() => growing.replaceWith(section(exchange)));
    },
  };
}

// Counts down the seconds that a server asked for, on the last exchange's button.
export function countdown(seconds, done) {
  const again = at("log").lastElementChild.querySelector(".again");
  const end = performance.now() + seconds * 1000;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    again.disabled = left > 0;
    again.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (!again.isConnected) return;
    if (left > 0) setTimeout(tick, 250);
    else done();
  };
  tick();
}

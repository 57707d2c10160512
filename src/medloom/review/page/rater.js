// One pair after the other: what is entered is kept in this browser until it is voted, and the server decides what comes next.

import { ask, say, token } from "./common.js";
import { at, make, measure } from "./web.js";

let study = null; // as /api/study describes it
let pair = null; // the one in view
let seen = 0; // when it came into view, in performance time
let before = 0; // milliseconds it had been in view in earlier visits
const UNSURE = "unsure";

const fields = () => new FormData(at("pair"));
const memory = () => `medloom-review-${pair.id}`;

function radio(name, value, text, extra = "") {
  return make("label", { class: `choice ${extra}` }, make("input", { type: "radio", name, value }), make("span", {}, text));
}

function scale(axis) {
  const side = (letter) => make("fieldset", { id: `${axis.key}-${letter}` },
    make("legend", {}, make("span", { class: "unseen" }, `${axis.title}, answer `), letter.toUpperCase()),
    make("div", { class: "choices" }, ...axis.options.map((option, place) => radio(`${axis.key}-${letter}`, place, option)),
      radio(`${axis.key}-${letter}`, UNSURE, "Cannot tell", UNSURE)));
  return make("section", { class: "scale", "aria-labelledby": `${axis.key}-head` },
    make("h2", { id: `${axis.key}-head` }, axis.title), make("p", {}, axis.question), make("div", { class: "sides" }, side("a"), side("b")));
}

function remember() {
  if (!pair) return;
  const kept = { fields: [...fields()], seconds: before + performance.now() - seen };
  try { localStorage.setItem(memory(), JSON.stringify(kept)); } catch { /* a browser that keeps nothing */ }
}

function recall() {
  before = 0;
  try {
    const kept = JSON.parse(localStorage.getItem(memory()) || "null");
    if (!kept) return;
    before = kept.seconds || 0;
    for (const [name, value] of kept.fields) {
      if (name === "comment") at("comment").value = value;
      else for (const input of document.getElementsByName(name)) if (input.type === "checkbox" || input.value === value) input.checked = true;
    }
    say("Your entries for this pair are back.");
  } catch { /* unreadable or forbidden: begin anew */ }
}

function forget() {
  try { localStorage.removeItem(memory()); } catch { /* nothing was kept */ }
}

function stand(done, total) {
  at("place").hidden = false;
  at("count").textContent = `${study.rater}: ${done} of ${total} done`;
  at("bar").max = total || 1;
  at("bar").value = done;
}

function answer(letter, { text, cut }) {
  const place = at(`text-${letter}`);
  place.textContent = text || "(The model wrote nothing.)";
  place.classList.toggle("none", !text);
  at(`cut-${letter}`).hidden = !cut;
}

async function next({ focus = true } = {}) {
  const found = await ask("api/next");
  stand(found.done, found.total);
  at("told").hidden = true;
  at("told").replaceChildren(); // a name must not stay in the page while the next pair is judged
  pair = found.pair;
  at("pair").hidden = at("foot").hidden = !pair;
  at("about").hidden = !pair || !study.instructions || found.done > 0;
  if (!pair) return finish(found);
  at("pair").reset();
  left = null;
  complain([]);
  at("question-head").textContent = `Question ${pair.number} of ${found.total}`;
  document.title = `Question ${pair.number} of ${found.total} – ${study.title}`;
  at("question").textContent = pair.question;
  answer("a", pair.a);
  answer("b", pair.b);
  recall();
  seen = performance.now();
  scrollTo(0, 0);
  if (focus) at("question-head").focus({ preventScroll: true });
}

function finish(found) {
  document.title = `Done – ${study.title}`;
  const head = make("h2", { tabindex: "-1" }, found.total ? `All ${found.total} pairs are done. Thank you.` : "There is nothing for you to judge in this study.");
  at("told").replaceChildren(head);
  if (found.revealed && found.revealed.length) {
    const said = { a: "A", b: "B", same: "the same" };
    at("told").append(make("p", {}, "This is who wrote what:"), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Who wrote what" },
      make("table", {}, make("thead", {}, make("tr", {}, ...["Pair", "A", "B", "You preferred", "Question"].map((name) => make("th", { scope: "col" }, name)))),
        make("tbody", {}, ...found.revealed.map((row) => make("tr", {}, make("td", { class: "num" }, String(row.number)), make("td", {}, row.a), make("td", {}, row.b),
          make("td", {}, said[row.preference]), make("td", { class: "text" }, make("div", {}, row.question))))))));
  }
  at("told").hidden = false;
  head.focus();
}

function tell(result) {
  const button = make("button", { type: "button" }, result.done < result.total ? "Next pair" : "Finish");
  const head = make("h2", { tabindex: "-1" }, "Your vote is recorded.");
  const text = make("p", {}, "Answer A was written by ", make("strong", {}, result.revealed.a), ", answer B by ", make("strong", {}, result.revealed.b), ".");
  at("told").replaceChildren(head, text, button);
  at("told").hidden = false;
  at("pair").hidden = at("foot").hidden = true;
  button.addEventListener("click", () => { say(""); next().catch(fail); });
  scrollTo(0, 0);
  head.focus();
}

// Marks the groups that are still to be answered and leads to the first.
function complain(groups) {
  for (const old of document.querySelectorAll(".missing")) { old.classList.remove("missing"); old.querySelector(".why")?.remove(); }
  for (const group of groups) {
    group.classList.add("missing");
    group.append(make("p", { class: "why" }, "Please choose one."));
  }
  if (!groups.length) return;
  say(`${groups.length} ${groups.length === 1 ? "choice is" : "choices are"} still to be made.`, true);
  groups[0].querySelector("input").focus();
}

function vote() {
  const given = fields();
  const missing = given.has("preference") ? [] : [at("preference")];
  const ratings = {};
  for (const axis of study.axes) {
    ratings[axis.key] = {};
    for (const letter of "ab") {
      const value = given.get(`${axis.key}-${letter}`);
      if (value === null) missing.push(at(`${axis.key}-${letter}`));
      ratings[axis.key][letter] = value === null || value === UNSURE ? null : Number(value);
    }
  }
  complain(missing);
  if (missing.length) return null;
  return { pair: pair.id, preference: given.get("preference"), ratings, unsafe: { a: given.has("unsafe-a"), b: given.has("unsafe-b") },
    comment: given.get("comment"), seconds: (before + performance.now() - seen) / 1000 };
}

function fail(error) {
  say(`${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`, true);
}

at("pair").addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = vote();
  if (!given || at("send").disabled) return;
  at("send").disabled = true;
  say("Sending…");
  try {
    const result = await ask("api/votes", given);
    forget();
    stand(result.done, result.total);
    say("");
    if (result.revealed) tell(result);
    else { await next(); if (pair) say("Your vote is recorded."); }
  } catch (error) {
    if (error.status === 409) { // sent twice, or from another window
      forget();
      await next().catch(fail);
    }
    fail(error);
  } finally {
    at("send").disabled = false;
  }
});
// Enter on a choice would send the form, and a vote cannot be taken back.
at("pair").addEventListener("keydown", (event) => { if (event.key === "Enter" && event.target.matches("input")) event.preventDefault(); });
at("pair").addEventListener("input", (event) => {
  const group = event.target.closest(".missing");
  if (group) { group.classList.remove("missing"); group.querySelector(".why")?.remove(); }
  remember();
});
// On a phone the answers are far from the ratings: there and back to where one was.
let left = null;
for (const button of document.querySelectorAll("[data-to]")) {
  button.addEventListener("click", () => {
    if (at("preference").getBoundingClientRect().top < innerHeight / 2) left = scrollY;
    at(button.dataset.to).scrollIntoView();
    at(button.dataset.to).focus({ preventScroll: true });
  });
}
at("back").addEventListener("click", () => {
  if (left === null) at("preference").scrollIntoView();
  else scrollTo(0, left);
});
// What sticks below the notice must know its height, and what is reached by keyboard must not come to lie under what sticks.
measure("top", "answers");
addEventListener("pagehide", () => { if (pair && !at("pair").hidden && localStorage.getItem(memory())) remember(); });
addEventListener("hashchange", () => location.reload());

async function begin() {
  if (!token()) return say("Open the link that you were given: it knows who you are.", true);
  say("Loading…");
  study = await ask("api/study");
  at("title").textContent = study.title;
  at("notice-full").textContent = study.notice;
  at("about").textContent = study.instructions;
  at("axes").replaceChildren(...study.axes.map(scale));
  say("");
  await next({ focus: false });
}
begin().catch(fail);

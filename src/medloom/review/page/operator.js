// How far each rater has come, looked up again every 15 seconds.

import { ask, say, token } from "./common.js";
import { at, make } from "./web.js";

function row(rater) {
  const bar = make("progress", { max: rater.total || 1, value: rater.done, "aria-label": `Votes of ${rater.rater}` });
  const last = rater.last_vote ? new Date(rater.last_vote).toLocaleString([], { dateStyle: "short", timeStyle: "short" }) : "none yet";
  return make("tr", {}, make("th", { scope: "row" }, rater.rater), make("td", { class: "num" }, `${rater.done} of ${rater.total} `, bar),
    make("td", { class: "num" }, last),
    make("td", {}, rater.has_link ? "given" : "not given yet"));
}

async function look() {
  try {
    const found = await ask("api/progress");
    const done = found.raters.reduce((sum, rater) => sum + rater.done, 0);
    const total = found.raters.reduce((sum, rater) => sum + rater.total, 0);
    at("title").textContent = found.title;
    document.title = `${done} of ${total} votes – ${found.title}`;
    at("notice-full").textContent = found.notice;
    at("place").hidden = at("table").hidden = false;
    at("count").textContent = `${done} of ${total} votes`;
    at("bar").max = total || 1;
    at("bar").value = done;
    at("rows").replaceChildren(...found.raters.map(row));
    say("");
  } catch (error) {
    say(`${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`, true);
  }
}

if (token()) {
  look();
  setInterval(look, 15000);
} else {
  say("Open the link that the server said when it started.", true);
}
addEventListener("hashchange", () => location.reload());

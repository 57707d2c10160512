// The conversation: exchanges of this tab, kept over a reload.
//
// An exchange is { mode, text, answers }, its last answer the one that counts. An answer is { model, settings, earlier, asked, text, ended, error,
// queue, figures, abstention, fingerprint }: the model as it was served, the sampling as it was sent, how many exchanges were sent before it,
// and how it ended: stop and length as the API says, "stopped" by the reader, "failed", or "left" where the page was left before the end.

import { tab } from "./web.js";

const PLACE = "medloom-conversation";
export const exchanges = [];

export function load() {
  exchanges.push(...JSON.parse(tab.getItem(PLACE) ?? "[]"));
}

// Throws where the browser's store is full.
export function keep() {
  if (exchanges.length) tab.setItem(PLACE, JSON.stringify(exchanges));
  else tab.removeItem(PLACE);
}

export function clear() {
  exchanges.length = 0;
  keep();
}

// The questions and answers that stand before `exchange`, as the API takes them.
export function before(exchange) {
  const told = exchanges.slice(0, exchanges.indexOf(exchange)).filter((one) => one.mode === "chat" && one.answers.at(-1).text);
  return told.flatMap((one) => [{ role: "user", content: one.text }, { role: "assistant", content: one.answers.at(-1).text }]);
}

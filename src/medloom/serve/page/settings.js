// What the reader has set, kept in this tab: mode, sampling, system text, and what is written but not sent.

import { at, tab } from "./web.js";

const PLACE = "medloom-settings";
export const fields = at("ask").elements;
export const chat = () => fields.mode.value === "chat";

// The sampling as the API takes it, and the system text.
export function sampling() {
  const stop = fields.stops.value.split("\n").filter(Boolean).map((line) => line.replaceAll("\\n", "\n"));
  return { temperature: Number(fields.temperature.value), top_p: Number(fields.top_p.value), max_tokens: Number(fields.max_tokens.value),
    ...(fields.seed.value ? { seed: Number(fields.seed.value) } : {}), ...(stop.length ? { stop } : {}),
    ...(chat() && fields.system.value.trim() ? { system: fields.system.value } : {}) };
}

// Has the page say what is set.
export function show() {
  at("input-label").textContent = chat() ? "Question" : "Text to go on from";
  fields.system.disabled = !chat();
  const set = sampling();
  at("brief").textContent = [`temperature ${set.temperature}`, set.top_p < 1 ? `top p ${set.top_p}` : "", `at most ${set.max_tokens} tokens`,
    set.seed === undefined ? "" : `seed ${set.seed}`, set.stop ? "stops" : "", set.system ? "system text" : ""].filter(Boolean).join(", ");
}

export function remember() {
  const kept = {};
  for (const { name, type, checked, value } of fields) if (name && (type !== "radio" || checked)) kept[name] = value;
  tab.setItem(PLACE, JSON.stringify(kept));
}

export function recall() {
  for (const [name, value] of Object.entries(JSON.parse(tab.getItem(PLACE) ?? "{}"))) if (fields[name]) fields[name].value = value;
}

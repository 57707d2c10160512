// What leaves the page at the reader's wish: the conversation as a file, made here, with its models, and every exchange with its settings, figures and times.

import { exchanges } from "./conversation.js";
import { make } from "./web.js";
import { ending, figures, verdict } from "./words.js";

export function json(notice) {
  return JSON.stringify({ notice, saved: new Date().toISOString(), exchanges }, null, 2);
}

// Texts stand in fences that nothing in them can close.
export function markdown(notice) {
  const code = (text) => {
    const fence = "`".repeat(Math.max(3, ...(text.match(/`+/g) ?? []).map((run) => run.length + 1)));
    return `${fence}text\n${text}\n${fence}\n`;
  };
  const lines = ["# Conversation with a model", "", `> ${notice}`, "", `Saved ${new Date().toISOString()}`, ""];
  const models = new Map(exchanges.flatMap((one) => one.answers).map(({ model }) => [JSON.stringify(model), model]));
  for (const { id, file, sha256, template } of models.values()) {
    lines.push(`## Model ${id}`, "", `- File: ${file ?? "not told"}`, `- SHA-256: ${sha256 ?? "not told"}`,
      `- Template: ${template.name}, stops ${JSON.stringify(template.stop)}, in this form:`, "", code(template.form));
  }
  exchanges.forEach((one, place) => {
    lines.push(`## ${place + 1}. ${one.mode === "chat" ? "Question" : "Text to go on from"}`, "", code(one.text));
    one.answers.forEach((answer, turn) => {
      lines.push(`### Answer of ${answer.model.id}${one.answers.length > 1 ? ` (${turn + 1} of ${one.answers.length})` : ""}`, "", code(answer.text),
        `- Asked ${answer.asked}, ${answer.earlier} earlier exchanges sent along`, `- Settings: \`${JSON.stringify(answer.settings)}\``);
      for (const said of [figures(answer).join(", "), ending(answer), answer.abstention && verdict(answer.abstention)]) if (said) lines.push(`- ${said}`);
      lines.push("");
    });
  });
  return lines.join("\n");
}

// Has the browser save `text` as a file.
export function download(text, kind, suffix) {
  const href = URL.createObjectURL(new Blob([text], { type: kind }));
  make("a", { href, download: `medloom-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${suffix}` }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
}

// Puts `text` on the clipboard.
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // A page that came over plain HTTP from another machine has no clipboard but this one.
  const field = make("textarea", { class: "unseen" });
  field.value = text;
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

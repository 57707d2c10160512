// What is said of an answer, on the page and in what is saved.

export function figures({ figures: { first_ms, seconds, prompt_tokens, completion_tokens, tokens_per_second }, queue }) {
  const tokens = (count, what = "") => count ? `${count} token${count > 1 ? "s" : ""}${what}` : "";
  return [queue ? `waited behind ${queue}` : "", tokens(completion_tokens), tokens(prompt_tokens, " read"),
    ...(first_ms ? [`first after ${time(first_ms / 1000)}`, `all in ${time(seconds)}`] : seconds >= 1 ? [`after ${time(seconds)}`] : []),
    tokens_per_second ? `${tokens_per_second} tokens/s` : ""].filter(Boolean);
}

export const time = (seconds) => seconds < 1 ? `${Math.round(seconds * 1000)} ms` : seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;

export function ending({ ended, error, text }) {
  return { length: "It reached the longest length allowed.", stopped: "Stopped here.", left: "The page was left before the end.",
    failed: `${text ? "It broke off" : "No answer"}: ${error}.` }[ended] ?? (text ? "" : "The model ends here without a word.");
}

export function verdict({ answer, confidence, threshold, abstained }) {
  const share = (value) => `${(value * 100).toFixed(1)}%`;
  return `${abstained ? "The model abstains" : `Answer ${answer}`}: confidence ${share(confidence)}, threshold ${share(threshold)}`;
}

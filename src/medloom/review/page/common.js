"use strict";
// What both pages share: asking the server they came from, and nobody else, with the token of the link.

const at = (id) => document.getElementById(id);
const token = () => decodeURIComponent(location.hash.slice(1));

function say(text, bad = false) {
  at("status").textContent = text;
  at("status").classList.toggle("bad", bad);
}

// Makes an element: attributes by name, then children, texts or elements.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The body of an answer, or an Error with what the server says and its status.
async function ask(path, body = null) {
  const headers = { Authorization: `Bearer ${token()}` };
  let response;
  try {
    response = body === null ? await fetch(path, { headers })
      : await fetch(path, { method: "POST", headers: { ...headers, "Content-Type": "application/json" }, body: JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error("the server cannot be reached; try again in a moment"), { status: 0 });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(answer.error || `the server answered ${response.status}`), { status: response.status });
  return answer;
}

window.addEventListener("error", (event) => say(`The page failed: ${event.message}`, true));
window.addEventListener("unhandledrejection", (event) => say(`The page failed: ${event.reason}`, true));

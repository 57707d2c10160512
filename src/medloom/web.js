// What the served pages share: finding and making elements, and a bar that says what failed and stays until it is dismissed.

export const at = (id) => document.getElementById(id);

// Makes an element: attributes by name, then children, texts or elements.
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// This tab's storage; in a browser that keeps nothing, what lasts as long as the page.
function storage() {
  try {
    return window.sessionStorage;
  } catch {
    const held = new Map();
    return { getItem: (key) => held.get(key) ?? null, setItem: (key, value) => held.set(key, value), removeItem: (key) => held.delete(key) };
  }
}
export const tab = storage();

// What sticks must tell its height to what sticks below it, or scrolls to below it: as --ID in the page's style.
export function measure(...ids) {
  for (const id of ids) new ResizeObserver(() => document.documentElement.style.setProperty(`--${id}`, `${at(id).offsetHeight}px`)).observe(at(id));
}

const errors = make("div", { id: "errors", role: "alert" });
at("top").append(errors);

// Says `text` in the bar, once however often it happens; `more` are buttons beside it.
export function complain(text, ...more) {
  if ([...errors.querySelectorAll("span")].some((said) => said.textContent === text)) return;
  const dismiss = make("button", { type: "button" }, "Dismiss");
  const line = make("p", {}, make("span", {}, text), ...more, dismiss);
  for (const button of [...more, dismiss]) button.addEventListener("click", () => line.remove());
  errors.append(line);
}

addEventListener("error", (event) => complain(event.message ? `The page failed: ${event.message}` : `The page failed to load ${event.target.src || event.target.href}`), true);
addEventListener("unhandledrejection", (event) => complain(`The page failed: ${event.reason?.message ?? event.reason}`));

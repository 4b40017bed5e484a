// Elements by id, and elements made of parts.

export function byId(id) {
  return document.getElementById(id);
}

/** An element with properties (`class`, `aria-…`, `on…` or a property of the node) and children. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null) continue;
    if (name === "class") element.className = value;
    else if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `pages/icons.svg#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A small button with an icon; `label` is what it is called, and its tooltip. */
export function tool(name, label, onclick) {
  return make("button", { type: "button", class: "tool", title: label, "aria-label": label, onclick }, icon(name));
}

/** Copy, and say so on the button for a moment. */
export async function copyFrom(button, text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copyBySelection(text);
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
}

/** Where the clipboard is closed to the page (no HTTPS), a selection can still be copied. */
function copyBySelection(text) {
  const field = make("textarea", { class: "visually-hidden", value: text });
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Give the browser a file to keep. */
export function download(name, type, text) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function formatNumber(value) {
  return value.toLocaleString("en");
}

/** "1 message", "1,024 messages". */
export function count(number, noun) {
  return `${formatNumber(number)} ${noun}${number === 1 ? "" : "s"}`;
}

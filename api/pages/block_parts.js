// The parts of blocks on the screen: texts of models and tools, which are never taken for HTML, and files.

import { icon, make } from "./dom.js";
import { appendPlain } from "./markdown.js";

const MOST_CHARS = 20_000;

/** Put this text in the place of what the element has. */
export function showText(element, text) {
  if (element.shownText === text) return;
  element.shownText = text;
  element.replaceChildren();
  appendPlain(element, text.slice(0, MOST_CHARS));
  if (text.length > MOST_CHARS) element.append(`… and ${(text.length - MOST_CHARS).toLocaleString("en")} more characters`);
}

/** Text as it is, in a box that scrolls. */
export function partText(text) {
  const box = make("pre", { class: "part", tabIndex: 0 });
  showText(box, text);
  return box;
}

/** A file, which `save` keeps. */
export function fileButton(part, save) {
  const name = make("span", {});
  showText(name, part.name ?? part.mimeType);
  const button = make("button", { type: "button", class: "button small", title: part.mimeType }, icon("export"), name);
  button.setAttribute("aria-label", `Save ${part.name ?? part.mimeType}`);
  button.onclick = save;
  return button;
}

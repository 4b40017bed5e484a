// The log on the screen: messages, what was printed, and the end.

import { byId, make } from "./dom.js";
import { GrowingList } from "./growing_list.js";

const MOST_SHOWN = 2000;
const MOST_BYTES = 256;

export class Log {
  #list = byId("entries");
  #growing = new GrowingList(this.#list, (item) => this.#show(item));

  clear() {
    this.#list.replaceChildren();
    this.#growing.clear();
  }

  /** Show an entry with the next picture; the answer is its element. */
  add(entry) {
    const item = itemOf(entry);
    this.#growing.update(item);
    return item;
  }

  scrollToEnd() {
    this.#growing.scrollToEnd();
  }

  #show(item) {
    const last = this.#list.lastElementChild;
    const goesOn = item.dataset.stream && item.dataset.stream === last?.dataset.stream;
    if (goesOn) last.querySelector("pre").append(item.querySelector("pre").textContent);
    else this.#list.append(item);
    if (this.#list.children.length > MOST_SHOWN) this.#list.firstElementChild.remove();
  }
}

function itemOf({ kind, value, label, state }) {
  if (kind === "note") return make("li", { class: "entry note" }, value);
  if (kind === "stdout" || kind === "stderr") {
    const item = make("li", { class: `entry output ${kind}` }, make("p", { class: "label" }, label), make("pre", {}, value));
    item.dataset.stream = kind;
    return item;
  }
  if (kind === "mine") {
    return make("li", { class: "entry mine", "aria-label": "You" }, make("div", { class: "bubble" }, shown(value)));
  }
  const parts = [make("p", { class: "label" }, label)];
  if (kind === "theirs" || value !== null) parts.push(shown(value));
  return make("li", { class: `entry ${kind} ${state ?? ""}` }, ...parts);
}

/** A value as its reader can tell what it is: text, JSON or bytes. */
function shown(value) {
  if (typeof value === "string") return make("div", { class: "text" }, value);
  if (!(value instanceof Uint8Array)) return make("pre", { class: "value" }, JSON.stringify(value, null, 2));
  const digits = Array.from(value.subarray(0, MOST_BYTES), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
  const bytes = value.length > MOST_BYTES ? `${digits} …` : digits;
  return make("div", {}, make("p", { class: "label" }, `${value.length} bytes`), make("pre", { class: "value" }, bytes));
}

// The list of threads at the side. What each is about, this browser remembers from its first prompt.

import { byId, make, tool } from "./dom.js";
import { Drawer } from "./drawer.js";

const MOST_SHOWN = 200;

/** Actions: show(thread), remove(thread, title), startNew(). */
export class ThreadList {
  #list = byId("threads");
  #signature = null;
  drawer = new Drawer();

  constructor(titles, actions) {
    Object.assign(this, { titles, actions });
    byId("new-thread").addEventListener("click", () => {
      this.drawer.toggle(false, false);
      actions.startNew();
    });
  }

  /** A list is built anew only when it says something new, and the focus stays on its entry. */
  show(threads, currentId) {
    const entries = threads.slice(0, MOST_SHOWN).map((thread) => ({ thread, title: this.titleOf(thread) }));
    const signature = JSON.stringify([entries, currentId, threads.length]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.#list.replaceChildren(...entries.map((entry) => this.#entry(entry, entry.thread.id === currentId)));
    if (!threads.length) this.#list.append(make("li", { class: "empty" }, "No threads yet."));
    if (threads.length > MOST_SHOWN) this.#list.append(make("li", { class: "empty" }, "… and older ones."));
    if (focused) [...this.#list.querySelectorAll("button")].find((button) => button.dataset.key === focused)?.focus();
  }

  titleOf(thread) {
    const name = thread.context_id === thread.id ? null : thread.context_id;
    return this.titles.get(thread.id) ?? name ?? `Thread of ${new Date(thread.created_at * 1000).toLocaleString()}`;
  }

  #entry({ thread, title }, isCurrent) {
    const open = make("button", { type: "button", class: "chat", title },
      make("span", { class: "chat-title" }, make("bdi", {}, title)),
      make("span", { class: "chat-facts" }, `${thread.agent} · ${timeOf(new Date(thread.last_used_at * 1000))}`));
    open.dataset.key = thread.id;
    if (isCurrent) open.setAttribute("aria-current", "page");
    open.onclick = () => {
      this.drawer.toggle(false, false);
      this.actions.show(thread);
    };
    const remove = tool("trash", `Delete “${title}”`, () => this.actions.remove(thread));
    return make("li", {}, open, make("span", { class: "chat-tools" }, remove));
  }
}

function timeOf(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}

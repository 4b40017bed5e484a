// The list of conversations: found by their titles, renamed, deleted.

import { byId, make, tool } from "./dom.js";
import { Drawer } from "./drawer.js";

const MOST_SHOWN = 300;

/** Actions: show(sessionId), rename(sessionIds, title), remove(sessionIds), startNew(). */
export class Sidebar {
  #list = byId("chats");
  #search = byId("chats-search");
  #shown = [[], null];
  #signature = null;
  drawer = new Drawer();

  constructor(branches, actions) {
    Object.assign(this, { branches, actions });
    byId("new-chat").addEventListener("click", () => {
      this.drawer.toggle(false, false);
      actions.startNew();
    });
    this.#search.addEventListener("input", () => this.show(...this.#shown));
  }

  /** One entry for each conversation: branches of one root are together, named for the latest used. */
  show(sessions, currentId) {
    this.#shown = [sessions, currentId];
    if (this.#list.querySelector("form")) return; // one is being renamed
    const wanted = this.#search.value.trim().toLowerCase();
    const all = this.#conversations(sessions);
    const found = all.filter(({ title }) => title.toLowerCase().includes(wanted));
    const current = currentId && this.branches.root(currentId);
    const signature = JSON.stringify([found, current, wanted]);
    byId("chats-search-field").hidden = all.length < 2 && !wanted;
    if (signature === this.#signature) return;
    this.#signature = signature;
    const focused = this.#list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.#list.replaceChildren(...found.slice(0, MOST_SHOWN).map((one) => this.#entry(one, one.root === current)));
    if (!found.length) this.#list.append(make("li", { class: "empty" }, wanted ? "No title has this." : "No conversations yet."));
    if (found.length > MOST_SHOWN) this.#list.append(make("li", { class: "empty" }, "… and more: search for their titles."));
    if (focused) [...this.#list.querySelectorAll("button")].find((button) => button.dataset.key === focused)?.focus();
  }

  /** `{root, title, ids, latest}` for each, the latest used first. */
  #conversations(sessions) {
    const families = new Map();
    for (const session of sessions) {
      const root = this.branches.root(session.id);
      families.set(root, [...(families.get(root) ?? []), session]);
    }
    return [...families].map(([root, members]) => {
      const named = members.find((session) => session.title)?.title ?? this.branches.get(root).title;
      return { root, title: named ?? "Untitled conversation", ids: members.map((session) => session.id), latest: members[0] };
    });
  }

  #entry({ root, title, ids, latest }, isCurrent) {
    const name = make("span", { class: "chat-title" }, make("bdi", {}, title));
    const open = make("button", { type: "button", class: "chat", title }, name,
      make("span", { class: "chat-facts" }, factsOf(latest, ids.length)));
    open.dataset.key = root;
    if (isCurrent) open.setAttribute("aria-current", "page");
    open.onclick = () => {
      this.drawer.toggle(false, false);
      this.actions.show(latest.id);
    };
    const item = make("li", {}, open);
    const rename = tool("edit", `Rename “${title}”`, () => this.#rename(item, title, ids));
    const remove = tool("trash", `Delete “${title}”`, () => this.actions.remove(ids));
    item.append(make("span", { class: "chat-tools" }, rename, remove));
    return item;
  }

  #rename(item, title, ids) {
    const field = make("input", { value: title, maxLength: 200, "aria-label": "Title", enterKeyHint: "done" });
    const form = make("form", { class: "rename" }, field);
    const close = () => {
      field.onblur = null; // removing it takes its focus
      form.remove();
      this.#signature = null;
      this.show(...this.#shown);
    };
    form.onsubmit = (event) => {
      event.preventDefault();
      const given = field.value.trim();
      close();
      if (given && given !== title) this.actions.rename(ids, given);
    };
    form.onkeydown = (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      close();
    };
    field.onblur = close;
    item.replaceChildren(form);
    field.select();
  }
}

function factsOf(session, numBranches) {
  const facts = [session.model];
  if (session.last_used_at) facts.push(timeOf(new Date(session.last_used_at * 1000)));
  if (numBranches > 1) facts.push(`${numBranches} branches`);
  return facts.join(" · ");
}

function timeOf(date) {
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}

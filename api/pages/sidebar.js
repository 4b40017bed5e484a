// The list of conversations.

import { byId, make, tool } from "./dom.js";
import { Drawer } from "./drawer.js";

/** Actions: show(sessionId), remove(sessionIds), startNew(). */
export class Sidebar {
  #list = byId("chats");
  drawer = new Drawer();

  constructor(branches, actions) {
    Object.assign(this, { branches, actions });
    byId("new-chat").addEventListener("click", () => {
      this.drawer.toggle(false, false);
      actions.startNew();
    });
  }

  /** One entry for each conversation: branches of one root are together, named for the latest used. */
  show(sessions, currentId) {
    const conversations = new Map();
    for (const session of sessions) {
      const root = this.branches.root(session.id);
      conversations.set(root, [...(conversations.get(root) ?? []), session]);
    }
    const current = currentId && this.branches.root(currentId);
    this.#list.replaceChildren(...[...conversations].map(([root, members]) => this.#entry(members, root === current)));
    if (!conversations.size) this.#list.append(make("li", { class: "empty" }, "No conversations yet."));
  }

  #entry(members, isCurrent) {
    const latest = members[0];
    const title = members.map((session) => this.branches.get(session.id).title).find(Boolean) ?? "Untitled conversation";
    const open = make("button", { type: "button", class: "chat", title }, make("span", { class: "chat-title" }, title),
      make("span", { class: "chat-facts" }, factsOf(latest, members.length)));
    if (isCurrent) open.setAttribute("aria-current", "page");
    open.onclick = () => {
      this.drawer.toggle(false, false);
      this.actions.show(latest.id);
    };
    const remove = tool("trash", `Delete “${title}”`, () => this.actions.remove(members.map((session) => session.id)));
    return make("li", {}, open, remove);
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

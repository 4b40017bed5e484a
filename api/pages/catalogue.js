// The lists at the side: inferlets, those that run first, and topics with how much is said on them.

import { byId, count, formatNumber, make } from "./dom.js";

const MOST_SHOWN_IN_A_LIST = 200;
const RUNNING = new Set(["running", "waiting"]);

/** Actions: show(kind, id). */
export class Catalogue {
  #signatures = {};

  constructor(actions) {
    this.actions = actions;
    byId("topic-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = byId("topic-name").value.trim();
      if (name) actions.show("topic", name);
      byId("topic-name").value = "";
    });
  }

  /** Show what the server lists; `current` is the feed on the screen, or null. */
  show(inferlets, topics, current) {
    const sorted = [...inferlets].sort((one, other) => RUNNING.has(other.state) - RUNNING.has(one.state));
    const isCurrent = (kind, id) => current?.kind === kind && current.id === id;
    this.#fill("inferlets", "No inferlets yet.", sorted, (inferlet) => this.#entry("inferlet", inferlet.id, {
      title: inferlet.name,
      facts: `${inferlet.state} · ${timeOf(inferlet.created_at)}`,
      state: inferlet.state,
    }, isCurrent("inferlet", inferlet.id)), current);
    this.#fill("topics", "No topics yet.", topics, (topic) => this.#entry("topic", topic.name, {
      title: topic.name,
      facts: `${rateOf(topic.rate)} · ${count(topic.end, "message")} · ${count(topic.num_subscribers, "reader")}`,
    }, isCurrent("topic", topic.name)), current);
  }

  /** A list is built anew only when it says something new, and the focus stays on its entry. */
  #fill(listId, whenEmpty, all, toItem, current) {
    const signature = JSON.stringify([all, current?.kind, current?.id]);
    if (this.#signatures[listId] === signature) return;
    this.#signatures[listId] = signature;
    const list = byId(listId);
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.id : null;
    const items = all.slice(0, MOST_SHOWN_IN_A_LIST).map(toItem);
    const numMore = all.length - items.length;
    if (!items.length) items.push(make("li", { class: "empty" }, whenEmpty));
    if (numMore > 0) items.push(make("li", { class: "empty" }, `… and ${formatNumber(numMore)} more`));
    list.replaceChildren(...items);
    if (focused) [...list.querySelectorAll("button")].find((button) => button.dataset.id === focused)?.focus();
  }

  #entry(kind, id, { title, facts, state }, isCurrent) {
    const name = make("span", { class: "chat-title" }, title);
    const button = make("button", { type: "button", class: "chat", title: `${title}\n${facts}` }, name,
      make("span", { class: "chat-facts" }, facts));
    button.dataset.id = id;
    if (state) button.dataset.state = state;
    if (isCurrent) button.setAttribute("aria-current", "page");
    button.onclick = () => this.actions.show(kind, id);
    return make("li", {}, button);
  }
}

export function rateOf(perSecond) {
  return `${perSecond >= 10 ? formatNumber(Math.round(perSecond)) : perSecond.toFixed(1)}/s`;
}

function timeOf(seconds) {
  const date = new Date(seconds * 1000);
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday
    ? date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : date.toLocaleDateString([], { day: "numeric", month: "short" });
}

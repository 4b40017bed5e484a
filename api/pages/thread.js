// The messages on the screen: one item for each turn, with the question, the answer and what can be done with both.

import { byId, copyFrom, count, formatNumber, make, tool } from "./dom.js";
import { showEditForm } from "./edit_form.js";
import { GrowingList } from "./growing_list.js";
import { appendPlain, showMarkdown } from "./markdown.js";

const ENDINGS = {
  length: "Ended at the longest answer allowed in the settings.",
  context: "The context is full: the answer ends here.",
  cancelled: "Stopped.",
};
/** What the same request would be answered again. */
const FINAL = new Set(["invalid_request", "length_exceeded", "too_large", "unsupported", "unknown_adapter", "forbidden"]);
const TOO_LONG = "This message does not fit into what is left of this conversation’s context. Make it shorter, edit an earlier "
  + "message to branch from there, or go on in a new chat.";

/**
 * Actions: edit(turn, text), regenerate(turn), retry(turn), takeBack(turn), carryOver(turn), show(sessionId),
 * alternatives(turn).
 */
export class Thread {
  #items = new Map(); // turn -> {item, answer, foot, question}
  #list = byId("messages");
  #growing = new GrowingList(this.#list, (turn) => this.#refresh(turn));

  constructor(actions) {
    this.actions = actions;
  }

  /** Show these turns; what is shown already stays. */
  show(turns) {
    const shown = turns.map((turn) => this.#items.get(turn) ?? this.#add(turn));
    for (const [turn, { item }] of this.#items) {
      if (turns.includes(turn)) continue;
      item.remove();
      this.#items.delete(turn);
    }
    shown.forEach(({ item }, index) => this.#list.children[index] === item || this.#list.insertBefore(item, this.#list.children[index] ?? null));
    byId("welcome").hidden = turns.length > 0;
    turns.forEach((turn) => this.#refresh(turn));
    this.scrollToEnd();
  }

  /** Show a turn again, with the next picture. */
  update(turn) {
    this.#growing.update(turn);
  }

  scrollToEnd() {
    this.#growing.scrollToEnd();
  }

  #add(turn) {
    const carried = make("div", { class: "carried" });
    const question = make("article", { class: "question", "aria-label": "You" });
    const title = make("h2", { class: "visually-hidden" }, "Answer"); // the headings in it are below
    const answer = make("div", { class: "markdown" });
    const foot = make("div", { class: "foot" });
    const reply = make("article", { class: "answer", "aria-label": "Answer" }, title, answer, foot);
    const parts = { item: make("li", { class: "turn" }, carried, question, reply), carried, question, reply, answer, foot };
    this.#items.set(turn, parts);
    return parts;
  }

  #refresh(turn) {
    const parts = this.#items.get(turn);
    if (!parts) return;
    if (turn.carried.length && !parts.carried.firstChild) parts.carried.append(carriedOf(turn.carried));
    if (!parts.question.querySelector("form")) this.#showQuestion(turn, parts);
    parts.reply.setAttribute("aria-busy", turn.isUnfinished);
    parts.reply.classList.toggle("thinking", turn.isUnfinished && !turn.text);
    parts.reply.classList.toggle("streaming", turn.isUnfinished && Boolean(turn.text));
    showMarkdown(parts.answer, turn.text);
    const signature = `${turn.state}/${turn.finish?.reason}`;
    if (turn.isUnfinished || parts.signature !== signature) parts.foot.replaceChildren(...this.#footOf(turn));
    parts.signature = signature;
  }

  #showQuestion(turn, parts) {
    const { groups, current } = this.actions.alternatives(turn);
    const signature = JSON.stringify([turn.question, groups, current, turn.state === "waiting"]);
    if (parts.questionSignature === signature) return;
    parts.questionSignature = signature;
    const tools = make("div", { class: "foot" });
    if (groups.length > 1) tools.append(this.#switcher(groups, current));
    tools.append(tool("copy", "Copy the message", (event) => copyFrom(event.currentTarget, turn.question)));
    if (turn.state !== "waiting") tools.append(tool("edit", "Edit the message in a new branch", () => this.#edit(turn, parts)));
    const bubble = make("div", { class: "bubble", dir: "auto" });
    appendPlain(bubble, turn.question);
    parts.question.replaceChildren(bubble, tools);
  }

  #switcher(groups, current) {
    const step = (name, label, target) => {
      const button = tool(name, label, () => this.actions.show(groups[target].at(-1)));
      button.disabled = !groups[target];
      return button;
    };
    const place = make("span", { class: "place" }, `${current + 1}/${groups.length}`);
    place.setAttribute("aria-label", `Branch ${current + 1} of ${groups.length}`);
    const switcher = make("span", { class: "switcher" }, step("left", "Previous branch", current - 1), place, step("right", "Next branch", current + 1));
    switcher.setAttribute("role", "group");
    switcher.setAttribute("aria-label", "Branches");
    return switcher;
  }

  #edit(turn, parts) {
    const close = () => {
      parts.questionSignature = null;
      parts.question.replaceChildren();
      this.#showQuestion(turn, parts);
      parts.question.querySelector("button[aria-label^='Edit']")?.focus();
    };
    showEditForm(parts.question, turn.question, { close, send: (text) => this.actions.edit(turn, text) });
  }

  #footOf(turn) {
    if (turn.isUnfinished) return [];
    if (turn.state === "failed") return [this.#failure(turn)];
    const ending = ENDINGS[turn.finish?.reason];
    return [
      ...(ending ? [make("p", { class: "ending" }, ending)] : []),
      tool("copy", "Copy the answer", (event) => copyFrom(event.currentTarget, turn.text)),
      tool("retry", "Answer again in a new branch", () => this.actions.regenerate(turn)),
      make("span", { class: "numbers" }, numbersOf(turn)),
    ];
  }

  #failure(turn) {
    const { code, message } = turn.error;
    const isTooLong = code === "length_exceeded";
    const act = (text, action) => make("button", { type: "button", class: "button small", onclick: () => action(turn) }, text);
    const notice = make("div", { class: "failure" }, make("p", {}, isTooLong ? TOO_LONG : message));
    if (!FINAL.has(code)) notice.append(act("Try again", this.actions.retry));
    if (!turn.numTokens) notice.append(act(isTooLong ? "Shorten it" : "Take it back", this.actions.takeBack));
    if (isTooLong && turn.baseLength) notice.append(act("New chat with the last turns", this.actions.carryOver));
    notice.setAttribute("role", "alert");
    return notice;
  }
}

/** What a new chat took along, closed at first. */
function carriedOf(messages) {
  const items = messages.map(({ role, content }) => {
    const text = make("div", { class: "markdown" });
    showMarkdown(text, content);
    return make("div", { class: "carried-message" }, make("p", { class: "label" }, role === "assistant" ? "Answer" : "You"), text);
  });
  return make("details", {}, make("summary", {}, `Brought along: ${count(messages.length, "message")}`), ...items);
}

/** What the last turn cost, in one line. */
export function numbersOf(turn) {
  const parts = [`${formatNumber(turn.numTokens)} ${turn.numTokens === 1 ? "token" : "tokens"}`];
  if (turn.speed) parts.push(`${turn.speed.toFixed(turn.speed < 100 ? 1 : 0)} tokens/s`);
  if (turn.sentAt && turn.firstAt) parts.push(`first after ${Math.round(turn.firstAt - turn.sentAt)} ms`);
  if (turn.numResident !== null) parts.push(residencyOf(turn));
  return parts.join(" · ");
}

function residencyOf(turn) {
  const total = turn.baseLength + turn.numPrompt;
  if (!turn.baseLength) return "context: new";
  return turn.numResident ? `context: resident ${turn.numResident}/${total}` : `context: re-filled ${total}`;
}

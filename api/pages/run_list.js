// The runs on the screen: what was asked, said and done, in its order. All text is shown as text, or as Markdown.

import { fileButton, partText, showText } from "./block_parts.js";
import { askForm, outcomeOf } from "./ask_form.js";
import { byId, copyFrom, count, make, tool } from "./dom.js";
import { showEditForm } from "./edit_form.js";
import { GrowingList } from "./growing_list.js";
import { showMarkdown } from "./markdown.js";

/** Statuses that tell what the blocks beside them tell as well; only the last of them is shown, while it is true. */
const PASSING = new Set(["queued", "model", "tool"]);
const CALL_STATES = { open: "being written", complete: "", failed: "failed", cancelled: "not run" };

/** Actions: answer(run, askId, answer), a promise of whether it was taken; save(block, part); branch(block); edit(run, text). */
export class RunList {
  #items = new Map(); // run -> {item, blocks, foot, shown: block -> element, calls: call id -> element}
  #list = byId("runs");
  #growing = new GrowingList(this.#list, (run) => this.#refresh(run));

  constructor(actions) {
    this.actions = actions;
  }

  clear() {
    this.#items.clear();
    this.#list.replaceChildren();
    this.#growing.clear();
  }

  /** Show a run as it is now, with the next picture. */
  update(run) {
    this.#growing.update(run);
  }

  scrollToEnd() {
    this.#growing.scrollToEnd();
  }

  #refresh(run) {
    const parts = this.#items.get(run) ?? this.#add(run);
    if (!run.blocks.length && run.view) showQueued(parts, run.view.prompt);
    else parts.queued?.remove();
    for (const block of run.blocks) this.#show(run, block, parts);
    parts.item.setAttribute("aria-busy", run.state === "running");
    parts.item.classList.toggle("rolled-back", run.view?.reason === "rollback");
    const signature = `${run.state}/${run.view?.reason}/${run.isActive && nowOf(run)}`;
    if (parts.signature !== signature) parts.foot.replaceChildren(...footOf(run));
    parts.signature = signature;
  }

  #add(run) {
    const [blocks, foot] = [make("div", { class: "blocks" }), make("div", { class: "run-foot" })];
    const item = run.parent ? childItem(run.view.agent) : make("li", { class: "turn" });
    item.append(blocks, foot);
    const parts = { item, blocks, foot, shown: new Map(), calls: new Map() };
    this.#items.set(run, parts);
    const above = run.parent && (this.#items.get(run.parent) ?? this.#add(run.parent));
    (above ? above.blocks : this.#list).append(item);
    return parts;
  }

  /** Show a block as it is now; one that is closed and shown is left as it is. */
  #show(run, block, parts) {
    const shown = parts.shown.get(block);
    if (shown?.isFinal) return;
    if (block.view.kind === "status" && PASSING.has(block.view.name)) return;
    const element = shown?.element ?? this.#place(block, parts);
    this.#fill(run, block, element);
    parts.shown.set(block, { element, isFinal: !block.isOpen });
  }

  /** An element for a block: what belongs to a call is in that call's. */
  #place(block, { blocks, calls }) {
    const { kind, role, name, call_id: callId } = block.view;
    const element = emptyElement(kind, role, name);
    if (kind === "tool_call") calls.set(callId, element);
    ((kind !== "tool_call" && calls.get(callId)) || blocks).append(element);
    return element;
  }

  #fill(run, block, element) {
    const { kind, role, state } = block.view;
    if (kind === "message" && role === "user") this.#showPrompt(run, block, element);
    else if (kind === "message") this.#showAnswer(run, block, element);
    else if (kind === "tool_call") showCall(element, block);
    else if (kind === "tool_result") this.#showResult(element, block);
    else if (kind === "ask") this.#showAsk(run, block, element);
    else if (kind === "reasoning") showText(element.lastChild, block.text);
    else if (kind === "handoff") showText(element, `Handed over to ${block.view.name}`);
    else showText(element, block.text || block.view.error?.message || "");
    element.classList.toggle("cut", state === "cancelled");
  }

  /** What was asked; what began the run can be asked in other words, if it is text. */
  #showPrompt(run, block, element) {
    const [bubble, tools] = element.children;
    showText(bubble, block.text);
    if (block.isOpen || run.parent) return;
    tools.append(tool("copy", "Copy the message", (event) => copyFrom(event.currentTarget, block.text)));
    if (block !== run.blocks[0] || !isText(block) || run.before === null) return;
    const close = () => {
      element.replaceChildren(bubble, tools);
      edit.focus();
    };
    const send = (text) => this.actions.edit(run, text);
    const edit = tool("edit", "Edit the message in a new thread", () => showEditForm(element, block.text, { close, send }));
    tools.append(edit);
  }

  #showAnswer(run, block, element) {
    const [, said, tools] = element.children;
    showMarkdown(said, block.text);
    element.setAttribute("aria-busy", block.isOpen);
    element.classList.toggle("streaming", block.isOpen && Boolean(block.text));
    if (block.isOpen || run.parent) return;
    tools.append(
      tool("copy", "Copy the answer", (event) => copyFrom(event.currentTarget, block.text)),
      tool("branch", "Branch into a new thread from here", () => this.actions.branch(block)),
    );
    if (!isText(run.blocks[0]) || run.before === null) return;
    tools.append(tool("retry", "Answer again in a new thread", () => this.actions.edit(run, run.blocks[0].text)));
  }

  /** What the tool gave, as it comes; its boxes stay while only their texts grow. */
  #showResult(element, block) {
    const { error } = block.view;
    const texts = block.parts.filter((part) => part.type !== "file").map((part) => part.text);
    if (error && !block.text) texts.push(error.message);
    const boxes = [...element.querySelectorAll("pre")];
    if (block.isOpen && boxes.length === texts.length) return boxes.forEach((box, at) => showText(box, texts[at]));
    const shown = block.parts.map((part) =>
      part.type === "file" ? fileButton(part, () => this.actions.save(block, part)) : partText(texts.shift()));
    element.replaceChildren(make("p", { class: "label" }, error ? "Failed" : "Result"), ...shown, ...texts.map(partText));
    element.classList.toggle("failed", Boolean(error));
    return undefined;
  }

  #showAsk(run, block, element) {
    if (block.isOpen && element.querySelector("form")) return; // what is written in it stays
    const hadFocus = element.contains(document.activeElement);
    const question = make("p", { class: "ask-question" });
    showText(question, block.text);
    const answer = (given) => this.actions.answer(run, block.view.id, given);
    element.replaceChildren(question, block.isOpen ? askForm(block.view, answer) : outcomeOf(block.view));
    if (hadFocus) byId("composer-input").focus({ preventScroll: true });
  }
}

function isText({ parts }) {
  return parts.every((part) => part.type === "text");
}

/** A prompt that waits for its turn. */
function showQueued(parts, prompt) {
  if (parts.queued) return;
  parts.queued = emptyElement("message", "user");
  showText(parts.queued.firstChild, prompt);
  parts.blocks.append(parts.queued);
}

function emptyElement(kind, role, name) {
  if (kind === "message" && role === "user") {
    return make("article", { class: "question", "aria-label": "You" }, make("div", { class: "bubble", dir: "auto" }),
      make("div", { class: "foot" }));
  }
  if (kind === "message") {
    const title = make("h2", { class: "visually-hidden" }, "Answer"); // the headings in it are below
    return make("article", { class: "answer", "aria-label": "Answer" }, title, make("div", { class: "markdown" }),
      make("div", { class: "foot" }));
  }
  if (kind === "tool_call") return make("article", { class: "call", "aria-label": `Call of ${name}` });
  if (kind === "ask") return make("div", { class: "ask", role: "group", "aria-label": "Question" });
  if (kind === "tool_result") return make("div", { class: "result" });
  if (kind === "reasoning") return make("details", { class: "reasoning" }, make("summary", {}, "Reasoning"), make("div", {}));
  return make("p", { class: kind === "error" ? "failure" : "step" });
}

/** What an agent does that another one has called. */
function childItem(agent) {
  const name = make("p", { class: "label" });
  showText(name, agent);
  return make("div", { class: "child", role: "group", "aria-label": `Work of ${agent}` }, name);
}

/** The tool's name and its arguments as they come; what is in its place already stays. */
function showCall(element, block) {
  if (!element.firstChild) element.append(make("p", { class: "call-head" }), partText(""));
  const [head, written] = element.children;
  const name = make("code");
  showText(name, block.view.name ?? "");
  const state = CALL_STATES[block.view.state];
  head.replaceChildren(name, ...(state ? [make("span", { class: "label" }, state)] : []));
  showText(written, block.text);
}

/** What it does now. */
function nowOf({ state, status }) {
  return (state === "running" && PASSING.has(status?.view.name) && status.text) || STATES[state];
}

const STATES = { queued: "Waits for its turn", waiting: "Waits for an answer", running: "Working" };

function footOf(run) {
  const { view, state } = run;
  if (run.isActive) {
    const text = make("span");
    showText(text, nowOf(run));
    return [make("p", { class: `now ${state}` }, make("span", { class: "dot", "aria-hidden": "true" }), text)];
  }
  const { prompt_tokens: read, completion_tokens: said, tool_calls: calls } = view.usage;
  const facts = [count(read + said, "token"), ...(calls ? [count(calls, "call")] : [])].join(" · ");
  const numbers = make("p", { class: "numbers" }, facts);
  if (state === "succeeded") return [numbers];
  const reason = view.reason?.replaceAll("_", " ");
  const ending = make("p", { class: state === "failed" ? "failure" : "ending" });
  showText(ending, `${state === "failed" ? "Failed" : "Cancelled"} (${reason})${view.error ? `: ${view.error.message}` : "."}`);
  return [ending, numbers];
}

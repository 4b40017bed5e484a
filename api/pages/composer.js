// The field where messages are written: Enter sends, Shift+Enter starts a line, and the server hears of typing.

import { byId } from "./dom.js";

const TYPING_EVERY_MS = 5000;

/**
 * Actions: send(text); where there is a button to stop, stop(); where the server is to hear of typing, typing(); where
 * the text is to be judged while it is written, changed(text). `isAlwaysOpen`: messages are sent also while an answer
 * runs, one after another.
 */
export class Composer {
  #field = byId("composer-input");
  #lastTyping = -Infinity;
  #isClosed = false;
  #sending = null;

  constructor(actions) {
    this.actions = actions;
    byId("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    byId("stop")?.addEventListener("click", () => actions.stop());
    this.#field.addEventListener("input", () => this.#onInput());
    this.#field.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    addEventListener("resize", () => this.#fit());
    queueMicrotask(() => this.#onInput()); // of what the browser kept there, when the whole page is made
  }

  /** While an answer runs, the button stops it; the next message can be written, and is sent afterwards. */
  showRunning(isRunning) {
    this.#isClosed = isRunning && !this.actions.isAlwaysOpen;
    const hadFocus = document.activeElement === byId(this.#isClosed ? "send" : "stop");
    byId("send").hidden = this.#isClosed;
    byId("stop").hidden = !isRunning;
    if (hadFocus) this.focus();
  }

  /** Put a text back that could not be sent, unless another has been begun. */
  restore(text) {
    if (!this.#field.value.trim()) this.#field.value = text;
    this.#onInput();
    this.focus();
  }

  get text() {
    return this.#field.value;
  }

  focus() {
    this.#field.focus({ preventScroll: true });
  }

  async #submit() {
    const text = this.#field.value.trim();
    const before = this.#sending;
    if (!text || this.#isClosed || (before && !this.actions.isAlwaysOpen)) return;
    this.#field.value = "";
    this.#lastTyping = -Infinity;
    this.#onInput();
    const sending = before ? before.catch(() => null).then(() => this.#send(text)) : this.#send(text);
    this.#sending = sending;
    try {
      await sending;
    } finally {
      if (this.#sending === sending) this.#sending = null;
    }
  }

  async #send(text) {
    await this.actions.send(text);
  }

  #onInput() {
    const isEmpty = !this.#field.value.trim();
    byId("send").disabled = isEmpty;
    this.#fit();
    this.actions.changed?.(this.#field.value);
    const now = performance.now();
    if (isEmpty || now - this.#lastTyping < TYPING_EVERY_MS) return;
    this.#lastTyping = now;
    this.actions.typing?.();
  }

  #fit() {
    this.#field.rows = 1;
    const lineHeight = parseFloat(getComputedStyle(this.#field).lineHeight);
    const padding = parseFloat(getComputedStyle(this.#field).paddingTop) * 2;
    this.#field.rows = Math.min(8, Math.max(1, Math.round((this.#field.scrollHeight - padding) / lineHeight)));
  }
}

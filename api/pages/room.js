// How much room the context has left: the meter in the bar, and a word above the composer before it is too late.

import { byId, formatNumber } from "./dom.js";

const TEMPLATE_TOKENS = 8; // what a chat template adds to a message, about

/** Actions: carryOver(), leaveOut(). */
export class Room {
  constructor(actions) {
    byId("room-carry").addEventListener("click", () => actions.carryOver());
    byId("room-leave").addEventListener("click", () => actions.leaveOut());
  }

  /** `maxContext` is the session's, or the chosen model's where there is no session yet; `text` is what is written. */
  show(conversation, maxContext, text) {
    const { length, carry } = conversation;
    this.#showMeter(length, conversation.maxContext);
    const left = Math.max(0, maxContext - length);
    const need = conversation.estimate(text) + TEMPLATE_TOKENS;
    const isFull = Boolean(maxContext) && Boolean(length) && left <= TEMPLATE_TOKENS;
    const isTooLong = Boolean(maxContext) && Boolean(text.trim()) && need > left;
    byId("room").hidden = !isFull && !isTooLong && !carry;
    byId("room-carry").hidden = !length || !(isFull || isTooLong);
    byId("room-leave").hidden = !carry;
    this.#say(isFull
      ? `This conversation is full: ${formatNumber(length)} of ${formatNumber(maxContext)} tokens. Edit an earlier message to branch from there, or start a new chat.`
      : isTooLong
        ? `This message may be too long: it comes to about ${formatNumber(need)} tokens, and there is room for ${formatNumber(left)}.`
        : carry
          ? `Your message takes the last ${carry.numTurns === 1 ? "turn" : `${carry.numTurns} turns`} of the other chat along.`
          : "");
  }

  #say(text) {
    if (byId("room-text").textContent !== text) byId("room-text").textContent = text;
  }

  #showMeter(length, maxContext) {
    byId("context").hidden = !maxContext || !length;
    if (!maxContext) return;
    byId("context-text").textContent = `${formatNumber(length)} of ${formatNumber(maxContext)} tokens`;
    const meter = byId("context-meter");
    meter.setAttribute("aria-valuemax", maxContext);
    meter.setAttribute("aria-valuenow", Math.min(length, maxContext));
    meter.setAttribute("aria-valuetext", byId("context-text").textContent);
    meter.firstElementChild.style.inlineSize = `${Math.min(100, (100 * length) / maxContext)}%`;
    meter.classList.toggle("nearly-full", length > 0.85 * maxContext);
  }
}

// One sentence above the field where messages are written, about what went wrong.

import { byId } from "./dom.js";

export class Notice {
  constructor() {
    byId("notice-close").addEventListener("click", () => this.hide());
  }

  /** Say it, and offer something to do about it. */
  show(text, actionText = null, action = null) {
    byId("notice-text").textContent = text;
    byId("notice-action").hidden = !actionText;
    byId("notice-action").textContent = actionText ?? "";
    byId("notice-action").onclick = () => {
      this.hide();
      action();
    };
    byId("notice").hidden = false;
  }

  hide() {
    byId("notice").hidden = true;
  }
}

// The list in the middle of a page, whose items grow: it stays at its end while that is in sight.

import { byId, copyFrom } from "./dom.js";

const NEAR_END_PX = 80;

/** Action: refresh(item), which shows an item of the list as it is now. */
export class GrowingList {
  #scroller = byId("thread");
  #dirty = new Set();
  #isAtEnd = true;
  #refresh;

  constructor(list, refresh) {
    this.#refresh = refresh;
    this.#scroller.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    byId("to-end").addEventListener("click", () => this.scrollToEnd());
    list.addEventListener("click", (event) => {
      const button = event.target.closest(".copy-code");
      if (button) copyFrom(button, button.closest("figure").querySelector("pre").textContent);
    });
  }

  /** Nothing is to be shown again. */
  clear() {
    this.#dirty.clear();
    this.scrollToEnd();
  }

  /** Show an item again, with the next picture. */
  update(item) {
    if (!this.#dirty.size) requestAnimationFrame(() => this.#flush());
    this.#dirty.add(item);
  }

  scrollToEnd() {
    this.#isAtEnd = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    byId("to-end").hidden = true;
  }

  #flush() {
    for (const item of this.#dirty) this.#refresh(item);
    this.#dirty.clear();
    if (this.#isAtEnd) this.scrollToEnd();
    else this.#noteScroll();
  }

  #noteScroll() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    byId("to-end").hidden = this.#isAtEnd;
  }
}

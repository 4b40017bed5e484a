// The column at the side. On a narrow screen it slides in over the page.

import { byId } from "./dom.js";

export class Drawer {
  #sidebar = byId("sidebar");
  #opener = byId("sidebar-open");

  constructor() {
    this.#opener.addEventListener("click", () => this.toggle(true));
    byId("sidebar-close").addEventListener("click", () => this.toggle(false));
    byId("scrim").addEventListener("click", () => this.toggle(false));
    this.#sidebar.addEventListener("keydown", (event) => event.key === "Escape" && this.toggle(false));
  }

  get isOpen() {
    return this.#sidebar.classList.contains("open");
  }

  toggle(isOpen, moveFocus = true) {
    const wasOpen = this.isOpen;
    this.#sidebar.classList.toggle("open", isOpen);
    byId("scrim").hidden = !isOpen;
    this.#opener.setAttribute("aria-expanded", isOpen);
    if (moveFocus && isOpen) byId("sidebar-close").focus();
    else if (moveFocus && wasOpen) this.#opener.focus();
  }
}

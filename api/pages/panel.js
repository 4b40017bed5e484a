// The dialogs: settings, the API key, and the question before something is deleted.

import { byId } from "./dom.js";

const NUMBERS = ["temperature", "top_p", "min_p", "repetition_penalty", "top_k", "max_tokens", "seed"];
const TEXTS = ["system", "retention"];

/** The settings dialog; every change is kept at once. */
export class SettingsPanel {
  #dialog = byId("settings");
  #form = byId("settings-form");

  constructor(settings, keyring, onKeyChanged) {
    Object.assign(this, { settings, keyring });
    byId("settings-open").addEventListener("click", () => this.open());
    byId("settings-reset").addEventListener("click", () => {
      settings.reset();
      this.#show();
    });
    this.#form.addEventListener("input", () => this.#keep());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    this.#dialog.addEventListener("close", () => {
      const key = this.#form.elements.key.value.trim();
      if (key === keyring.key) return;
      keyring.key = key;
      onKeyChanged();
    });
  }

  open() {
    this.#show();
    this.#form.elements.key.value = this.keyring.key;
    this.#dialog.showModal();
  }

  #show() {
    for (const name of [...NUMBERS, ...TEXTS]) this.#form.elements[name].value = this.settings.values[name] ?? "";
    this.#showValues();
  }

  #keep() {
    const values = {};
    for (const name of TEXTS) values[name] = this.#form.elements[name].value;
    for (const name of NUMBERS) {
      const field = this.#form.elements[name];
      const isUsable = field.value !== "" && field.validity.valid;
      if (isUsable || name === "seed") values[name] = isUsable ? field.valueAsNumber : null;
    }
    this.settings.update(values);
    this.#showValues();
  }

  #showValues() {
    for (const field of this.#form.querySelectorAll("input[type=range]")) {
      field.parentElement.querySelector(".value").textContent = Number(field.value).toFixed(2);
    }
  }
}

/** Ask for an API key; resolves with the one that was given. Several callers share one dialog. */
export function keyAsker(keyring) {
  const dialog = byId("key-dialog");
  const form = byId("key-form");
  let asked = null;
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  return (wasWrong) => {
    asked ??= new Promise((resolve) => {
      byId("key-error").hidden = !wasWrong;
      form.elements.key.value = "";
      form.onsubmit = () => {
        keyring.key = form.elements.key.value;
        asked = null;
        resolve(keyring.key);
      };
      dialog.showModal();
    });
    return asked;
  };
}

/** Whether the user really wants to delete. */
export function confirmDelete() {
  const dialog = byId("delete-dialog");
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// The dialog that launches a program: one that is listed, or a file that is uploaded first.

import { GreenroomError } from "../client.js";
import { byId, make } from "./dom.js";

export class Launcher {
  #dialog = byId("launch");
  #form = byId("launch-form");

  /** `launched(instance)` is called with each new one. */
  constructor(client, launched) {
    Object.assign(this, { client, launched });
    byId("launch-open").addEventListener("click", () => this.open());
    byId("launch-cancel").addEventListener("click", () => this.#dialog.close());
    byId("launch-close").addEventListener("click", () => this.#dialog.close());
    this.#form.elements.file.addEventListener("change", () => this.#try(() => this.#upload()));
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#try(() => this.#launch());
    });
  }

  open() {
    this.#say("");
    this.#dialog.showModal();
    return this.#try(() => this.#list());
  }

  async #list(chosen = this.#form.elements.program.value) {
    const programs = await this.client.listPrograms();
    const field = this.#form.elements.program;
    const options = programs.map(({ program, file }) => make("option", { value: program }, labelOf(program, file)));
    field.replaceChildren(...(options.length ? options : [make("option", { value: "" }, "None yet: upload a file")]));
    if (programs.some(({ program }) => program === chosen)) field.value = chosen;
    byId("launch-submit").disabled = !options.length;
  }

  async #upload() {
    const [file] = this.#form.elements.file.files;
    this.#form.elements.file.value = "";
    if (file) await this.#list(await this.client.uploadProgram(file));
  }

  async #launch() {
    const { program, name } = this.#form.elements;
    const lines = this.#form.elements.arguments.value.split("\n").filter((line) => line !== "");
    const instance = await this.client.launchInstance(program.value, lines, name.value.trim() || null);
    this.#form.elements.name.value = "";
    this.#dialog.close();
    this.launched(instance);
  }

  /** Do it, once at a time; say in the dialog what went wrong. */
  async #try(action) {
    const submit = byId("launch-submit");
    submit.disabled = true;
    this.#say("");
    try {
      await action();
    } catch (error) {
      if (!(error instanceof GreenroomError)) throw error;
      this.#say(error.message);
    }
    submit.disabled = !this.#form.elements.program.value;
  }

  #say(text) {
    byId("launch-error").textContent = text;
    byId("launch-error").hidden = !text;
  }
}

function labelOf(program, file) {
  return program === file ? program : `${file} · ${program.slice(0, 8)}`;
}

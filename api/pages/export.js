// A conversation as a file: Markdown to read, or JSON as the server describes it.

import { byId, download } from "./dom.js";

const NAMES = { system: "System", user: "You", assistant: "Answer", tool: "Tool" };

/** The dialog that asks for the form. `described()` is what the server says about the shown session. */
export class Exporter {
  #dialog = byId("export");

  constructor(described) {
    byId("export-open").addEventListener("click", () => this.#dialog.showModal());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close());
    byId("export-markdown").addEventListener("click", async () => {
      const view = await described();
      if (view) this.#keep(view, "md", "text/markdown", asMarkdown(view));
    });
    byId("export-json").addEventListener("click", async () => {
      const view = await described();
      if (view) this.#keep(view, "json", "application/json", `${JSON.stringify(view, null, 2)}\n`);
    });
  }

  #keep(view, ending, type, text) {
    this.#dialog.close();
    download(`${fileName(view)}.${ending}`, type, text);
  }
}

export function asMarkdown(view) {
  const opened = new Date(view.created_at * 1000).toISOString().slice(0, 16).replace("T", " ");
  const parts = [`# ${view.title || "Conversation"}`, `${view.model}, opened ${opened} UTC, ${view.length} tokens`];
  for (const turn of view.turns) {
    for (const message of turn.messages) parts.push(`## ${NAMES[message.role]}`, message.content);
    if (turn.prompt_text !== null) parts.push("## Text", turn.prompt_text);
    parts.push("## Answer", turn.text.trim() || "(nothing)");
  }
  return `${parts.join("\n\n")}\n`;
}

function fileName(view) {
  const words = (view.title || "conversation").normalize("NFKD").replace(/[^\p{L}\p{N}]+/gu, "-");
  return words.replace(/^-+|-+$/g, "").slice(0, 60).toLowerCase() || "conversation";
}

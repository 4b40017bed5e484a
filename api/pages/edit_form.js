// A field in the place of a message, in which that is changed.

import { make } from "./dom.js";

/** `close` puts the message back, whether it is sent or not; `send` is given the text then, unless it is empty. */
export function showEditForm(place, text, { close, send }) {
  const field = make("textarea", { value: text, rows: Math.min(8, text.split("\n").length + 1) });
  field.setAttribute("aria-label", "Edit the message");
  const form = make("form", { class: "edit" }, field, make("div", { class: "edit-foot" },
    make("button", { type: "button", class: "button small", onclick: close }, "Cancel"),
    make("button", { type: "submit", class: "button small primary" }, "Send in a new branch")));
  form.onsubmit = (event) => {
    event.preventDefault();
    const changed = field.value.trim();
    close();
    if (changed) send(changed);
  };
  form.onkeydown = (event) => {
    if (event.key === "Escape") {
      event.stopPropagation();
      close();
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.target === field) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  place.replaceChildren(form);
  field.focus();
  field.setSelectionRange(field.value.length, field.value.length);
}

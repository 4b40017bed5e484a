// What an agent asks, as a form: an approval, a question, or a tool that the reader is to run.

import { showText } from "./block_parts.js";
import { make } from "./dom.js";
import { fieldsOf } from "./schema_fields.js";

/** The form of an ask that is open. `answer({approve, value, reason})` is a promise of whether it was taken. */
export function askForm({ id, ask }, answer) {
  const form = make("form", { class: "ask-form", noValidate: true });
  const problem = make("p", { class: "field-error", role: "alert", hidden: true });
  const give = async (given) => {
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true"; // and not inert, which would take the focus away
    if (!await answer(given)) form.ariaBusy = "false";
  };
  const fields = ask.type === "approval" ? null : fieldsOf(ask.schema, ask.type === "question" ? "Answer" : "Result");
  const giveValue = () => {
    try {
      problem.hidden = true;
      give({ value: fields.read() });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      problem.textContent = error.message;
      problem.hidden = false;
    }
  };
  const reason = make("input", { id: `${id}-reason`, maxLength: 2000, autocomplete: "off" });
  const refuse = (label) => button(label, () => give({ approve: false, reason: reason.value.trim() || null }));
  const because = make("label", { class: "field" }, "Reason, if you refuse", reason);
  if (ask.type === "approval") form.append(because, foot(refuse("Deny"), button("Approve", null)));
  else if (ask.type === "question") form.append(...fields.elements, problem, foot(button("Answer", null)));
  else form.append(...fields.elements, because, problem, foot(refuse("Refuse"), button("Send result", null)));
  form.onsubmit = (event) => {
    event.preventDefault();
    if (ask.type === "approval") give({ approve: true });
    else giveValue();
  };
  form.onkeydown = (event) => {
    // In a field for the reason it would be unclear which of the two Enter means.
    if (event.key === "Enter" && event.target === reason) event.preventDefault();
  };
  return form;
}

/** What became of an ask. */
export function outcomeOf({ state, answer, ask }) {
  const outcome = make("p", { class: "ask-outcome" });
  const why = answer?.reason ? `: ${answer.reason}` : "";
  if (!answer) showText(outcome, state === "cancelled" ? "Not answered." : "Over.");
  else if (answer.approve === false) showText(outcome, `${ask.type === "approval" ? "Denied" : "Refused"}${why}`);
  else if (ask.type === "approval") showText(outcome, "Approved");
  else showText(outcome, `Answered: ${typeof answer.value === "string" ? answer.value : JSON.stringify(answer.value)}`);
  return outcome;
}

function foot(...buttons) {
  return make("div", { class: "ask-foot" }, ...buttons);
}

/** Without something to do it sends the form. */
function button(label, onclick) {
  return make("button", { type: onclick ? "button" : "submit", class: `button small ${onclick ? "" : "primary"}`, onclick }, label);
}

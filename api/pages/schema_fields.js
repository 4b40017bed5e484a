// Fields for a value of a JSON schema: one for each of its properties, and JSON as text where no field would fit.

import { make } from "./dom.js";

const MOST_FIELDS = 24;

/**
 * `{elements, read()}`: labelled fields, and the value that they have.
 *
 * `read` throws a TypeError, in a sentence, where a field has none.
 */
export function fieldsOf(schema, label) {
  const whole = resolved(schema, schema);
  const names = whole.type === "object" ? Object.keys(whole.properties ?? {}) : [];
  if (!names.length || names.length > MOST_FIELDS) {
    const field = fieldOf(whole, label, true);
    return { elements: [field.element], read: field.read };
  }
  const fields = names.map((name) => {
    const property = whole.properties[name];
    const isRequired = whole.required?.includes(name) ?? false;
    return [name, fieldOf(resolved(property, schema), titleOf(property, name), isRequired)];
  });
  const read = () => {
    const entries = fields.map(([name, field]) => [name, field.read()]).filter(([, value]) => value !== undefined);
    return Object.fromEntries(entries);
  };
  return { elements: fields.map(([, field]) => field.element), read };
}

/** A schema without its reference, and without the null that stands for a value that is not there. */
function resolved(schema, root) {
  if (schema === null || typeof schema !== "object") return {};
  const name = /^#\/(?:\$defs|definitions)\/([^/]+)$/.exec(schema.$ref ?? "")?.[1];
  if (name) return (root.$defs ?? root.definitions)?.[name] ?? {};
  const others = (schema.anyOf ?? []).filter((one) => one?.type !== "null");
  return others.length === 1 && others.length < schema.anyOf.length ? resolved(others[0], root) : schema;
}

function titleOf(schema, name) {
  return typeof schema?.title === "string" ? schema.title : name;
}

function fieldOf(schema, label, isRequired) {
  const [input, parse] = inputOf(schema);
  const text = typeof schema.description === "string" ? [make("small", {}, schema.description)] : [];
  const element = make("label", { class: "field" }, isRequired ? label : `${label} (optional)`, input, ...text);
  input.setAttribute("aria-required", isRequired);
  const read = () => {
    if (input.value.trim()) return parse(input.value, label);
    if (isRequired) throw new TypeError(`${label}: a value is expected.`);
    return undefined;
  };
  return { element, read };
}

/** An input, and how its text becomes a value. */
function inputOf(schema) {
  if (Array.isArray(schema.enum)) return [choice(schema.enum), (text) => JSON.parse(text)];
  if (schema.type === "boolean") return [choice([true, false], ["Yes", "No"]), (text) => JSON.parse(text)];
  if (schema.type === "string") return [make("textarea", { rows: 1 }), (text) => text];
  if (schema.type === "integer" || schema.type === "number") {
    return [make("input", { inputMode: schema.type === "integer" ? "numeric" : "decimal", autocomplete: "off" }), toNumber(schema)];
  }
  return [make("textarea", { rows: 3, placeholder: "JSON", spellcheck: false, autocapitalize: "none" }), toJson];
}

function choice(values, labels = values.map((value) => (typeof value === "string" ? value : JSON.stringify(value)))) {
  const options = values.map((value, at) => make("option", { value: JSON.stringify(value) }, labels[at]));
  return make("select", {}, make("option", { value: "" }, "Choose…"), ...options);
}

function toNumber({ type, minimum = -Infinity, maximum = Infinity }) {
  return (text, label) => {
    const value = Number(text.trim() || NaN);
    const isFit = type === "integer" ? Number.isSafeInteger(value) : Number.isFinite(value);
    if (!isFit) throw new TypeError(`${label}: ${type === "integer" ? "a whole number" : "a number"} is expected.`);
    if (value < minimum) throw new TypeError(`${label}: at least ${minimum} is expected.`);
    if (value > maximum) throw new TypeError(`${label}: at most ${maximum} is expected.`);
    return value;
  };
}

function toJson(text, label) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TypeError(`${label}: this is not JSON: ${error.message}`);
  }
}

// A message's value: text, bytes or JSON, as `api/values.py` has it on the server's side.

import { GreenroomError } from "./errors.js";

const MAX_VALUE_BYTES = 1 << 20;

/**
 * What messages carry: a string is text, a Uint8Array is bytes, anything else that JSON can say is JSON. Whole numbers
 * beyond 2^53 lose digits, as everywhere in JavaScript.
 *
 * @typedef {string | Uint8Array | null | boolean | number | any[] | Record<string, any>} Value
 */

/**
 * The value in a JSON document: `{text}`, `{bytes}` in base64, or `{json}`.
 *
 * @param {Value} value
 * @returns {Record<string, any>}
 * @throws {GreenroomError} invalid_request, too_large
 */
export function toJson(value) {
  if (typeof value === "string") return { text: checked(value, new TextEncoder().encode(value).length) };
  if (value instanceof Uint8Array) return { bytes: toBase64(checked(value, value.length)) };
  checkJson(value);
  return { json: checked(value, new TextEncoder().encode(JSON.stringify(value)).length) };
}

/** The value that `toJson` was given. @param {any} view @returns {Value} */
export function fromJson(view) {
  if ("text" in view) return view.text;
  return "bytes" in view ? fromBase64(view.bytes) : view.json;
}

/**
 * The body that says a message to a topic, and its content type. Text is a JSON string: the two are one.
 *
 * @param {Value} value
 * @returns {[BodyInit, string]}
 */
export function messageBody(value) {
  toJson(value);
  if (value instanceof Uint8Array) return [/** @type {BodyInit} */ (value), "application/octet-stream"];
  return [JSON.stringify(value), "application/json"];
}

/**
 * @template T
 * @param {T} value
 * @param {number} numBytes
 */
function checked(value, numBytes) {
  if (numBytes <= MAX_VALUE_BYTES) return value;
  throw new GreenroomError("too_large", `a message may have ${MAX_VALUE_BYTES} bytes, this one has ${numBytes}`);
}

/** What `JSON.stringify` would change or leave out without a word. @param {any} value */
function checkJson(value) {
  if (value === null || typeof value === "boolean" || typeof value === "string" || Number.isFinite(value)) return;
  if (Array.isArray(value)) return value.forEach(checkJson);
  const prototype = typeof value === "object" ? Object.getPrototypeOf(value) : undefined;
  if (prototype === Object.prototype || prototype === null) return Object.values(value).forEach(checkJson);
  throw new GreenroomError("invalid_request", `a message is text, bytes or a JSON value, not ${String(value)}`);
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
}

/** @param {string} text */
function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

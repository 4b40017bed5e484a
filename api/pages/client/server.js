// The server, as every part of the client asks it: requests, streams of events, and sockets, all with the API key.

import { errorOf, GreenroomError, unreachable } from "./errors.js";
import { EventParser } from "./event_parser.js";
import { within } from "./patience.js";

const SILENCE_S = 45; // the server breaks every silence of 15 seconds with a comment

/**
 * What a client may be told when it is made.
 *
 * @typedef {object} ClientOptions
 * @property {string | null} [apiKey]
 * @property {number} [timeoutS] for one request, and for opening a connection
 * @property {number} [patienceS] how long to go on trying without any progress; may be Infinity
 * @property {((wasWrong: boolean) => Promise<string | null>) | null} [askForKey] awaited when the server wants another
 *   API key than it got; answers with one, or null to give up
 * @property {typeof WebSocket} [WebSocket] for sessions, where there is no global one
 */

/** One server, for the classes beside this one. */
export class Server {
  /** @type {Set<() => void>} */
  #open = new Set();
  /** @type {Set<Promise<unknown>>} */
  #underway = new Set();
  #ending = new AbortController();

  /** @param {string} url @param {ClientOptions} options */
  constructor(url, options) {
    const base = new URL(url, globalThis.document?.baseURI);
    this.base = base.href.replace(/[?#].*$/, "").replace(/\/*$/, "/");
    this.apiKey = options.apiKey ?? null;
    this.timeoutS = options.timeoutS ?? 30;
    this.patienceS = options.patienceS ?? 60;
    this.askForKey = options.askForKey ?? null;
    this.WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.isClosed = false;
  }

  /**
   * One request; its JSON answer, null where it says that there is none.
   *
   * @param {string} method
   * @param {string} path relative to the server's address
   * @param {BodyInit | null} [body]
   * @param {string} [contentType]
   * @param {Record<string, string>} [moreHeaders]
   * @returns {Promise<any>}
   * @throws {GreenroomError}
   */
  async ask(method, path, body = null, contentType = "application/json", moreHeaders = {}) {
    const headers = body === null ? moreHeaders : { "Content-Type": contentType, ...moreHeaders };
    const timeout = () => AbortSignal.timeout(this.timeoutS * 1000);
    const response = await this.#fetch(path, () => ({ method, body, headers, signal: timeout() }));
    try {
      // A browser takes headers that were cut off for whole ones; then the body, which all but a 204 have, is missing.
      return response.status === 204 ? null : await response.json();
    } catch (error) {
      throw unreachable(error);
    }
  }

  /** The bytes that a GET is answered with. @param {string} path @throws {GreenroomError} */
  async bytes(path) {
    const response = await this.#fetch(path, () => ({ signal: AbortSignal.timeout(this.timeoutS * 1000) }));
    try {
      return new Uint8Array(await response.arrayBuffer());
    } catch (error) {
      throw unreachable(error);
    }
  }

  /**
   * The events of a stream, as they are read, until it ends.
   *
   * @param {string} path
   * @param {AbortSignal} signal ends it
   * @returns {AsyncGenerator<import("./event_parser.js").StreamEvent>}
   * @throws {GreenroomError} the answer is one, "end_of_events", or "unavailable": it broke, was
   *   silent, or `signal` was aborted.
   */
  async *stream(path, signal) {
    const connection = new AbortController();
    const abort = () => {
      this.#open.delete(abort);
      connection.abort();
    };
    signal.addEventListener("abort", abort);
    this.#open.add(abort);
    if (signal.aborted) abort();
    try {
      const response = await this.#fetch(path, () => ({ signal: connection.signal }), abort);
      if (response.status === 204) throw new GreenroomError("end_of_events", "the stream is over", { status: 204 });
      const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
      const [parser, decoder] = [new EventParser(), new TextDecoder()];
      for (;;) {
        const { value, done } = await within(SILENCE_S, abort, reader.read());
        if (done) return;
        yield* parser.take(decoder.decode(value, { stream: true }));
      }
    } catch (error) {
      throw error instanceof GreenroomError ? error : unreachable(error);
    } finally {
      signal.removeEventListener("abort", abort);
      abort();
    }
  }

  /**
   * A socket that knows the key: browsers can set no header on one, so it is offered as a subprotocol.
   *
   * @param {string} path
   */
  socket(path) {
    if (!this.WebSocket) {
      const ways = "Node 22, node --experimental-websocket, or the option WebSocket";
      throw new GreenroomError("unsupported", `Sessions need a WebSocket: ${ways}`);
    }
    const url = new URL(path, this.base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    return new this.WebSocket(url.href, this.apiKey ? ["greenroom", `bearer.${this.apiKey}`] : ["greenroom"]);
  }

  /**
   * The server did not take this key: is there another one to try?
   *
   * @param {string | null} refused
   */
  async renewKey(refused) {
    if (this.apiKey !== refused) return true;
    const key = await this.askForKey?.(Boolean(refused));
    if (key) this.apiKey = key;
    return Boolean(key);
  }

  /** Aborted by `close`. */
  get ending() {
    return this.#ending.signal;
  }

  /** What `close` is to end; the answer takes it back. @param {() => void} end */
  keep(end) {
    this.#open.add(end);
    return () => this.#open.delete(end);
  }

  /** Something on its way, which `close` is to wait for. @param {Promise<unknown>} sending never rejected */
  wait(sending) {
    this.#underway.add(sending);
    sending.then(() => this.#underway.delete(sending));
  }

  /** End what is open, when what is on its way has arrived or been given up. */
  async close() {
    await Promise.all(this.#underway);
    this.isClosed = true;
    this.#ending.abort();
    for (const end of [...this.#open]) end();
  }

  /**
   * @param {string} path
   * @param {() => Omit<RequestInit, "headers"> & {headers?: Record<string, string>}} options for one try
   * @param {() => void} [expire] called when the answer does not begin in time
   */
  async #fetch(path, options, expire = () => {}) {
    for (;;) {
      if (this.isClosed) throw new GreenroomError("closed", "this client is closed");
      const key = this.apiKey;
      const response = await within(this.timeoutS, expire, this.#fetchWith(key, path, options()));
      if (response.ok) return response;
      const view = await response.json().catch(() => null);
      if (response.status === 401 && (await this.renewKey(key))) continue;
      const retryAfterS = Number(response.headers.get("Retry-After")) || null;
      throw errorOf(view?.error, { status: response.status, retryAfterS });
    }
  }

  /**
   * @param {string | null} key
   * @param {string} path
   * @param {Omit<RequestInit, "headers"> & {headers?: Record<string, string>}} options
   */
  async #fetchWith(key, path, options) {
    try {
      const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
      return await fetch(new URL(path, this.base), { ...options, headers });
    } catch (error) {
      throw unreachable(error);
    }
  }
}

// A thread's blocks on the client's side, over as many connections as it takes, without loss or repeat.

import { errorOf, GreenroomError, unreachable } from "./errors.js";
import { Patience } from "./patience.js";

/**
 * What to read of a thread. With `runId` it ends with that run.
 *
 * @typedef {object} StreamQuery
 * @property {string | null} runId
 * @property {string | number | null} after a position; null is the beginning
 * @property {string[]} kinds of blocks; all, where it is empty
 * @property {boolean} children of runs that other runs began, too
 */

/**
 * Events of a thread, as the server names them: "block.created", "block.delta", "block.completed", "run.updated",
 * "run.ended".
 *
 * @param {import("./server.js").Server} server
 * @param {string} thread the path of the thread
 * @param {StreamQuery} query
 * @param {AbortSignal} signal ends it
 * @returns {AsyncGenerator<{name: string, data: any, position: string}>}
 * @throws {GreenroomError} it cannot be read any further: "thread_deleted", "thread_not_found", …
 */
export async function* threadEvents(server, thread, { runId, after, kinds, children }, signal) {
  const patience = new Patience(server.patienceS);
  const query = new URLSearchParams();
  if (runId) query.set("run_id", runId);
  if (after !== null) query.set("after", String(after));
  if (kinds.length) query.set("kinds", kinds.join(","));
  if (children) query.set("children", "true");
  for (let isOver = false; ; ) {
    try {
      for await (const { name, data, id } of server.stream(`${thread}/stream?${query}`, signal)) {
        if (name === "error") throw errorOf(data);
        patience.renew();
        if (!name) continue; // a comment
        if (id) query.set("after", id);
        isOver ||= name === "run.ended" && data.run.id === runId;
        yield { name, data, position: id };
      }
      if (isOver) return;
      throw unreachable(new Error("it ended the stream"));
    } catch (error) {
      if (signal.aborted || isOver) return;
      if (!(error instanceof GreenroomError && error.retryable)) throw error;
      await patience.wait(error, signal);
    }
  }
}

/** A block, which might still grow. `view` has its fields as they came last. */
export class Block {
  /** @type {string[]} */
  #pieces;
  #following;

  /** @param {any} view @param {Following | null} following what it grows with; null where it does not */
  constructor(view, following) {
    this.view = view;
    this.#following = following;
    this.#pieces = view.parts.map((/** @type {any} */ part) => part.text).filter(Boolean);
  }

  get id() {
    return this.view.id;
  }

  /** The text of its parts so far; of JSON, JSON text as it grew. */
  get text() {
    return this.#pieces.join("");
  }

  /** Whether it does not grow any longer. */
  get isComplete() {
    return this.view.state !== "open";
  }

  /** Of its first part. */
  get mimeType() {
    return this.view.parts[0]?.mime_type ?? "text/plain";
  }

  /** Who said it; null where it is no message. */
  get chatRole() {
    return this.view.kind === "message" ? this.view.role : null;
  }

  /** What it is: `{kind, name}`. */
  get tags() {
    const { kind, name, role } = this.view;
    if (kind === "message") return [{ kind: "chat", name: "role", value: role }];
    const kinds = /** @type {Record<string, string>} */ ({ status: "status-message", tool_call: "function-selection" });
    return [{ kind: kinds[kind] ?? kind, name: name ?? kind }];
  }

  /** The pieces of its text, from the first on, until it is complete. @throws {GreenroomError} it cannot be read on. */
  async *stream() {
    for (let index = 0; ; ) {
      while (index < this.#pieces.length) yield this.#pieces[index++];
      if (this.isComplete) return;
      if (!this.#following) throw new GreenroomError("closed", "this block came with a list, which does not grow");
      await this.#following.advance();
    }
  }

  /** For `Following`. @param {string} text */
  grow(text) {
    this.#pieces.push(text);
  }
}

/** Reads a thread while somebody waits for something in it. */
export class Following {
  #leaving = new AbortController();
  /** @type {Promise<void> | null} */
  #advancing = null;
  /** @type {Map<string, Block>} */
  #byId = new Map();
  /** @type {unknown} */
  #failure = null;
  #isOver = false;

  /** @param {import("./server.js").Server} server @param {string} thread @param {StreamQuery} query */
  constructor(server, thread, query) {
    this.source = threadEvents(server, thread, query, this.#leaving.signal);
    /** Those that have begun, in their order. @type {Block[]} */
    this.blocks = [];
  }

  /** Blocks as they begin, until the stream ends. */
  async *each() {
    for (let index = 0; ; ) {
      while (index < this.blocks.length) yield this.blocks[index++];
      if (this.#isOver) return;
      await this.advance();
    }
  }

  /** Go on by one event, which all that wait share. @throws {GreenroomError} there will be none. */
  advance() {
    if (this.#failure) return Promise.reject(this.#failure);
    this.#advancing ??= this.#advance().finally(() => (this.#advancing = null));
    return this.#advancing;
  }

  /** Read no further. */
  close() {
    this.#failure ??= new GreenroomError("closed", "the stream that this block came with is closed");
    this.#leaving.abort();
  }

  async #advance() {
    try {
      const { value, done } = await this.source.next();
      if (!done) return this.#take(value);
      this.#isOver = true;
      this.close();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  /** @param {{name: string, data: any}} event */
  #take({ name, data }) {
    if (name === "block.created") {
      const block = new Block(data.block, this);
      this.#byId.set(block.id, block);
      this.blocks.push(block);
    }
    if (name === "block.delta") this.#byId.get(data.block_id)?.grow(data.text);
    const completed = name === "block.completed" ? this.#byId.get(data.block.id) : null;
    if (completed) completed.view = data.block;
  }
}

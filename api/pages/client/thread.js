// A thread on the client's side: one conversation with an agent, which is also called its file.

import { randomId } from "./outbox.js";
import { Block, Following, threadEvents } from "./thread_stream.js";

/** One thread; made by `Client.thread`, or with a prompt: then `stream` and `blocks` are of that prompt's run. */
export class Thread {
  /**
   * @param {import("./server.js").Server} server
   * @param {string} id
   * @param {{runId?: string | null, after?: string | number | null}} [from]
   */
  constructor(server, id, { runId = null, after = null } = {}) {
    this.server = server;
    this.id = id;
    this.path = `api/threads/${encodeURIComponent(id)}`;
    this.runId = runId;
    this.after = after;
    this.history = new ChatHistory(this);
  }

  /**
   * Blocks as they begin, each to be streamed by itself, until the run has ended; without a run, for ever. After a lost
   * connection this goes on where it was. It reads no faster than its caller.
   *
   * @param {{kinds?: string[], children?: boolean}} [options] `children`: of runs that other runs began, too
   * @returns {AsyncGenerator<Block>}
   */
  async *stream({ kinds = [], children = false } = {}) {
    const query = { runId: this.runId, after: this.after, kinds, children };
    const following = new Following(this.server, this.path, query);
    try {
      yield* following.each();
    } finally {
      following.close();
    }
  }

  /**
   * Events as the server sends them, each once: `{name, data, position}`. `after: position` goes on after one of them.
   *
   * @param {{after?: string | number | null, kinds?: string[], children?: boolean, signal?: AbortSignal}} [options]
   *   `signal` ends it
   */
  events({ after = this.after, kinds = [], children = false, signal = this.server.ending } = {}) {
    return threadEvents(this.server, this.path, { runId: this.runId, after, kinds, children }, signal);
  }

  /**
   * Blocks as they are now; by default what user and assistant said first.
   *
   * @param {{kinds?: string[], roles?: string[], runId?: string | null, limit?: number, latestFirst?: boolean,
   *   children?: boolean}} [options] `children`: of runs that other runs began, too
   * @returns {Promise<Block[]>}
   */
  async blocks({ kinds = [], roles = [], runId = this.runId, limit = 100, latestFirst = false, children = false } = {}) {
    const order = latestFirst ? "desc" : "asc";
    const query = new URLSearchParams({ limit: String(limit), order, children: String(children) });
    if (kinds.length) query.set("kinds", kinds.join(","));
    if (roles.length) query.set("roles", roles.join(","));
    if (runId) query.set("run_id", runId);
    const view = await this.server.ask("GET", `${this.path}/blocks?${query}`);
    return view.blocks.map((/** @type {any} */ block) => new Block(block, null));
  }

  /** The bytes of a block's part, a file's too. @param {string} blockId @param {number} [part] @returns {Promise<Uint8Array>} */
  bytes(blockId, part = 0) {
    return this.server.bytes(`api/blocks/${encodeURIComponent(blockId)}/raw?part=${part}`);
  }

  /** What it is: `{id, agent, context_id, created_at, last_used_at}`. */
  async describe() {
    return (await this.server.ask("GET", this.path)).thread;
  }

  /**
   * A new thread with what was said and done here up to a block: that, its id or its `seq`, or 0 for nothing. To change
   * what was said, fork before it, and prompt with `contextId: fork.id`.
   *
   * @param {string | number | Block} after
   * @param {{idempotencyKey?: string}} [options] the same fork with the same key is the same thread
   * @returns {Promise<Thread>}
   * @throws {import("./errors.js").GreenroomError} "block_not_found", and "thread_busy" where the block is open
   */
  async fork(after, { idempotencyKey = randomId() } = {}) {
    const body = JSON.stringify({ after: after instanceof Block ? after.id : after });
    const headers = { "Idempotency-Key": idempotencyKey };
    const { thread } = await this.server.ask("POST", `${this.path}/fork`, body, undefined, headers);
    return new Thread(this.server, thread.id);
  }

  /** Remove it with all that was said. */
  async delete() {
    await this.server.ask("DELETE", this.path);
  }
}

/** What was said in a thread. */
export class ChatHistory {
  /** @param {Thread} thread */
  constructor(thread) {
    this.thread = thread;
  }

  /** Blocks, in their order. @param {{kinds?: string[], roles?: string[], runId?: string, limit?: number}} [options] */
  getMessages(options = {}) {
    return this.thread.blocks(options);
  }

  /** What user and assistant said first. */
  messages() {
    return this.thread.blocks();
  }

  /** The latest; null where there is none. */
  lastUserMessage() {
    return this.#last("user");
  }

  /** The latest; null where there is none. */
  lastAgentMessage() {
    return this.#last("assistant");
  }

  /** @param {string} role */
  async #last(role) {
    const [found] = await this.thread.blocks({ kinds: ["message"], roles: [role], limit: 1, latestFirst: true });
    return found ?? null;
  }
}

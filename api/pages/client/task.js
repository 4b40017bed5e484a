// A run on the client's side, which is also called a task: what one prompt has begun.

import { GreenroomError, RunFailed } from "./errors.js";
import { Patience } from "./patience.js";

const LONGEST_WAIT_S = 20; // for one request; then there is another

/** In the words of the Python client: one that asks runs, and one that was cancelled has failed. */
const TASK_STATES = /** @type {Record<string, string>} */ ({ queued: "waiting", waiting: "running", cancelled: "failed" });

/** One run; made by `Agent.asyncPrompt` or `Client.task`. */
export class Task {
  #state;

  /** @param {import("./server.js").Server} server @param {string} runId @param {string} [state] */
  constructor(server, runId, state = "queued") {
    this.server = server;
    this.id = this.requestId = runId;
    this.path = `api/runs/${encodeURIComponent(runId)}`;
    /** As it was when it was asked for last, `{id, state, reason, error, usage, …}`; null before. @type {any} */
    this.run = null;
    this.#state = state;
  }

  /** "waiting", "running", "succeeded" or "failed", when it was asked for last; `run.state` is the server's word. */
  get state() {
    const state = this.run?.state ?? this.#state;
    return TASK_STATES[state] ?? state;
  }

  /** The run as it is now. */
  refresh() {
    return this.#ask("GET", "");
  }

  /**
   * The run, once it has succeeded or waits for an answer; over lost connections.
   *
   * @param {number | null} [timeoutS] null waits as long as it takes
   * @returns {Promise<any>}
   * @throws {RunFailed} it failed, or was cancelled.
   * @throws {GreenroomError} "timeout": it has not come that far in time.
   */
  async wait(timeoutS = null) {
    const deadline = timeoutS === null ? Infinity : performance.now() + timeoutS * 1000;
    const patience = new Patience(this.server.patienceS);
    for (;;) {
      const left = Math.max(0, (deadline - performance.now()) / 1000);
      const seconds = Math.min(LONGEST_WAIT_S, this.server.timeoutS / 2, left);
      try {
        const run = await this.#ask("GET", `/wait?timeout_s=${seconds}`);
        if (["failed", "cancelled"].includes(run.state)) throw new RunFailed(run);
        if (["succeeded", "waiting"].includes(run.state)) return run;
        patience.renew();
      } catch (error) {
        if (!(error instanceof GreenroomError && error.retryable)) throw error;
        await patience.wait(error, this.server.ending);
      }
      if (performance.now() < deadline) continue;
      throw new GreenroomError("timeout", `run ${this.id} has not ended within ${timeoutS} s`, { retryable: true });
    }
  }

  /** End it. Idempotent. @param {"keep" | "rollback"} [mode] */
  cancel(mode = "keep") {
    return this.#ask("POST", "/cancel", { mode });
  }

  /**
   * Answer what it asks.
   *
   * @param {string} askId
   * @param {{approve?: boolean, value?: any, reason?: string}} answer
   * @throws {GreenroomError} "already_answered", "ask_not_found", "run_ended", "invalid_request"
   */
  answer(askId, answer) {
    return this.#ask("POST", "/answers", { answers: [{ ...answer, ask_id: askId }] });
  }

  /** Let the model read this before its next step. @param {string} prompt @throws {GreenroomError} "run_ended" */
  steer(prompt) {
    return this.#ask("POST", "/steer", { prompt });
  }

  /** @param {string} method @param {string} path @param {any} [body] */
  async #ask(method, path, body = null) {
    this.run = (await this.server.ask(method, this.path + path, body && JSON.stringify(body))).run;
    return this.run;
  }
}

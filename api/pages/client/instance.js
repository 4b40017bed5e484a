// An inferlet from outside the cluster: its events as they come, over as many connections as it takes.

import { errorOf, GreenroomError, unreachable } from "./errors.js";
import { Inbox } from "./inbox.js";
import { Outbox } from "./outbox.js";
import { Patience } from "./patience.js";
import { fromJson } from "./values.js";

const ENDS = new Set(["completed", "failed", "terminated", "lost"]);

/**
 * What an inferlet did. `value` is what was sent ("message") or returned ("completed"), what was printed ("stdout",
 * "stderr"), or the program's traceback ("failed"); null for the other ends. "lagged": `missed` events, the last of them
 * at this position, are no longer kept, since the program has continued as new.
 *
 * @typedef {object} InstanceEvent
 * @property {"message" | "stdout" | "stderr" | "lagged" | "completed" | "failed" | "terminated" | "lost"} type
 * @property {number} position
 * @property {number} [missed]
 * @property {boolean} isEnd
 * @property {import("./values.js").Value} value
 */

/**
 * One inferlet on the server; made by `Client`. `detach` leaves it running there.
 *
 * Every event is received once and in order: after a lost connection this goes on after the last one. What was sent is
 * sent again until it is accepted, and taken once.
 */
export class Instance {
  #leaving = new AbortController();

  /** @param {import("./server.js").Server} server @param {string} id @param {number} after */
  constructor(server, id, after) {
    this.id = id;
    /** Of the last event that was received; `attachInstance(id, position)` goes on after it. */
    this.position = after;
    this.server = server;
    this.path = `api/inferlets/${encodeURIComponent(id)}`;
    const ended = new GreenroomError("inferlet_ended", `the end of inferlet '${id}' has been received`);
    /** @type {Inbox<InstanceEvent>} */
    this.inbox = new Inbox(this.#events(after), ended);
    this.outbox = new Outbox(server, `${this.path}/messages`, this.#leaving.signal);
  }

  /**
   * A message for the program's `recv`. It is on its way when this returns; await it for its position, once it is
   * durable.
   *
   * @param {import("./values.js").Value} message
   * @returns {Promise<number>}
   * @throws {GreenroomError} "invalid_request", "too_large" at once; when awaited, "inferlet_ended".
   */
  send(message) {
    return this.outbox.send(message);
  }

  /**
   * The next event, and what it carries.
   *
   * @param {number | null} [timeoutS] seconds; null waits as long as it takes
   * @returns {Promise<[InstanceEvent, import("./values.js").Value]>}
   * @throws {GreenroomError} "timeout", by which nothing is lost; "inferlet_ended": its end has been received;
   *   "closed": this client has left; else the connection is gone for good.
   */
  async recv(timeoutS = null) {
    const event = await this.inbox.recv(timeoutS);
    this.position = event.position;
    return [event, event.value];
  }

  /**
   * What the program returned, once it has ended; events that were not received are passed over.
   *
   * @throws {GreenroomError} it failed or was terminated; the sentence says how.
   */
  async result() {
    for (;;) {
      const [event, value] = await this.recv();
      if (event.type === "completed") return value;
      if (!event.isEnd) continue;
      throw new GreenroomError("internal", `inferlet ${this.id} has no result: ${value || event.type}`);
    }
  }

  /** What it is, and how it does: `{id, name, program, state, arguments, …}`. */
  describe() {
    return this.server.ask("GET", this.path);
  }

  /** End it; the same description. Its last events can still be received. */
  terminate() {
    return this.server.ask("DELETE", this.path);
  }

  /** Leave it running, once it has accepted what was sent. Idempotent. */
  async detach() {
    await this.outbox.settled();
    this.#leaving.abort();
    this.inbox.close(new GreenroomError("closed", "this client has left the inferlet"));
  }

  /** Events and what they carry, to the end. */
  async *[Symbol.asyncIterator]() {
    for (let isOver = false; !isOver; ) {
      const received = await this.recv();
      isOver = received[0].isEnd;
      yield received;
    }
  }

  /** @param {number} came @returns {AsyncGenerator<InstanceEvent>} */
  async *#events(came) {
    const patience = new Patience(this.server.patienceS);
    const signal = this.#leaving.signal;
    for (;;) {
      try {
        for await (const { name, data } of this.server.stream(`${this.path}/events?after=${came}`, signal)) {
          if (name === "error") throw errorOf(data);
          patience.renew();
          if (!data || data.position <= came) continue;
          if (data.position !== came + (data.missed ?? 1)) throw unreachable(new Error(`event ${data.position} came after ${came}`));
          came = data.position;
          const event = eventOf(data);
          yield event;
          if (event.isEnd) return;
        }
        throw unreachable(new Error("it ended the stream"));
      } catch (error) {
        if (signal.aborted || (error instanceof GreenroomError && error.status === 204)) return;
        if (!(error instanceof GreenroomError && error.retryable)) throw error;
        await patience.wait(error, signal);
      }
    }
  }
}

/** @param {any} data @returns {InstanceEvent} */
function eventOf(data) {
  const { type, position } = data;
  const hasValue = type === "message" || type === "completed";
  const value = hasValue ? fromJson(data) : (data.text ?? data.error ?? null);
  const event = { type, position, isEnd: ENDS.has(type), value };
  return type === "lagged" ? { ...event, missed: data.missed } : event;
}

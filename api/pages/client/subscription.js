// A topic on the client's side: its events over as many connections as it takes, without loss or repeat.

import { errorOf, GreenroomError, unreachable } from "./errors.js";
import { Inbox } from "./inbox.js";
import { Patience } from "./patience.js";
import { fromJson } from "./values.js";

/**
 * What a reader of a topic gets. "message": somebody published `value` at `publishedAt`, seconds since the epoch.
 * "lagged": `missed` messages before the next one are no longer retained. "new_epoch": the topic has begun anew.
 *
 * @typedef {object} TopicEvent
 * @property {"message" | "lagged" | "new_epoch"} type
 * @property {number} position
 * @property {string} epoch
 * @property {import("./values.js").Value} [value]
 * @property {number} [publishedAt]
 * @property {number} [missed]
 */

/** One reader of one topic; made by `Client.subscribe`. It comes back by itself and goes on where it was. */
export class Subscription {
  #leaving = new AbortController();
  #place;
  #isOpen = false;

  /**
   * @param {import("./server.js").Server} server
   * @param {string} topic
   * @param {{after: string, replay: boolean}} options
   */
  constructor(server, topic, { after, replay }) {
    this.server = server;
    this.topic = topic;
    this.replay = replay;
    /** The place after the last event that was received: `subscribe(topic, {after: cursor})` goes on there. */
    this.cursor = after;
    this.#place = after;
    this.source = this.#events();
    /** @type {Inbox<{event: TopicEvent, place: string}>} */
    this.inbox = new Inbox(this.source, closed());
  }

  /** Once the server has taken it up, what is published comes. For `Client`. @throws {GreenroomError} it has not. */
  async opened() {
    await this.source.next();
  }

  /**
   * The next event.
   *
   * @param {number | null} [timeoutS] seconds; null waits as long as it takes
   * @returns {Promise<TopicEvent>}
   * @throws {GreenroomError} "timeout", by which nothing is lost; "closed"; else it is over for good.
   */
  async recv(timeoutS = null) {
    const { event, place } = await this.inbox.recv(timeoutS);
    this.cursor = place;
    return event;
  }

  /** Stop reading. Idempotent. */
  close() {
    this.#leaving.abort();
    this.inbox.close(closed());
  }

  /** Events, until it is closed. */
  async *[Symbol.asyncIterator]() {
    try {
      for (;;) yield await this.recv();
    } catch (error) {
      if (!(error instanceof GreenroomError && error.code === "closed")) throw error;
    }
  }

  /** @returns {AsyncGenerator<any>} first, once, undefined: it is open */
  async *#events() {
    const patience = new Patience(this.server.patienceS);
    const signal = this.#leaving.signal;
    for (;;) {
      try {
        for await (const { name, data, id } of this.server.stream(this.#path(), signal)) {
          if (name === "error") throw errorOf(data);
          patience.renew();
          if (id) this.#place = id;
          if (!this.#isOpen) {
            this.#isOpen = true;
            yield undefined;
          }
          const event = data && eventNamed(name, data);
          if (event) yield { event, place: id };
        }
        throw unreachable(new Error("it ended the stream"));
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof GreenroomError && error.retryable)) throw error;
        await patience.wait(error, signal);
      }
    }
  }

  #path() {
    const query = new URLSearchParams(this.#place ? { after: this.#place } : { replay: String(this.replay) });
    return `${namedPath("topics", this.topic)}/events?${query}`;
  }
}

function closed() {
  return new GreenroomError("closed", "the subscription is closed");
}

/**
 * Where a topic or a queue is, on the server; slashes are part of its name.
 *
 * @param {"topics" | "queues"} kind
 * @param {string} name
 */
export function namedPath(kind, name) {
  if (/\p{Cc}|\p{Cs}/u.test(name)) throw new GreenroomError("invalid_request", "a name has no control characters");
  if (/^[.][.]?$/.test(name)) throw new GreenroomError("invalid_request", `no address can name '${name}'`);
  const parts = name.split("/").map(encodeURIComponent);
  const slash = parts.includes(".") || parts.includes("..") ? "%2F" : "/"; // an address would take these for folders
  return `api/${kind}/${parts.join(slash)}`;
}

/**
 * Null for an event that only a newer server knows.
 *
 * @param {string} name
 * @param {any} data
 * @returns {TopicEvent | null}
 */
function eventNamed(name, data) {
  const { position, epoch } = data;
  if (name === "message") return { type: name, position, epoch, value: fromJson(data), publishedAt: data.published_at };
  if (name === "lagged") return { type: name, position, epoch, missed: data.missed };
  return name === "new_epoch" ? { type: name, position, epoch } : null;
}

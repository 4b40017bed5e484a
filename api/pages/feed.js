// What the page follows: one inferlet, or one topic. Both give entries for the log, and take messages.

import { count } from "./dom.js";
import { Sent } from "./sent.js";

/**
 * An entry is `{kind, value, label}`: "theirs" and "mine" are messages, "stdout" and "stderr" what was printed, "end" how
 * it ended (`value` is its result or its traceback), "note" a sentence.
 */
export class InferletFeed {
  #instance = null;

  constructor(client, id) {
    Object.assign(this, { client, id, kind: "inferlet", isOpen: false, hasEnded: false, description: null });
    this.sent = new Sent(id);
  }

  /**
   * Entries after a place (null is the beginning), each with its own place, until it ends or `leave` is called. The
   * first one is null: from now on `send` works.
   */
  async *entries(place) {
    this.#instance = await this.client.attachInstance(this.id, place);
    try {
      this.description = await this.#instance.describe();
      this.isOpen = true;
      yield [null, place];
      const latest = this.description.end_position - 1;
      if ((place ?? -1) >= latest) yield* this.#mine(Infinity, place);
      for await (const [event] of this.#instance) {
        yield* this.#mine(event.position, event.position - 1);
        this.hasEnded = event.isEnd;
        yield [entryOf(event), event.position];
        if (event.position === latest) yield* this.#mine(Infinity, latest);
      }
    } finally {
      this.leave();
    }
  }

  /** On its way when this returns; await it for when it is accepted. */
  send(value) {
    const accepted = this.#instance.send(value);
    this.sent.note(value, this.#instance.position);
    return accepted;
  }

  leave() {
    return this.#instance?.detach();
  }

  *#mine(position, place) {
    for (const value of this.sent.before(position)) yield [{ kind: "mine", value }, place];
  }
}

export class TopicFeed {
  #subscription = null;

  constructor(client, name) {
    Object.assign(this, { client, id: name, kind: "topic", isOpen: false, hasEnded: false });
  }

  async *entries(place) {
    this.#subscription = await this.client.subscribe(this.id, { after: place });
    try {
      this.isOpen = true;
      yield [null, place];
      for await (const event of this.#subscription) yield [topicEntry(event), this.#subscription.cursor];
    } finally {
      this.leave();
    }
  }

  send(value) {
    return this.client.publish(this.id, value);
  }

  leave() {
    this.#subscription?.close();
  }
}

const ENDINGS = { completed: "Completed", failed: "Failed", terminated: "Terminated", lost: "Lost: its process died" };

function entryOf({ type, position, isEnd, value, missed }) {
  if (type === "lagged") return { kind: "note", value: `${count(missed, "event")} before this are no longer kept.` };
  if (isEnd) return { kind: "end", state: type, label: ENDINGS[type], value };
  return type === "message" ? { kind: "theirs", value, label: `Message ${position}` } : { kind: type, value, label: type };
}

function topicEntry({ type, position, value, publishedAt, missed }) {
  const were = `${count(missed ?? 0, "message")} before this ${missed === 1 ? "is" : "are"} no longer retained.`;
  if (type === "lagged") return { kind: "note", value: were };
  if (type === "new_epoch") return { kind: "note", value: "The topic has begun anew." };
  const time = new Date(publishedAt * 1000).toLocaleTimeString();
  return { kind: "theirs", value, label: `Message ${position} · ${time}` };
}

// Messages on their way: one after another, each repeated under its key until it is accepted.

import { GreenroomError } from "./errors.js";
import { Patience } from "./patience.js";
import { toJson } from "./values.js";

/** What one client sends to one inferlet. */
export class Outbox {
  /** @type {Promise<unknown>} */
  #last = Promise.resolve();

  /** @param {import("./server.js").Server} server @param {string} path @param {AbortSignal} signal ends it */
  constructor(server, path, signal) {
    this.server = server;
    this.path = path;
    this.signal = signal;
  }

  /**
   * Send, when what was sent before is accepted. Nobody has to wait for it.
   *
   * @param {import("./values.js").Value} message
   * @returns {Promise<number>} the message's position
   */
  send(message) {
    const body = JSON.stringify({ key: randomId(), ...toJson(message) });
    const sent = this.#last.then(() => this.#post(body));
    const settled = sent.catch(() => null);
    this.server.wait(settled);
    this.#last = settled;
    return sent;
  }

  /** When nothing is on its way. */
  async settled() {
    await this.#last;
  }

  /** @param {string} body */
  async #post(body) {
    const patience = new Patience(this.server.patienceS);
    for (;;) {
      if (this.signal.aborted) throw new GreenroomError("closed", "this client has left the inferlet");
      try {
        return (await this.server.ask("POST", this.path, body)).position;
      } catch (error) {
        if (!(error instanceof GreenroomError && error.retryable)) throw error;
        await patience.wait(error, this.signal);
      }
    }
  }
}

/** 128 random bits, in hexadecimal digits. */
export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

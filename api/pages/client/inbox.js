// Many may wait for what one source gives, each for as long as it likes.

import { GreenroomError } from "./errors.js";
import { within } from "./patience.js";

/**
 * Reads its source while somebody waits, and not otherwise: beyond that the connection fills up and the server waits.
 * What a wait that ran out of time did not take, the next one gets.
 *
 * @template T
 */
export class Inbox {
  /** @type {T[]} */
  #unread = [];
  /** @type {{resolve: (item: T) => void, reject: (error: unknown) => void}[]} */
  #waiting = [];
  #isReading = false;
  /** @type {unknown} */
  #over = null;

  /** @param {AsyncIterator<T>} source @param {GreenroomError} ended what its end means to who waits */
  constructor(source, ended) {
    this.source = source;
    this.ended = ended;
  }

  /**
   * The next item.
   *
   * @param {number | null} [timeoutS] null waits as long as it takes
   * @returns {Promise<T>}
   * @throws {GreenroomError} "timeout"; else what ended the source, each time again.
   */
  recv(timeoutS = null) {
    if (this.#unread.length) return Promise.resolve(/** @type {T} */ (this.#unread.shift()));
    if (this.#over) return Promise.reject(this.#over);
    /** @type {Promise<T>} */
    const next = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    const wait = this.#waiting.at(-1);
    const expire = () => {
      this.#waiting = this.#waiting.filter((other) => other !== wait);
      wait?.reject(new GreenroomError("timeout", `nothing came within ${timeoutS} s`, { retryable: true }));
    };
    this.#read();
    return timeoutS === null ? next : within(timeoutS, expire, next);
  }

  /** Nothing is received any more: who waits, and who asks later, gets this error. @param {unknown} error */
  close(error) {
    this.#over ??= error;
    this.#unread = [];
    for (const wait of this.#waiting.splice(0)) wait.reject(this.#over);
  }

  async #read() {
    if (this.#isReading) return;
    this.#isReading = true;
    while (this.#waiting.length && !this.#over) {
      try {
        const { value, done } = await this.source.next();
        if (done) throw this.ended;
        const wait = this.#waiting.shift();
        if (wait) wait.resolve(value);
        else if (!this.#over) this.#unread.push(value);
      } catch (error) {
        this.close(error);
      }
    }
    this.#isReading = false;
  }
}

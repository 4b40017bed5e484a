// How a client waits between two tries: longer each time, never in step with others, and not for ever.

const FIRST_DELAY_MS = 100;
const LONGEST_DELAY_MS = 5000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The waits of one task, which starts afresh whenever there is progress. */
export class Patience {
  #numFailures = 0;
  /** @type {number | null} */
  #deadline = null;

  /** @param {number} limitS how long to go on trying without any progress; may be Infinity */
  constructor(limitS) {
    this.limitS = limitS;
  }

  /** There was progress. */
  renew() {
    this.#numFailures = 0;
    this.#deadline = null;
  }

  /**
   * The time until the next try, in milliseconds.
   *
   * @param {import("./errors.js").GreenroomError} error why it is needed; thrown when it would exceed the limit
   */
  delay(error) {
    const now = performance.now();
    this.#deadline ??= now + this.limitS * 1000;
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#numFailures);
    const delay = Math.max((error.retryAfterS ?? 0) * 1000, longest * (0.5 + Math.random() / 2));
    if (now + delay > this.#deadline) throw error;
    this.#numFailures += 1;
    return delay;
  }

  /**
   * Wait before the next try; less where the browser finds the network again, or `signal` is aborted.
   *
   * @param {import("./errors.js").GreenroomError} error as for `delay`
   * @param {AbortSignal} signal
   */
  async wait(error, signal) {
    const delay = this.delay(error);
    if (signal.aborted) return;
    await new Promise((resolve) => {
      const timer = setTimeout(done, delay);
      signal.addEventListener("abort", done);
      globalThis.addEventListener?.("online", done);
      function done() {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        globalThis.removeEventListener?.("online", done);
        resolve(null);
      }
    });
  }
}

/**
 * Call `expire` unless the promise is settled in time.
 *
 * @template T
 * @param {number} seconds
 * @param {() => void} expire
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
export async function within(seconds, expire, promise) {
  const timer = setTimeout(expire, Math.min(seconds * 1000, LONGEST_TIMER_MS));
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

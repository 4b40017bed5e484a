// An answer as it comes: the text of one turn, whatever the connections under it do.

/**
 * One turn of a session; made by `Session`, which has asked for it already. Iterate over it for the pieces of its text,
 * or await `whole()`. Leaving the loop leaves the turn running on the server: `cancel` ends it.
 */
export class Answer {
  /** @type {any[]} */
  #arrived = [];
  /** @type {unknown} */
  #failure = null;
  /** @type {(() => void) | null} */
  #wake = null;

  /**
   * @param {import("./session_socket.js").SessionSocket} socket
   * @param {string} turnId
   * @param {number} offset
   */
  constructor(socket, turnId, offset) {
    this.socket = socket;
    this.turnId = turnId;
    /** What has been read so far, and the number of the turn's tokens up to there. */
    this.text = "";
    this.numTokens = offset;
    /** The server's "started" message; null until it was read. @type {any} */
    this.start = null;
    /** How it ended, `{reason, stop}`; null until then. @type {{reason: string, stop: string | null} | null} */
    this.finish = null;
    /** What was asked for with `nextDistribution`; else null. @type {any} */
    this.distribution = null;
    /** What it took; null until it ended, and where it was cancelled before it began. @type {any} */
    this.usage = null;
  }

  /** All of the text, when it has ended. @throws {import("./errors.js").GreenroomError} it failed. */
  async whole() {
    for await (const piece of this) void piece;
    return this.text;
  }

  /** End the turn; what has come stays in the session. The iteration ends with what was on its way. */
  cancel() {
    this.socket.cancel(this.turnId);
  }

  /** The pieces of its text. @throws {import("./errors.js").GreenroomError} it failed. */
  async *[Symbol.asyncIterator]() {
    for await (const message of this.messages()) {
      if (message.text) yield /** @type {string} */ (message.text);
    }
  }

  /**
   * The server's messages for this turn, in order and without repeat: `started`, `tokens`, `finished`, as
   * `api/http/session_socket.py` has them. Instead of the pieces, for one reader.
   *
   * @throws {import("./errors.js").GreenroomError} it failed.
   */
  async *messages() {
    while (!this.finish) {
      const message = this.#arrived.shift();
      if (message) {
        this.#note(message);
        yield message;
      } else if (this.#failure) {
        throw this.#failure;
      } else {
        await new Promise((resolve) => (this.#wake = () => resolve(null)));
      }
    }
  }

  /** A message has come. For `SessionSocket`. @param {any} message */
  push(message) {
    this.#arrived.push(message);
    this.#wake?.();
  }

  /** Nothing will come any more. For `SessionSocket`. @param {unknown} error */
  fail(error) {
    this.#failure = error;
    this.#wake?.();
  }

  /** @param {any} message */
  #note(message) {
    this.text += message.text ?? "";
    if (message.type === "started") this.start = message;
    if (message.type === "tokens") this.numTokens += message.ids.length;
    if (message.type !== "finished") return;
    this.finish = { reason: message.reason, stop: message.stop };
    this.distribution = message.distribution ?? null;
    this.usage = message.usage ?? null;
  }
}

// An answer as it comes: the text of one turn, whatever the connections under it do.

/**
 * A call of a tool; what is not complete when the turn has ended was cut short.
 *
 * @typedef {{id: string, name: string, arguments: string, isComplete: boolean}} Call
 */

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
    /** Where there are tools to call: its reasoning, which else is in the text. */
    this.reasoning = "";
    /** The calls of tools so far; `arguments` is JSON text. @type {Call[]} */
    this.calls = [];
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
    this.reasoning += message.reasoning ?? "";
    for (const piece of message.calls ?? []) this.#noteCall(piece);
    if (message.type === "started") this.start = message;
    if (message.type === "tokens") this.numTokens += message.ids.length;
    if (message.type !== "finished") return;
    this.finish = { reason: message.reason, stop: message.stop };
    this.distribution = message.distribution ?? null;
    this.usage = message.usage ?? null;
  }

  /** @param {{index: number, id?: string, name?: string, arguments: string, is_complete?: boolean}} piece */
  #noteCall({ index, id, name, arguments: more, is_complete }) {
    if (id !== undefined) this.calls[index] = { id, name: name ?? "", arguments: "", isComplete: false };
    this.calls[index].arguments += more;
    this.calls[index].isComplete ||= is_complete ?? false;
  }
}

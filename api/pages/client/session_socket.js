// One session's socket. It reconnects by itself, and continues every unfinished turn where it was left.

import { errorOf, GreenroomError, unreachable } from "./errors.js";
import { Patience } from "./patience.js";

const PING_EVERY_MS = 20_000;
const ANSWER_WITHIN_MS = 10_000;
const MOST_TRIES = 4;
const CONNECTING = 0;
const OPEN = 1;
const CLOSED_UNAUTHORIZED = 1008;
const CLOSED_NOT_FOUND = 4404;
const SAID_BY_CLOSE = new Set(["unauthorized", "session_not_found"]);

/**
 * An unfinished turn: what was asked for (null where it is only followed), how many of its tokens have come, and who
 * reads it.
 *
 * @typedef {object} Turn
 * @property {any} request
 * @property {number} offset
 * @property {boolean} hasStarted
 * @property {boolean} isCancelled
 * @property {number} numTries
 * @property {import("./answer.js").Answer} answer
 */

/**
 * Told of the connection: `state` is "connecting", "open", "waiting" (for `delayMs`) or "closed" (because of `error`,
 * null where that was asked for); a message that could not be taken and belongs to no turn is `refused`. A turn that
 * others have begun is `heard` where it is wanted: what it returns reads it.
 *
 * @typedef {object} SocketNews
 * @property {(state: string, about: {delayMs?: number, error?: GreenroomError | null}) => void} state
 * @property {(error: GreenroomError) => void} refused
 * @property {() => boolean} wantsOthers whether turns of others are wanted; asked when it connects
 * @property {(turnId: string) => import("./answer.js").Answer} heard
 */

/** The connection of all answers of one `Session`. */
export class SessionSocket {
  /** @type {Map<string, Turn>} */
  #turns = new Map();
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Set<ReturnType<typeof setTimeout>>} */
  #timers = new Set();
  #isWanted = false;
  #isPongDue = false;
  /** @type {Set<string>} */
  #unsent = new Set();
  #patience;
  #release = () => {};

  /** @param {import("./server.js").Server} server @param {string} sessionId @param {SocketNews} news */
  constructor(server, sessionId, news) {
    this.server = server;
    this.path = `api/sessions/${encodeURIComponent(sessionId)}`;
    this.sessionId = sessionId;
    this.news = news;
    this.#patience = new Patience(server.patienceS);
    this.wake = () => this.#isWanted && !this.#socket && this.#connect();
  }

  /**
   * Ask for a turn. Repeating it with the same id is safe, so it is repeated until there is an answer.
   *
   * @param {import("./answer.js").Answer} answer
   * @param {any} request
   */
  begin(answer, request) {
    this.#add({ request, offset: 0, hasStarted: false, isCancelled: false, numTries: 0, answer });
  }

  /**
   * Follow a turn that was begun earlier, from the number of its tokens that are known.
   *
   * @param {import("./answer.js").Answer} answer
   */
  follow(answer) {
    this.#add({ request: null, offset: answer.numTokens, hasStarted: true, isCancelled: false, numTries: 0, answer });
  }

  /** End a turn, or (null) the one that runs. @param {string | null} turnId */
  cancel(turnId) {
    const turn = this.#turns.get(turnId ?? "");
    if (turn) turn.isCancelled = true;
    this.tell({ type: "cancel", ...(turnId && { turn_id: turnId }) });
  }

  /** Send what is not answered; once there is a connection. @param {any} message */
  tell(message) {
    if (!this.#send(message)) this.#unsent.add(JSON.stringify(message));
    this.connect();
  }

  /** Be connected, from now on. */
  connect() {
    if (this.#isWanted) return;
    this.#isWanted = true;
    this.#release = this.server.keep(() => this.close());
    globalThis.addEventListener?.("online", this.wake);
    this.#connect();
  }

  /** Connect anew, with the key as it is now. */
  reconnect() {
    this.#drop();
    if (this.#isWanted) this.#connect();
    else this.connect();
  }

  /**
   * Leave the session; its unfinished answers end with the error, or with "closed".
   *
   * @param {GreenroomError | null} [error]
   */
  close(error = null) {
    if (!this.#isWanted) return;
    this.#isWanted = false;
    this.#release();
    globalThis.removeEventListener?.("online", this.wake);
    this.#drop();
    this.#unsent.clear();
    this.#patience.renew();
    const turns = [...this.#turns.values()];
    this.#turns.clear();
    const failure = error ?? new GreenroomError("closed", "this client has left the session");
    for (const { answer } of turns) answer.fail(failure);
    this.news.state("closed", { error });
  }

  #drop() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  #connect() {
    this.#drop();
    this.news.state("connecting", {});
    const key = this.server.apiKey;
    try {
      this.#socket = this.server.socket(this.news.wantsOthers() ? this.path : `${this.path}?turns=own`);
    } catch (error) {
      if (error instanceof GreenroomError) return this.close(error);
      return void this.#onUnauthorized(key); // a key with characters that no header may carry
    }
    const socket = this.#socket;
    const isCurrent = () => socket === this.#socket;
    socket.onopen = () => isCurrent() && this.#onOpen(socket);
    socket.onmessage = (event) => isCurrent() && this.#onMessage(JSON.parse(event.data));
    socket.onclose = (event) => isCurrent() && this.#onClose(event.code, key);
    socket.onerror = () => isCurrent() && this.#onClose(1006, key); // Node 20 tells no more than this
    const longest = Math.min(ANSWER_WITHIN_MS, this.server.timeoutS * 1000);
    this.#later(longest, () => socket.readyState === CONNECTING && this.#onClose(1006, key));
  }

  /** @param {WebSocket} socket */
  #onOpen(socket) {
    this.news.state("open", {});
    for (const turn of this.#turns.values()) this.#takeUp(turn);
    for (const message of this.#unsent) socket.send(message);
    this.#unsent.clear();
    this.#ping();
  }

  /** @param {number} code @param {string | null} key */
  #onClose(code, key) {
    this.#drop();
    if (code === CLOSED_UNAUTHORIZED) return void this.#onUnauthorized(key);
    if (code === CLOSED_NOT_FOUND) return this.close(this.#notFound());
    try {
      const delayMs = this.#patience.delay(unreachable(null));
      this.news.state("waiting", { delayMs });
      this.#later(delayMs, this.wake);
    } catch (error) {
      this.close(/** @type {GreenroomError} */ (error));
    }
  }

  /** @param {string | null} key */
  async #onUnauthorized(key) {
    const isRenewed = await this.server.renewKey(key);
    if (isRenewed) this.wake();
    else this.close(new GreenroomError("unauthorized", "the API key is missing or not known", { status: 401 }));
  }

  #notFound() {
    const message = `session '${this.sessionId}' expired or does not exist`;
    return new GreenroomError("session_not_found", message, { status: 404 });
  }

  #ping() {
    this.#later(PING_EVERY_MS, () => {
      this.#send({ type: "ping" });
      this.#isPongDue = true;
      this.#later(ANSWER_WITHIN_MS, () => (this.#isPongDue ? this.#onClose(1006, null) : this.#ping()));
    });
  }

  /** @param {Turn} turn */
  #add(turn) {
    this.#turns.set(turn.answer.turnId, turn);
    this.#takeUp(turn);
    this.connect();
  }

  /** @param {Turn} turn */
  #takeUp(turn) {
    const turn_id = turn.answer.turnId;
    if (turn.hasStarted) this.#send({ type: "resume", turn_id, offset: turn.offset });
    else this.#send({ type: "generate", turn_id, ...turn.request });
    if (turn.isCancelled) this.#send({ type: "cancel", turn_id });
  }

  /** @param {any} message */
  #send(message) {
    const isOpen = this.#socket?.readyState === OPEN;
    if (isOpen) this.#socket?.send(JSON.stringify(message));
    return isOpen;
  }

  /** @param {any} message */
  #onMessage(message) {
    this.#isPongDue = false;
    if (message.type !== "error") this.#patience.renew();
    if (message.type === "started" && !this.#turns.has(message.turn_id)) this.#onHeard(message.turn_id);
    const turn = this.#turns.get(message.turn_id);
    if (message.type === "error") this.#onError(turn, message);
    else if (turn && message.type === "started") this.#onStarted(turn, message);
    else if (turn && message.type === "tokens") this.#onTokens(turn, message);
    else if (turn && message.type === "finished") this.#onFinished(turn, message);
  }

  /** @param {string} turnId */
  #onHeard(turnId) {
    if (!this.news.wantsOthers()) return;
    const answer = this.news.heard(turnId);
    this.#turns.set(turnId, { request: null, offset: 0, hasStarted: true, isCancelled: false, numTries: 0, answer });
  }

  /** @param {Turn} turn @param {any} message */
  #onStarted(turn, message) {
    turn.hasStarted = true;
    turn.answer.push(message);
  }

  /** @param {Turn} turn @param {any} message */
  #onTokens(turn, message) {
    const end = message.offset + message.ids.length;
    if (end <= turn.offset) return;
    if (message.offset !== turn.offset) return this.#takeUp(turn);
    turn.offset = end;
    turn.numTries = 0;
    turn.answer.push(message);
  }

  /** @param {Turn} turn @param {any} message */
  #onFinished(turn, message) {
    if (message.offset > turn.offset) return this.#takeUp(turn);
    this.#turns.delete(message.turn_id);
    turn.answer.push(message);
  }

  /** @param {Turn | undefined} turn @param {any} message */
  #onError(turn, message) {
    if (!turn && message.turn_id) return; // of a turn that nobody here reads any longer
    if (!turn) return SAID_BY_CLOSE.has(message.code) || this.news.refused(errorOf(message));
    if (message.code === "turn_not_found" && turn.request && turn.numTries < MOST_TRIES) turn.hasStarted = false;
    else if (!message.retryable || turn.numTries >= MOST_TRIES) {
      this.#turns.delete(message.turn_id);
      return turn.answer.fail(errorOf(message));
    }
    turn.numTries += 1;
    const delay = (message.retry_after_s ?? 0.25) * 1000 * turn.numTries;
    this.#later(delay, () => this.#turns.has(message.turn_id) && this.#takeUp(turn));
  }

  /** @param {number} delay @param {() => void} action */
  #later(delay, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delay);
    this.#timers.add(timer);
  }
}

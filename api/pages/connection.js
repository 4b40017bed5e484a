// One session's socket. It comes back by itself, and takes up every unfinished turn where it was left.

import { socketAddress } from "./requests.js";

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 15_000;
const PING_EVERY_MS = 20_000;
const PONG_WITHIN_MS = 10_000;
const MOST_TRIES = 4;

const UNAUTHORIZED = 1008;
const GONE = 4404;
const EXPLAINED_BY_CLOSE = new Set(["unauthorized", "session_not_found"]);

/**
 * The listener is told: started(turnId, message), tokens(turnId, text, count), finished(turnId, message),
 * failed(turnId, error), status(state, delayMs), unauthorized(), gone(), refused(message).
 */
export class Connection {
  #turns = new Map(); // unfinished: id -> {request, offset, hasStarted, numTries}
  #socket = null;
  #numFailures = 0;
  #isClosed = false;
  #timers = new Set();
  #reconnectTimer = null;

  constructor(sessionId, keyring, listener) {
    this.sessionId = sessionId;
    this.keyring = keyring;
    this.listener = listener;
    this.wake = () => this.#socket || this.#isClosed || this.#connect();
    addEventListener("online", this.wake);
    this.#connect();
  }

  /** Ask for a turn. Repeating it with the same id is safe, so it is repeated until there is an answer. */
  generate(turnId, request) {
    const turn = { request, offset: 0, hasStarted: false, numTries: 0 };
    this.#turns.set(turnId, turn);
    this.#takeUp(turnId, turn);
  }

  /** Follow a turn that was begun earlier, from the number of its tokens that are known. */
  follow(turnId, offset) {
    const turn = { request: null, offset, hasStarted: true, numTries: 0 };
    this.#turns.set(turnId, turn);
    this.#takeUp(turnId, turn);
  }

  cancel(turnId) {
    this.#send({ type: "cancel", turn_id: turnId });
    const turn = this.#turns.get(turnId);
    if (turn) turn.isCancelled = true;
  }

  typing() {
    this.#send({ type: "typing" });
  }

  close() {
    this.#isClosed = true;
    removeEventListener("online", this.wake);
    clearTimeout(this.#reconnectTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#socket?.close();
  }

  #connect() {
    clearTimeout(this.#reconnectTimer);
    this.listener.status("connecting");
    const { url, protocols } = socketAddress(this.sessionId, this.keyring.key);
    try {
      this.#socket = new WebSocket(url, protocols);
    } catch {
      return this.listener.unauthorized(); // a key with characters that no header may carry
    }
    const socket = this.#socket;
    const isCurrent = () => socket === this.#socket && !this.#isClosed;
    socket.onopen = () => isCurrent() && this.#onOpen(socket);
    socket.onmessage = (event) => isCurrent() && this.#onMessage(JSON.parse(event.data));
    socket.onclose = (event) => isCurrent() && this.#onClose(event.code);
  }

  #onOpen(socket) {
    this.listener.status("open");
    for (const [turnId, turn] of this.#turns) this.#takeUp(turnId, turn);
    this.#ping(socket);
  }

  #onClose(code) {
    this.#socket = null;
    if (code === UNAUTHORIZED) return this.listener.unauthorized();
    if (code === GONE) return this.listener.gone();
    const longest = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#numFailures);
    const delay = longest * (0.5 + Math.random() / 2);
    this.#numFailures += 1;
    this.listener.status("waiting", delay);
    this.#reconnectTimer = setTimeout(() => this.#connect(), delay);
  }

  #ping(socket) {
    this.#later(PING_EVERY_MS, () => {
      if (socket !== this.#socket) return;
      this.#send({ type: "ping" });
      this.isPongDue = true;
      this.#later(PONG_WITHIN_MS, () => {
        if (socket !== this.#socket) return;
        if (!this.isPongDue) return this.#ping(socket);
        socket.onclose = null;
        socket.close();
        this.#onClose(1006);
      });
    });
  }

  #takeUp(turnId, turn) {
    if (turn.hasStarted) this.#send({ type: "resume", turn_id: turnId, offset: turn.offset });
    else this.#send({ type: "generate", turn_id: turnId, ...turn.request });
    if (turn.isCancelled) this.#send({ type: "cancel", turn_id: turnId });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #onMessage(message) {
    this.isPongDue = false;
    if (message.type !== "error") this.#numFailures = 0;
    const turn = this.#turns.get(message.turn_id);
    switch (message.type) {
      case "started": return turn && this.#onStarted(turn, message);
      case "tokens": return turn && this.#onTokens(turn, message);
      case "finished": return turn && this.#onFinished(turn, message);
      case "error": return this.#onError(turn, message);
    }
  }

  #onStarted(turn, message) {
    turn.hasStarted = true;
    this.listener.started(message.turn_id, message);
  }

  #onTokens(turn, message) {
    const end = message.offset + message.ids.length;
    if (end <= turn.offset) return;
    if (message.offset !== turn.offset) return this.#takeUp(message.turn_id, turn);
    turn.offset = end;
    turn.numTries = 0;
    this.listener.tokens(message.turn_id, message.text, message.ids.length);
  }

  #onFinished(turn, message) {
    if (message.offset > turn.offset) return this.#takeUp(message.turn_id, turn);
    this.#turns.delete(message.turn_id);
    this.listener.finished(message.turn_id, message);
  }

  #onError(turn, message) {
    if (!turn) return EXPLAINED_BY_CLOSE.has(message.code) || this.listener.refused(message);
    if (message.code === "turn_not_found" && turn.request && turn.numTries < MOST_TRIES) turn.hasStarted = false;
    else if (!message.retryable || turn.numTries >= MOST_TRIES) {
      this.#turns.delete(message.turn_id);
      return this.listener.failed(message.turn_id, message);
    }
    turn.numTries += 1;
    const delay = (message.retry_after_s ?? 0.25) * 1000 * turn.numTries;
    this.#later(delay, () => this.#turns.has(message.turn_id) && this.#takeUp(message.turn_id, turn));
  }

  #later(delay, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delay);
    this.#timers.add(timer);
  }
}

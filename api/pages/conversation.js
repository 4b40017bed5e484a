// The state of the branch that is on the screen: its session, its turns, and what can be done with them.

import { Connection } from "./connection.js";
import { ApiError } from "./requests.js";

export const GONE_CODE = "session_not_found";
const GONE = "This conversation has expired or was deleted.";

/**
 * One exchange. `state` is "waiting" (asked for), "running" (tokens may come), "done" or "failed".
 * Lengths are tokens; `sentAt`, `firstAt` and `lastAt` are milliseconds of this page's clock, null for turns of the past.
 */
export class Turn {
  constructor(id, messages) {
    Object.assign(this, { id, messages, text: "", state: "waiting", baseLength: 0, finish: null, usage: null, error: null });
    Object.assign(this, { numTokens: 0, numPrompt: 0, numResident: null, sentAt: null, firstAt: null, lastAt: null });
    this.request = null;
  }

  static recorded(record) {
    const messages = record.messages.length ? record.messages : [{ role: "user", content: record.prompt_text ?? "" }];
    const turn = new Turn(record.turn_id, messages);
    Object.assign(turn, { baseLength: record.base_length, finish: record.finish, usage: record.usage });
    turn.numPrompt = record.usage.prompt_tokens;
    turn.state = record.finish ? "done" : "running";
    if (record.finish) Object.assign(turn, { text: record.text, numTokens: record.usage.output_tokens });
    return turn; // the text of a running one comes when it is followed, from its beginning
  }

  get question() {
    return this.messages.filter((message) => message.role !== "system").map((message) => message.content).join("\n\n");
  }

  get isUnfinished() {
    return this.state === "waiting" || this.state === "running";
  }

  /** Tokens per second between the first and the last token; null where this page did not see them come. */
  get speed() {
    const seconds = (this.lastAt - this.firstAt) / 1000;
    return this.firstAt && seconds > 0 && this.numTimed > 1 ? (this.numTimed - 1) / seconds : null;
  }
}

/** The listener is told: turnsChanged(), turnChanged(turn), turnEnded(turn), and the connection's news. */
export class Conversation {
  #connection = null;

  constructor(requests, branches, settings, listener) {
    Object.assign(this, { requests, branches, settings, listener });
    this.clear();
  }

  clear() {
    this.#connection?.close();
    this.#connection = null;
    Object.assign(this, { sessionId: null, model: null, maxContext: null, turns: [], isGone: false });
  }

  get running() {
    return this.turns.find((turn) => turn.isUnfinished) ?? null;
  }

  /** Tokens in the context, as far as this page knows. */
  get length() {
    const last = this.turns.findLast((turn) => turn.usage || turn.state === "running");
    return last ? (last.baseLength + last.numPrompt + last.numTokens) : 0;
  }

  /** Show a session of the server's; its running turn is followed. Answers false where another was asked for meanwhile. */
  async open(sessionId) {
    this.clear();
    this.sessionId = sessionId;
    const session = await this.requests.send("GET", `api/sessions/${encodeURIComponent(sessionId)}`);
    if (this.sessionId !== sessionId) return false;
    this.#adopt(session);
    const title = this.branches.get(sessionId).title;
    if (!title && this.turns.length) this.branches.note(sessionId, { title: titleOf(this.turns[0].question) });
    return true;
  }

  /** Ask; opens a session where there is none yet. */
  async ask(text, model) {
    if (this.isGone) throw new ApiError(404, GONE_CODE, GONE, false);
    const { system, retention } = this.settings.values;
    if (!this.sessionId) {
      this.#adopt(await this.requests.send("POST", "api/sessions", { model, retention: { policy: retention } }));
      this.branches.note(this.sessionId, { title: titleOf(text), system });
    }
    const instruction = this.turns.length ? "" : (this.branches.get(this.sessionId).system ?? system);
    const messages = [...(instruction ? [{ role: "system", content: instruction }] : []), { role: "user", content: text }];
    this.#begin(messages);
  }

  /** Put a new turn in the place of an earlier one, in a branch of its own. The branch that was shown stays as it is. */
  async branch(turn, text) {
    const source = this.sessionId;
    const session = await this.requests.send("POST", `api/sessions/${source}/fork`, { length: turn.baseLength });
    this.branches.note(source, { title: titleOf(this.turns[0].question), ...this.branches.get(source) });
    const { title, system } = this.branches.get(source);
    this.branches.note(session.id, { parent: source, at: turn.baseLength, title, system });
    const messages = turn.messages.map((message) => message.role === "user" ? { ...message, content: text } : message);
    this.clear();
    this.#adopt(session);
    this.#begin(messages);
  }

  /** Try a failed turn again. Its id is the same: if the server did get it, it goes on where it is. */
  retry(turn) {
    if (this.isGone) return this.listener.gone();
    Object.assign(turn, { state: "waiting", error: null, sentAt: performance.now() });
    this.listener.turnChanged(turn);
    if (turn.request && !turn.numTokens) this.#connection.generate(turn.id, turn.request);
    else this.#connection.follow(turn.id, turn.numTokens);
  }

  /** Take a turn that failed before it began off the screen. */
  discard(turn) {
    this.turns = this.turns.filter((other) => other !== turn);
    this.listener.turnsChanged();
  }

  stop() {
    if (this.running) this.#connection?.cancel(this.running.id);
  }

  typing() {
    this.#connection?.typing();
  }

  /** The session is no more; what was said stays on the screen. */
  lose() {
    this.isGone = true;
    this.#connection?.close();
    this.#connection = null;
    for (const turn of this.turns.filter((turn) => turn.isUnfinished)) this.#onFailed(turn, { message: GONE });
  }

  reconnect() {
    if (this.sessionId && !this.isGone) this.#connect();
  }

  #adopt(session) {
    Object.assign(this, { sessionId: session.id, model: session.model, maxContext: session.max_context });
    this.turns = session.turns.map(Turn.recorded);
    this.#connect();
    this.listener.turnsChanged();
  }

  #connect() {
    this.#connection?.close();
    this.#connection = new Connection(this.sessionId, this.requests.keyring, this.#news());
    for (const turn of this.turns.filter((turn) => turn.isUnfinished)) {
      if (turn.state === "waiting") this.#connection.generate(turn.id, turn.request);
      else this.#connection.follow(turn.id, turn.numTokens);
    }
  }

  #begin(messages) {
    const turn = new Turn(crypto.randomUUID?.() ?? randomId(), messages);
    turn.request = { messages, ...this.settings.generation() };
    turn.sentAt = performance.now();
    turn.baseLength = this.turns.at(-1)?.usage?.context_tokens ?? 0;
    this.turns.push(turn);
    this.listener.turnsChanged();
    this.#connection.generate(turn.id, turn.request);
  }

  #news() {
    const on = (change) => (turnId, ...details) => {
      const turn = this.turns.find((turn) => turn.id === turnId);
      if (turn) change(turn, ...details);
    };
    return {
      ...this.listener,
      gone: () => {
        this.lose();
        this.listener.gone();
      },
      started: on((turn, message) => this.#onStarted(turn, message)),
      tokens: on((turn, text, count) => this.#onTokens(turn, text, count)),
      finished: on((turn, message) => this.#onFinished(turn, message)),
      failed: on((turn, error) => this.#onFailed(turn, error)),
    };
  }

  #onStarted(turn, message) {
    Object.assign(turn, { state: "running", baseLength: message.base_length });
    Object.assign(turn, { numPrompt: message.prompt_tokens, numResident: message.resident_tokens });
    this.maxContext = message.max_context;
    this.listener.turnChanged(turn);
  }

  #onTokens(turn, text, count) {
    const now = performance.now();
    turn.firstAt ??= now;
    turn.lastAt = now;
    turn.numTimed = (turn.numTimed ?? 0) + count;
    turn.text += text;
    turn.numTokens += count;
    this.listener.turnChanged(turn);
  }

  #onFinished(turn, message) {
    turn.text += message.text;
    turn.state = "done";
    turn.finish = { reason: message.reason, stop: message.stop };
    turn.usage = message.usage ?? null;
    if (turn.usage) turn.numResident = message.usage.resident_tokens;
    this.listener.turnEnded(turn);
  }

  #onFailed(turn, error) {
    Object.assign(turn, { state: "failed", error });
    this.listener.turnEnded(turn);
  }
}

function titleOf(text) {
  const line = text.trim().split("\n")[0];
  return line.length > 60 ? `${line.slice(0, 59)}…` : line;
}

function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// The state of the branch that is on the screen: its session, its turns, and what can be done with them.

import { GreenroomError } from "../client.js";

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
    Object.assign(this, { options: null, answer: null });
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
  #session = null;

  constructor(client, branches, settings, listener) {
    Object.assign(this, { client, branches, settings, listener });
    this.clear();
  }

  clear() {
    const session = this.#session;
    this.#session = null;
    session?.detach();
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
    const session = this.client.session(sessionId);
    await session.describe();
    if (this.sessionId !== sessionId) return false;
    this.#adopt(session);
    const title = this.branches.get(sessionId).title;
    if (!title && this.turns.length) this.branches.note(sessionId, { title: titleOf(this.turns[0].question) });
    return true;
  }

  /** Ask; opens a session where there is none yet. */
  async ask(text, model) {
    if (this.isGone) throw new GreenroomError(GONE_CODE, GONE, { status: 404 });
    const { system, retention } = this.settings.values;
    if (!this.sessionId) {
      this.#adopt(await this.client.openSession({ model, retention: { policy: retention } }));
      this.branches.note(this.sessionId, { title: titleOf(text), system });
    }
    const instruction = this.turns.length ? "" : (this.branches.get(this.sessionId).system ?? system);
    const messages = [...(instruction ? [{ role: "system", content: instruction }] : []), { role: "user", content: text }];
    this.#begin(messages);
  }

  /** Put a new turn in the place of an earlier one, in a branch of its own. The branch that was shown stays as it is. */
  async branch(turn, text) {
    const source = this.sessionId;
    const session = await this.client.session(source).fork({ length: turn.baseLength });
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
    this.#ask(turn);
  }

  /** Take a turn that failed before it began off the screen. */
  discard(turn) {
    this.turns = this.turns.filter((other) => other !== turn);
    this.listener.turnsChanged();
  }

  stop() {
    this.running?.answer.cancel();
  }

  typing() {
    this.#session?.typing();
  }

  /** Connect anew, with the key as it is now. */
  reconnect() {
    if (!this.isGone) this.#session?.reconnect();
  }

  #adopt(session) {
    const { id, model, max_context, turns } = session.description;
    Object.assign(this, { sessionId: id, model, maxContext: max_context, turns: turns.map(Turn.recorded) });
    this.#session = session;
    session.onState = (state, about) => session === this.#session && this.#onState(state, about);
    session.onRefused = (error) => this.listener.refused(error);
    session.connect();
    for (const turn of this.turns.filter((turn) => turn.isUnfinished)) this.#ask(turn);
    this.listener.turnsChanged();
  }

  #begin(messages) {
    const turn = new Turn(crypto.randomUUID?.() ?? randomId(), messages);
    turn.options = this.settings.generation();
    turn.sentAt = performance.now();
    turn.baseLength = this.turns.at(-1)?.usage?.context_tokens ?? 0;
    this.turns.push(turn);
    this.listener.turnsChanged();
    this.#ask(turn);
  }

  /** Ask for the turn, or for what is missing of it. Repeating it is safe: its id says which it is. */
  #ask(turn) {
    const session = this.#session;
    const isNew = turn.options && !turn.numTokens;
    if (isNew) turn.answer = session.generate(turn.messages, { ...turn.options, turnId: turn.id });
    else turn.answer = session.resume(turn.id, turn.numTokens);
    this.#read(turn, turn.answer);
  }

  async #read(turn, answer) {
    const isShown = () => this.turns.includes(turn) && turn.answer === answer;
    try {
      for await (const message of answer.messages()) {
        if (!isShown()) return;
        if (message.type === "started") this.#onStarted(turn, message);
        if (message.type === "tokens") this.#onTokens(turn, message.text, message.ids.length);
        if (message.type === "finished") this.#onFinished(turn, message);
      }
    } catch (error) {
      if (!(error instanceof GreenroomError)) throw error;
      if (isShown()) this.#onFailed(turn, error);
    }
  }

  #onState(state, { delayMs, error }) {
    if (state !== "closed") return this.listener.status(state, delayMs);
    if (error?.code !== GONE_CODE) return this.listener.status("idle");
    this.isGone = true; // what was said stays on the screen
    this.listener.gone();
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
    Object.assign(turn, { state: "failed", error: error.code === GONE_CODE ? { message: GONE } : error });
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

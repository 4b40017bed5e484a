// The state of the branch that is on the screen: its session, its turns, and what can be done with them.

import { GreenroomError } from "../client.js";
import { randomId } from "./ids.js";

export const GONE_CODE = "session_not_found";
const TOKENS_PER_CHAR = 0.35;
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

  /** What was said before the question, and came with it: the turns that a new chat took along. */
  get carried() {
    return this.messages.slice(0, this.#start).filter((message) => message.role !== "system");
  }

  get question() {
    const asked = this.messages.slice(this.#start).filter((message) => message.role !== "system");
    return asked.map((message) => message.content).join("\n\n");
  }

  /** The messages of this turn with another question. */
  asking(text) {
    const system = this.messages.slice(this.#start).filter((message) => message.role === "system");
    return [...this.messages.slice(0, this.#start), ...system, { role: "user", content: text }];
  }

  /** Where the question begins among the messages. */
  get #start() {
    return this.messages.findLastIndex((message) => message.role === "assistant") + 1;
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

/**
 * The listener is told: turnsChanged(), turnChanged(turn), turnStarted(turn), turnEnded(turn), and the connection's news.
 * `carry` is what the next new chat takes along: `{messages, numTurns, title, model}`, or null.
 */
export class Conversation {
  #session = null;
  #heard = new Map(); // id of a turn that another tab began -> its answer
  #isFresh = false; // the server's history is what is on the screen
  #refreshing = null;

  constructor(client, branches, settings, listener) {
    Object.assign(this, { client, branches, settings, listener });
    this.clear();
  }

  clear() {
    const session = this.#session;
    this.#session = null;
    session?.detach();
    this.#heard.clear();
    Object.assign(this, { sessionId: null, model: null, maxContext: null, turns: [], isGone: false, carry: null });
  }

  /** The session on the server, to be asked about itself; null where there is none yet. */
  get session() {
    return this.#session;
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
    this.#adopt(session, false);
    return true;
  }

  /** Ask; opens a session where there is none yet. */
  async ask(text, model) {
    if (this.isGone) throw new GreenroomError(GONE_CODE, GONE, { status: 404 });
    const { system, retention } = this.settings.values;
    const { carry } = this;
    if (!this.sessionId) {
      const title = carry?.title;
      const options = { model: carry?.model ?? model, title, retention: { policy: retention } };
      this.#adopt(await this.client.openSession(options), true);
      this.branches.note(this.sessionId, { system });
    }
    const instruction = this.turns.length || carry ? "" : (this.branches.get(this.sessionId).system ?? system);
    const before = carry?.messages ?? (instruction ? [{ role: "system", content: instruction }] : []);
    this.carry = null;
    this.#begin([...before, { role: "user", content: text }]);
  }

  /** Leave this conversation for a new one, which takes along the last turns that fill no more than half of its context. */
  carryOver(title) {
    const { model } = this;
    const kept = [];
    let left = this.maxContext / 2;
    for (const turn of this.turns.filter((turn) => turn.usage).reverse()) {
      left -= turn.numPrompt + turn.numTokens;
      if (left < 0) break;
      kept.unshift(turn);
    }
    const isSystem = (message) => message.role === "system";
    const said = kept.flatMap((turn) => [...turn.messages, { role: "assistant", content: turn.text }]);
    const messages = [...(this.turns[0]?.messages.filter(isSystem) ?? []), ...said.filter((message) => !isSystem(message))];
    this.clear();
    this.carry = kept.length ? { messages, numTurns: kept.length, title, model } : null;
  }

  /** How many tokens a text may come to, by what the texts of this conversation came to. */
  estimate(text) {
    const measured = this.turns.filter((turn) => turn.numPrompt && turn.messages.length);
    const chars = measured.flatMap((turn) => turn.messages).reduce((sum, message) => sum + message.content.length, 0);
    const tokens = measured.reduce((sum, turn) => sum + turn.numPrompt, 0);
    return Math.ceil(text.length * (chars ? tokens / chars : TOKENS_PER_CHAR));
  }

  /** Put a new turn in the place of an earlier one, in a branch of its own. The branch that was shown stays as it is. */
  async branch(turn, text) {
    const source = this.sessionId;
    const session = await this.client.session(source).fork({ length: turn.baseLength });
    this.branches.note(source, this.branches.get(source));
    const { system } = this.branches.get(source);
    this.branches.note(session.id, { parent: source, at: turn.baseLength, system });
    const messages = turn.asking(text);
    this.clear();
    this.#adopt(session, true);
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

  /** Bring what is on the screen to what the server has: other tabs, and other programs, speak here as well. */
  refresh() {
    this.#refreshing ??= this.#refresh().catch((error) => {
      this.#isFresh = false;
      if (!(error instanceof GreenroomError)) throw error; // the socket says what is wrong
    }).finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #refresh() {
    const session = this.#session;
    while (session && session === this.#session && !this.#isFresh) {
      this.#isFresh = true;
      const wereThere = new Set(this.turns.filter((turn) => turn.state === "done" && turn.usage));
      const { turns } = await session.describe();
      if (session === this.#session) this.#take(turns, wereThere);
    }
  }

  /** The server's turns, then those of this tab that have not begun; what the server has no longer was rolled back. */
  #take(records, wereThere) {
    const known = new Map(this.turns.map((turn) => [turn.id, turn]));
    const listed = records.map((record) => {
      const turn = known.get(record.turn_id);
      return turn && (turn.isUnfinished || turn.state === "done") ? turn : Turn.recorded(record);
    });
    const ids = new Set(records.map((record) => record.turn_id));
    const others = this.turns.filter((turn) => !ids.has(turn.id) && !wereThere.has(turn));
    const shown = this.turns;
    this.turns = [...listed, ...others];
    for (const turn of listed.filter((turn) => turn.isUnfinished && !turn.answer)) this.#ask(turn);
    this.#heard.clear();
    if (this.turns.length !== shown.length || this.turns.some((turn, at) => turn !== shown[at])) this.listener.turnsChanged();
  }

  #adopt(session, isNew) {
    const { id, model, max_context, turns } = session.description;
    Object.assign(this, { sessionId: id, model, maxContext: max_context, turns: turns.map(Turn.recorded) });
    this.#session = session;
    this.#isFresh = isNew;
    session.onTurn = (answer) => session === this.#session && this.#onHeard(answer);
    session.onState = (state, about) => session === this.#session && this.#onState(state, about);
    session.onRefused = (error) => this.listener.refused(error);
    session.connect();
    for (const turn of this.turns.filter((turn) => turn.isUnfinished)) this.#ask(turn);
    this.listener.turnsChanged();
  }

  #begin(messages) {
    const turn = new Turn(randomId(), messages);
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
    else turn.answer = this.#heard.get(turn.id) ?? session.resume(turn.id, turn.numTokens);
    this.#read(turn, turn.answer);
  }

  async #read(turn, answer) {
    const isShown = () => this.turns.includes(turn) && turn.answer === answer;
    try {
      for await (const message of answer.messages()) {
        if (!isShown()) return;
        if (message.type === "started") this.#onStarted(turn, message);
        if (message.type === "tokens") this.#onTokens(turn, message);
        if (message.type === "finished") this.#onFinished(turn, message);
      }
    } catch (error) {
      if (!(error instanceof GreenroomError)) throw error;
      if (isShown()) this.#onFailed(turn, error);
    }
  }

  #onState(state, { delayMs, error }) {
    if (state === "open") this.refresh();
    if (state === "waiting") this.#isFresh = false; // others may speak meanwhile
    if (state !== "closed") return this.listener.status(state, delayMs);
    if (error?.code !== GONE_CODE) return this.listener.status("idle");
    this.isGone = true; // what was said stays on the screen
    this.listener.gone();
  }

  /** Another tab has begun a turn. */
  #onHeard(answer) {
    if (this.turns.some((turn) => turn.id === answer.turnId)) return;
    this.#heard.set(answer.turnId, answer);
    this.#isFresh = false;
    this.refresh();
  }

  #onStarted(turn, message) {
    const before = this.turns.slice(0, this.turns.indexOf(turn)).findLast((one) => one.usage);
    if (message.base_length !== (before?.usage.context_tokens ?? 0)) {
      this.#isFresh = false; // something was said here that this tab has not heard, or was taken back
      this.refresh();
    }
    Object.assign(turn, { state: "running", baseLength: message.base_length });
    Object.assign(turn, { numPrompt: message.prompt_tokens, numResident: message.resident_tokens });
    this.maxContext = message.max_context;
    this.listener.turnStarted(turn);
  }

  #onTokens(turn, message) {
    const count = message.ids.length;
    const now = performance.now();
    turn.firstAt ??= now;
    turn.lastAt = now;
    turn.numTimed = (turn.numTimed ?? 0) + count;
    turn.text += shownOf(message);
    turn.numTokens += count;
    this.listener.turnChanged(turn);
  }

  #onFinished(turn, message) {
    turn.text += shownOf(message);
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

/** What a message adds to an answer that is shown: another client's calls of tools are code. */
function shownOf({ text, reasoning = "", calls = [] }) {
  const opened = (name) => (name === undefined ? "" : `\n\n\`${name}(`);
  const shown = calls.map((call) => opened(call.name) + call.arguments + (call.is_complete ? ")`" : ""));
  return reasoning + text + shown.join("");
}

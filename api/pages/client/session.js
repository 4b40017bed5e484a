// One session on the server: its turns, its branches, its end.

import { Answer } from "./answer.js";
import { GreenroomError } from "./errors.js";
import { randomId } from "./outbox.js";
import { SessionSocket } from "./session_socket.js";

/**
 * A message of a chat; `resultOf` makes one of a tool.
 *
 * @typedef {object} ChatMessage
 * @property {"system" | "user" | "assistant" | "tool"} role
 * @property {string} content
 * @property {string} [reasoning] of an assistant
 * @property {{id: string, name: string, arguments: string}[]} [tool_calls] of an assistant
 * @property {string} [tool_call_id] of a tool: the call whose result the content is
 * @property {string} [name] of a tool
 */

/**
 * A tool that the model may call; `parameters` is the JSON schema of its arguments.
 *
 * @typedef {{name: string, description?: string, parameters?: any, strict?: boolean}} Tool
 */

/**
 * What a text is held to: one of these. A schema is an object, a grammar EBNF with the rule `root`.
 *
 * @typedef {{jsonSchema?: any, regex?: string, choice?: string[], grammar?: string}} Constraint
 */

/**
 * How a turn is asked for. `sampling` has the fields of `api/http/schemas.py`, such as `{temperature, top_p, seed}`.
 *
 * @typedef {object} TurnOptions
 * @property {string} [text] plain text instead of messages
 * @property {Record<string, any>} [sampling]
 * @property {number} [maxTokens]
 * @property {string[]} [stop]
 * @property {Constraint} [constraint] what the text is held to; "unsupported" where the engine cannot
 * @property {number[]} [allowedTokens] no others
 * @property {Tool[]} [tools] that the model may call: `Answer.calls`; the same ones for every turn of a session
 * @property {"auto" | "none" | "required" | {mode?: "auto" | "required", names: string[]}} [toolChoice]
 * @property {boolean} [parallelToolCalls] false for one call at most
 * @property {string} [turnId] the same id again is the same turn
 */

/**
 * Made by `Client`. It connects when it is first used, and stays connected until `detach` or `close`; all its answers
 * survive lost connections and restarted servers. Needs a WebSocket, since the conversation runs over one.
 */
export class Session {
  /** @type {Answer | null} */
  #opening = null;

  /**
   * @param {import("./server.js").Server} server
   * @param {string} id
   * @param {string | null} [system]
   * @param {any} [description]
   */
  constructor(server, id, system = null, description = null) {
    this.id = id;
    /** What the server last said about it: `{id, model, length, max_context, turns, …}`; null where it has not. */
    this.description = description;
    /**
     * Called with each change of the connection; see `SocketNews`.
     *
     * @type {import("./session_socket.js").SocketNews["state"]}
     */
    this.onState = () => {};
    /**
     * Called when the server could not take a message that belongs to no turn.
     *
     * @type {import("./session_socket.js").SocketNews["refused"]}
     */
    this.onRefused = () => {};
    /**
     * Called with the answer to each turn that others begin in this session, as it begins; to be set before the
     * session connects. null where only one's own turns are wanted.
     *
     * @type {((answer: Answer) => void) | null}
     */
    this.onTurn = null;
    this.server = server;
    this.system = system;
    this.path = `api/sessions/${encodeURIComponent(id)}`;
    this.socket = new SessionSocket(server, id, {
      state: (state, about) => this.onState(state, about),
      refused: (error) => this.onRefused(error),
      wantsOthers: () => this.onTurn !== null,
      heard: (turnId) => this.#hear(turnId),
    });
  }

  /**
   * Extend the context by a user's message (or messages, or plain `text`, or nothing) and answer it. It is on its way
   * when this returns. Turns of one session run one after another.
   *
   * @param {string | ChatMessage[] | null} [prompt]
   * @param {TurnOptions} [options]
   */
  generate(prompt = null, { text, turnId, ...options } = {}) {
    return this.#begin(prompt, text, turnId, turnView(options));
  }

  /**
   * The likeliest next tokens, after a prompt (which stays in the context), or after what is there: `top` has
   * [token id, natural logarithm of its probability] each, `entropy` is of the whole distribution, in nats.
   *
   * @param {number} numCandidates
   * @param {string | ChatMessage[] | null} [prompt]
   * @param {{text?: string}} [options] plain text instead of messages
   * @returns {Promise<{top: [number, number][], entropy: number}>}
   */
  async nextDistribution(numCandidates, prompt = null, { text } = {}) {
    const answer = this.#begin(prompt, text, undefined, { distribution: numCandidates });
    await answer.whole();
    if (answer.distribution) return answer.distribution;
    throw new GreenroomError("internal", `the turn was ${answer.finish?.reason} before it had a distribution`);
  }

  /**
   * @param {string | ChatMessage[] | null} prompt
   * @param {string | undefined} text
   * @param {string | undefined} turnId
   * @param {any} request
   */
  #begin(prompt, text, turnId = randomId(), request) {
    const said = typeof prompt === "string" ? [{ role: "user", content: prompt }] : prompt;
    const isFirst = !this.#opening?.start;
    const messages = said && this.system && isFirst ? [{ role: "system", content: this.system }, ...said] : said;
    const answer = new Answer(this.socket, turnId, 0);
    if (isFirst) this.#opening = answer;
    const content = text === undefined ? messages && { messages } : { text };
    this.socket.begin(answer, { ...content, ...request });
    return answer;
  }

  /** @param {string} turnId */
  #hear(turnId) {
    const answer = new Answer(this.socket, turnId, 0);
    queueMicrotask(() => this.onTurn?.(answer));
    return answer;
  }

  /** Follow a turn that was begun earlier, from a token offset. @param {string} turnId @param {number} [offset] */
  resume(turnId, offset = 0) {
    const answer = new Answer(this.socket, turnId, offset);
    this.socket.follow(answer);
    return answer;
  }

  /** End a turn, or (without an id) the one that runs. @param {string | null} [turnId] */
  cancel(turnId = null) {
    this.socket.cancel(turnId);
  }

  /** The user has begun to type: the context is made ready where it is not. */
  typing() {
    this.socket.tell({ type: "typing" });
  }

  /** The session and its history. */
  async describe() {
    return (this.description = await this.server.ask("GET", this.path));
  }

  /** Give it another title. @param {string} title */
  async rename(title) {
    return (this.description = await this.server.ask("PATCH", this.path, JSON.stringify({ title })));
  }

  /**
   * A new session with this one's first `length` tokens, or with all before a turn, or with all.
   *
   * @param {{length?: number, turnId?: string}} [place]
   */
  async fork({ length, turnId } = {}) {
    const view = await this.server.ask("POST", `${this.path}/fork`, JSON.stringify({ length, turn_id: turnId }));
    return new Session(this.server, view.id, view.length ? null : this.system, view);
  }

  /**
   * Cut the context back to a length in tokens, or to right before a turn.
   *
   * @param {{length?: number, turnId?: string}} place
   */
  async rollback({ length, turnId }) {
    const body = JSON.stringify({ length, turn_id: turnId });
    return (this.description = await this.server.ask("POST", `${this.path}/rollback`, body));
  }

  /** Be connected, and tell `onState` of it. */
  connect() {
    this.socket.connect();
  }

  /** Connect anew, with the API key as it is now. */
  reconnect() {
    this.socket.reconnect();
  }

  /** Leave it as it is on the server. Idempotent. */
  detach() {
    this.socket.close();
  }

  /** End it on the server. Idempotent. */
  async close() {
    this.detach();
    await this.server.ask("DELETE", this.path);
  }
}

/**
 * What a tool has answered to a call, for the model to read.
 *
 * @param {{id: string, name: string}} call
 * @param {string} content
 * @returns {ChatMessage}
 */
export function resultOf(call, content) {
  return { role: "tool", content, tool_call_id: call.id, name: call.name };
}

/** @param {TurnOptions} options */
function turnView({ sampling, stop, tools, constraint, ...options }) {
  return {
    sampling,
    stop,
    tools,
    max_tokens: options.maxTokens,
    constraint: constraint && constraintView(constraint),
    allowed_tokens: options.allowedTokens,
    tool_choice: options.toolChoice,
    parallel_tool_calls: options.parallelToolCalls,
  };
}

/** @param {Constraint} constraint */
function constraintView({ jsonSchema, ...others }) {
  return jsonSchema === undefined ? others : { json_schema: jsonSchema, ...others };
}

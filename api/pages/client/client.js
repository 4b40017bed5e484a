// The JavaScript client: sessions, inferlets, agents and topics of one server, from a browser or from Node.
//
//     import { Client } from "http://127.0.0.1:8000/client.js";
//     const client = new Client("http://127.0.0.1:8000");
//     const instance = await client.launchInstance(program, ["--any", "arguments"]);
//     instance.send("I need help with my homework.");
//     for await (const [event, message] of instance) console.log(event.type, message);
//
// Events come over streaming fetch and messages go by POST, not over a WebSocket: so the same code runs in Node 20,
// which has none, the API key stays in its header, every refusal has its HTTP status, and a reader that is slow makes
// the server wait. Only sessions need a WebSocket. A browser opens six such streams to one HTTP/1.1 server, no more.
//
// Calls and their options are in camel case; what the server describes keeps the names that the protocol gives it.

import { Agent } from "./agent.js";
import { GreenroomError, RunFailed } from "./errors.js";
import { Instance } from "./instance.js";
import { randomId } from "./outbox.js";
import { Patience } from "./patience.js";
import { Server } from "./server.js";
import { Session, resultOf } from "./session.js";
import { Subscription, namedPath } from "./subscription.js";
import { Task } from "./task.js";
import { ChatHistory, Thread } from "./thread.js";
import { messageBody } from "./values.js";

/** One server. All calls throw `GreenroomError`. */
export class Client {
  #server;

  /**
   * @param {string} url where the server is, with its prefix if it has one; on a page relative to that
   * @param {import("./server.js").ClientOptions} [options]
   */
  constructor(url, options = {}) {
    this.#server = new Server(url, options);
  }

  /** Sent with every request from now on; open connections keep theirs. */
  get apiKey() {
    return this.#server.apiKey;
  }

  set apiKey(key) {
    this.#server.apiKey = key || null;
  }

  /** Close the connections, once what was sent to inferlets is accepted; sessions and inferlets stay on the server. */
  async close() {
    await this.#server.close();
  }

  /** The models, the default one first. @returns {Promise<any[]>} */
  async models() {
    return (await this.#server.ask("GET", "api/models")).models;
  }

  /** The caller's sessions, the latest used first. @returns {Promise<any[]>} */
  async sessions() {
    return (await this.#server.ask("GET", "api/sessions")).sessions;
  }

  /**
   * A new session. `system` becomes the first message of its first turn.
   *
   * @param {object} [options]
   * @param {string | null} [options.model]
   * @param {string | null} [options.system]
   * @param {{policy: string, threshold?: number}} [options.retention]
   * @param {number} [options.maxContext]
   * @param {number} [options.idleTimeoutS]
   * @param {string} [options.adapter] one of the model's
   * @param {string} [options.title] without, it gets one of its first message
   */
  async openSession({ model, system = null, retention, maxContext, idleTimeoutS, adapter, title } = {}) {
    const options = { model, retention, max_context: maxContext, idle_timeout_s: idleTimeoutS, adapter, title };
    const body = JSON.stringify(options);
    const view = await this.#server.ask("POST", "api/sessions", body);
    return new Session(this.#server, view.id, system, view);
  }

  /** A session that was opened earlier; whether it is still there shows with its first use. @param {string} id */
  session(id) {
    return new Session(this.#server, id);
  }

  /**
   * Give the server a program; its hash, to launch it with.
   *
   * @param {string | File} program its source, or a file of it
   * @param {string} [file] the name by which it is listed
   * @returns {Promise<string>}
   * @throws {GreenroomError} "invalid_request": it is not Python, or has no `@inferlet`; "forbidden": not from here.
   */
  async uploadProgram(program, file = typeof program === "string" ? "program.py" : program.name) {
    const source = typeof program === "string" ? program : await program.text();
    return (await this.#server.ask("POST", "api/programs", JSON.stringify({ source, file }))).program;
  }

  /** Whether a program of this hash (or `module:function`) can be launched. @param {string} program */
  async programExists(program) {
    return (await this.listPrograms()).some((known) => known.program === program);
  }

  /** What can be launched. @returns {Promise<{program: string, file: string}[]>} */
  async listPrograms() {
    return (await this.#server.ask("GET", "api/programs")).programs;
  }

  /**
   * Start a program, and attach to it. Asks again, for the same inferlet, while the server has no room or no answer.
   *
   * @param {string} program
   * @param {string[]} [programArguments]
   * @param {string | null} [name]
   * @throws {GreenroomError} "program_not_found", "too_busy", "unavailable"
   */
  async launchInstance(program, programArguments = [], name = null) {
    const request = { program, arguments: programArguments, request_id: randomId(), ...(name && { name }) };
    const patience = new Patience(this.#server.patienceS);
    for (;;) {
      try {
        return new Instance(this.#server, (await this.#server.ask("POST", "api/inferlets", JSON.stringify(request))).id, -1);
      } catch (error) {
        if (!(error instanceof GreenroomError && error.retryable)) throw error;
        await patience.wait(error, this.#server.ending);
      }
    }
  }

  /**
   * Attach to an inferlet, and receive its events after a position; from the first one on, without.
   *
   * @param {string} id
   * @param {number | null} [after]
   * @throws {GreenroomError} "inferlet_not_found": it is not there, or somebody else's.
   */
  async attachInstance(id, after = null) {
    const view = await this.#server.ask("GET", `api/inferlets/${encodeURIComponent(id)}`);
    return new Instance(this.#server, view.id, after ?? -1);
  }

  /** The caller's inferlets, the latest used first. @returns {Promise<any[]>} */
  async listInstances() {
    return (await this.#server.ask("GET", "api/inferlets")).inferlets;
  }

  /**
   * End an inferlet; one that has ended stays as it is.
   *
   * @param {string} id
   * @throws {GreenroomError} "inferlet_not_found": it is not there, or somebody else's.
   */
  terminateInstance(id) {
    return this.#server.ask("DELETE", `api/inferlets/${encodeURIComponent(id)}`);
  }

  /** An agent, to be prompted. @param {string} name */
  agent(name) {
    return new Agent(this.#server, name);
  }

  /** The agents that can be prompted: `{name, source}`. @returns {Promise<any[]>} */
  async agents() {
    return (await this.#server.ask("GET", "api/agents")).agents;
  }

  /**
   * Give the server a Python file with agents; those that are in it.
   *
   * @param {string | File} agents its source, or a file of it
   * @param {string} [file] the name by which they are listed
   * @returns {Promise<any[]>}
   * @throws {GreenroomError} "invalid_request": it is not Python, or has no agent; "name_taken", "forbidden"
   */
  async uploadAgents(agents, file = typeof agents === "string" ? "agents.py" : agents.name) {
    const source = typeof agents === "string" ? agents : await agents.text();
    return (await this.#server.ask("POST", "api/agents", JSON.stringify({ source, file }))).agents;
  }

  /** The caller's threads, the latest used first. @returns {Promise<any[]>} */
  async threads() {
    return (await this.#server.ask("GET", "api/threads")).threads;
  }

  /**
   * A thread that was begun earlier; whether it is still there shows with its first use.
   *
   * @param {string} id
   * @param {{after?: string | number | null}} [from] a position, to read on after it
   */
  thread(id, { after = null } = {}) {
    return new Thread(this.#server, id, { after });
  }

  /** A run that was begun earlier. @param {string} runId */
  task(runId) {
    return new Task(this.#server, runId);
  }

  /** The caller's topics and the public ones, by name. @returns {Promise<any[]>} */
  async topics() {
    return (await this.#server.ask("GET", "api/topics")).topics;
  }

  /** The caller's queues and the public ones, by name. @returns {Promise<any[]>} */
  async queues() {
    return (await this.#server.ask("GET", "api/queues")).queues;
  }

  /**
   * Delete a queue with its items, those in the hands of consumers too.
   *
   * @param {string} queue
   * @throws {GreenroomError} "queue_not_found", or "forbidden": it is everybody's.
   */
  async deleteQueue(queue) {
    await this.#server.ask("DELETE", namedPath("queues", queue));
  }

  /**
   * Delete a topic with its messages; those who read it get "topic_not_found".
   *
   * @param {string} topic
   * @throws {GreenroomError} "topic_not_found", or "forbidden": it is everybody's.
   */
  async deleteTopic(topic) {
    await this.#server.ask("DELETE", namedPath("topics", topic));
  }

  /**
   * Append a message to a topic; its position, and how many read it. After "unavailable" it may be there.
   *
   * @param {string} topic
   * @param {import("./values.js").Value} message
   * @returns {Promise<{position: number, numSubscribers: number}>}
   */
  async publish(topic, message) {
    const published = await this.#server.ask("POST", namedPath("topics", topic), ...messageBody(message));
    return { position: published.position, numSubscribers: published.num_subscribers };
  }

  /**
   * Read a topic, from the oldest message that is retained, or from the next one, or after a place.
   *
   * @param {string} topic
   * @param {object} [options]
   * @param {string | null} [options.after] a subscription's `cursor`
   * @param {boolean} [options.replay]
   */
  async subscribe(topic, { after = null, replay = true } = {}) {
    const subscription = new Subscription(this.#server, topic, { after: after ?? "", replay });
    await subscription.opened();
    return subscription;
  }
}

export { ChatHistory, GreenroomError, RunFailed, resultOf };

// Agents on the client's side: prompts, and what they begin. The names are those of the Python client.
//
//     const { task, file } = await client.agent("waiter").asyncPrompt("A soup, please.");
//     for await (const block of file.stream()) for await (const piece of block.stream()) console.log(piece);
//     await task.wait();

import { randomId } from "./outbox.js";
import { Task } from "./task.js";
import { Thread } from "./thread.js";

/**
 * What a prompt may say beside its text. Without a name of its thread, it begins a new one.
 *
 * @typedef {object} PromptOptions
 * @property {string} [contextId] the thread's name, or its id
 * @property {Record<string, string | number | boolean>} [contextKeys] the same, as a dictionary
 * @property {"queue" | "reject" | "interrupt" | "rollback" | "steer"} [ifBusy] where the thread works on another prompt;
 *   without it, what the agent says
 * @property {string | string[]} [toolChoice] for the first steps: "auto", "none", "required", or a tool's name
 * @property {{maxActions?: number, maxTokens?: number, timeoutS?: number}} [limits] below the agent's own
 * @property {Record<string, string>} [labels]
 * @property {Record<string, any>} [metadata]
 * @property {string} [idempotencyKey] the same prompt with the same key is the same run
 */

/** An agent by its name; made by `Client.agent`. Whether there is one shows with the first prompt. */
export class Agent {
  /** @param {import("./server.js").Server} server @param {string} name */
  constructor(server, name) {
    this.server = server;
    this.name = name;
    this.path = `api/agents/${encodeURIComponent(name)}`;
  }

  /**
   * Begin a run, durable when this resolves. It goes on whether or not anybody follows it.
   *
   * @param {string} prompt
   * @param {PromptOptions} [options]
   * @returns {Promise<{task: Task, file: Thread}>} the run, and the thread from where the run begins
   * @throws {import("./errors.js").GreenroomError} "agent_not_found", "thread_busy", "idempotency_conflict", "too_busy",
   *   and "unavailable", after which it might have begun: the same prompt with the same key is safe to repeat.
   */
  async asyncPrompt(prompt, { idempotencyKey = randomId(), limits, ...options } = {}) {
    const body = {
      prompt,
      context_id: options.contextId,
      context_keys: options.contextKeys,
      if_busy: options.ifBusy,
      tool_choice: options.toolChoice,
      limits: limits && { max_actions: limits.maxActions, max_tokens: limits.maxTokens, timeout_s: limits.timeoutS },
      labels: options.labels,
      metadata: options.metadata,
    };
    const headers = { "Idempotency-Key": idempotencyKey };
    const begun = await this.server.ask("POST", `${this.path}/async_prompt`, JSON.stringify(body), undefined, headers);
    const file = new Thread(this.server, begun.thread_id, { runId: begun.run_id, after: begun.cursor });
    return { task: new Task(this.server, begun.run_id, begun.task.state), file };
  }

  /**
   * The same, and what the agent has said when the run has succeeded or waits for an answer.
   *
   * @param {string} prompt
   * @param {PromptOptions} [options]
   * @returns {Promise<{blocks: import("./thread_stream.js").Block[], run: any, task: Task, file: Thread}>}
   * @throws {import("./errors.js").RunFailed} it failed, or was cancelled.
   */
  async prompt(prompt, options = {}) {
    const { task, file } = await this.asyncPrompt(prompt, options);
    const run = await task.wait();
    const blocks = await file.blocks({ kinds: ["message"], roles: ["assistant"], limit: 1000 });
    return { blocks, run, task, file };
  }

  /** Forget one that was uploaded; threads that have begun go on with it. */
  async delete() {
    await this.server.ask("DELETE", this.path);
  }
}

// A thread's log as this page has read it: runs, and the blocks of each, from the events of `Thread.events`.

/** The largest seq of a thread's first block: what tells that its run has begun comes before. */
export const FIRST_PROMPT = 2;

const ENDED = new Set(["succeeded", "failed", "cancelled"]);

/** One block. `texts` has the text of each part as it came, which is exact also for JSON. */
class LoggedBlock {
  texts = [];

  constructor(view) {
    this.update(view);
    view.parts.forEach((part, at) => (this.texts[at] = part.text ?? ""));
  }

  update(view) {
    this.view = view;
  }

  grow({ part, text }) {
    this.texts[part] = (this.texts[part] ?? "") + text;
  }

  get isOpen() {
    return this.view.state === "open";
  }

  /** `{number, type, mimeType, name, text}` for each that has come; a file of an open block comes when it is closed. */
  get parts() {
    const { parts } = this.view;
    const found = Array.from({ length: Math.max(parts.length, this.texts.length) }, (_, number) => {
      const { type = "text", name = null, mime_type: mimeType } = parts[number] ?? {};
      return { number, type, name, mimeType, text: this.texts[number] || textOf(parts[number]) };
    });
    return found.filter(({ number }) => parts[number] || this.texts[number]);
  }

  get text() {
    return this.parts.filter((part) => part.type !== "file").map((part) => part.text).join("\n");
  }
}

/**
 * One run: `view` as the server described it last (null before), its blocks in their order, and the run that began it.
 * `before` is the seq of the block that stands before its first one: 0 for none, null where that was not read.
 */
class LoggedRun {
  view = null;
  parent = null;
  before = null;
  blocks = [];

  constructor(id) {
    this.id = id;
  }

  get state() {
    return this.view?.state ?? "running";
  }

  get isActive() {
    return !ENDED.has(this.state);
  }

  /** The status that came last, or null. */
  get status() {
    return this.blocks.findLast(({ view }) => view.kind === "status") ?? null;
  }
}

export class ThreadLog {
  #runs = new Map();
  #blocks = new Map();
  #last = null; // seq of a block

  get runs() {
    return [...this.#runs.values()];
  }

  /** The one that is worked on, or waits for an answer; null where there is none. */
  get running() {
    return this.runs.find((run) => !run.parent && run.isActive && run.state !== "queued") ?? null;
  }

  /** Take an event in; the run that it has changed, or null. */
  take({ name, data }) {
    if (name.startsWith("run.")) return this.describe(data.run);
    const id = data.block_id ?? data.block?.id;
    const run = this.#run(data.run_id ?? data.block?.run_id);
    if (name === "block.created" && !this.#blocks.has(id)) this.#add(run, data.block);
    if (name === "block.delta") this.#blocks.get(id)?.grow(data);
    if (name === "block.completed") this.#blocks.get(id)?.update(data.block);
    return run;
  }

  /** What the server says about a run. */
  describe(view) {
    const run = this.#run(view.id);
    run.view = view;
    if (view.parent_run_id) run.parent = this.#run(view.parent_run_id);
    return run;
  }

  #run(id) {
    if (!this.#runs.has(id)) this.#runs.set(id, new LoggedRun(id));
    return this.#runs.get(id);
  }

  #add(run, view) {
    const block = new LoggedBlock(view);
    this.#blocks.set(view.id, block);
    if (!run.blocks.length) run.before = this.#last ?? (view.seq <= FIRST_PROMPT ? 0 : null);
    run.blocks.push(block);
    this.#last = view.seq;
  }
}

function textOf(part) {
  if (part?.type === "json" && "json" in part) return JSON.stringify(part.json);
  return part?.text ?? "";
}

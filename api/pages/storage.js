// What this browser remembers: the API key, the settings, what threads are about, and how conversations branched. The
// server knows the rest.

const DEFAULTS = {
  system: "",
  temperature: 0.7,
  top_p: 0.95,
  min_p: 0,
  repetition_penalty: 1,
  top_k: 0,
  max_tokens: 512,
  seed: null,
  retention: "keep",
};

const MOST_TITLES = 300;

function read(name, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`greenroom.${name}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(name, value) {
  try {
    localStorage.setItem(`greenroom.${name}`, JSON.stringify(value));
  } catch {
    // A full or forbidden storage: the page works on, and forgets when it is closed.
  }
}

/** The API key, if the server wants one. */
export class Keyring {
  #key = read("key", "");

  get key() {
    return this.#key;
  }

  set key(key) {
    this.#key = key.trim();
    write("key", this.#key);
  }
}

/** What threads are about, by their ids. The latest are remembered. */
export class Titles {
  #all = new Map(read("titles", []));

  get(threadId) {
    return this.#all.get(threadId);
  }

  /** Note it from the first prompt, unless it is known. */
  note(threadId, prompt) {
    this.#all = new Map(read("titles", [])); // other tabs note as well
    if (this.#all.has(threadId)) return;
    this.#all.set(threadId, prompt.trim().split("\n")[0].slice(0, 60));
    write("titles", [...this.#all].slice(-MOST_TITLES));
  }

  forget(threadId) {
    this.#all.delete(threadId);
    write("titles", [...this.#all]);
  }
}

/** How the next answer is drawn, and how the next session is opened. */
export class Settings {
  values = { ...DEFAULTS, ...read("settings", {}) };

  update(values) {
    this.values = { ...this.values, ...values };
    write("settings", this.values);
  }

  reset() {
    this.update(DEFAULTS);
  }

  get model() {
    return read("model", null);
  }

  set model(name) {
    write("model", name);
  }

  /** The options of `Session.generate`. */
  generation() {
    const { temperature, top_p, min_p, repetition_penalty, top_k, seed, max_tokens } = this.values;
    return { sampling: { temperature, top_p, min_p, repetition_penalty, top_k, seed }, maxTokens: max_tokens };
  }
}

/**
 * Which session was forked from which, and where. Sessions that come from one root are branches of one conversation.
 * A branch is `{parent, at, system, order}`; `at` is the length in tokens that it shares with its parent. Earlier
 * versions kept a `title` here, which now the server has. All tabs of this browser share them.
 */
export class Branches {
  #all = read("branches", {});
  #live = null;

  /** Take in what other tabs have noted. */
  reload() {
    this.#all = read("branches", this.#all);
  }

  note(sessionId, fields) {
    this.reload();
    this.#live?.add(sessionId);
    const order = 1 + Math.max(0, ...Object.values(this.#all).map((branch) => branch.order ?? 0));
    this.#all[sessionId] = { order, ...this.#all[sessionId], ...fields };
    write("branches", this.#all);
  }

  get(sessionId) {
    return this.#all[sessionId] ?? {};
  }

  /** The server's sessions: what it no longer has is not offered, and forgotten when nothing came from it. */
  keep(sessionIds) {
    this.#live = new Set(sessionIds);
    const roots = new Set(sessionIds.map((id) => this.root(id)));
    this.forget(Object.keys(this.#all).filter((id) => !roots.has(this.root(id))));
  }

  forget(sessionIds) {
    if (!sessionIds.length) return;
    this.reload();
    for (const id of sessionIds) delete this.#all[id];
    write("branches", this.#all);
  }

  root(sessionId) {
    const parent = this.get(sessionId).parent;
    return parent && parent in this.#all ? this.root(parent) : sessionId;
  }

  /** All branches of this session's conversation, the oldest first. */
  family(sessionId) {
    const root = this.root(sessionId);
    const known = Object.keys(this.#all).filter((id) => this.root(id) === root);
    return known.length ? known.sort((a, b) => this.#all[a].order - this.#all[b].order) : [sessionId];
  }

  /**
   * What can be read at `length` tokens in this session: for each different turn that begins there, the branches that go
   * through it. Returns `{groups: [[sessionId, ...], ...], current}`, the oldest first.
   */
  alternatives(sessionId, length) {
    const groups = new Map();
    for (const id of this.family(sessionId)) {
      const isThere = id === sessionId || !this.#live || this.#live.has(id);
      if (!isThere || this.#shared(sessionId, id) < length) continue;
      const owner = this.#ownerAt(id, length);
      groups.set(owner, [...(groups.get(owner) ?? []), id]);
    }
    return { groups: [...groups.values()], current: [...groups.keys()].indexOf(this.#ownerAt(sessionId, length)) };
  }

  /** The session in whose own part the turn at `length` lies. */
  #ownerAt(sessionId, length) {
    const { parent, at } = this.get(sessionId);
    return parent && at > length ? this.#ownerAt(parent, length) : sessionId;
  }

  /** How many tokens two branches have in common; Infinity for one and the same. */
  #shared(one, other) {
    const lengths = new Map();
    for (let id = one, shared = Infinity; id; id = this.get(id).parent) {
      lengths.set(id, shared);
      shared = Math.min(shared, this.get(id).at ?? 0);
    }
    for (let id = other, shared = Infinity; id; id = this.get(id).parent) {
      if (lengths.has(id)) return Math.min(shared, lengths.get(id));
      shared = Math.min(shared, this.get(id).at ?? 0);
    }
    return -1;
  }
}

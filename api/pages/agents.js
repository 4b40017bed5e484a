// The page for agents: one thread, which the address's fragment names, or a new one; and the list of all threads.

import { Client, GreenroomError } from "../client.js";
import { Composer } from "./composer.js";
import { byId, download, make } from "./dom.js";
import { randomId } from "./ids.js";
import { Notice } from "./notice.js";
import { confirmDelete, keyAsker } from "./panel.js";
import { RunList } from "./run_list.js";
import { Keyring, Titles } from "./storage.js";
import { ThreadList } from "./thread_list.js";
import { FIRST_PROMPT, ThreadLog } from "./thread_log.js";

const REFRESH_EVERY_MS = 5000;
const RETRY_EVERY_MS = 2000;
const MOST_PROMPTS = 100; // that are read of a thread at first
const GONE = new Set(["thread_not_found", "thread_deleted"]);

const keyring = new Keyring();
const titles = new Titles();
const client = new Client(".", { apiKey: keyring.key, askForKey: keyAsker(keyring), patienceS: Infinity });
const notice = new Notice();
const runs = new RunList({ answer, save, branch, edit });
const composer = new Composer({ send, stop, isAlwaysOpen: true });
const list = new ThreadList(titles, { show: (thread) => show(thread.id), remove, startNew });
let [agents, threads] = [[], []];
/** The thread on the screen, `{id, agent, log, place, numPrompts, leaving, isGone}`; null where it is a new one. */
let shown = null;
/** A prompt of which it is not known whether it was taken: it is sent again under its own key. */
let unsure = null;

function show(id) {
  if (location.hash.slice(1) !== id) history.pushState(null, "", `#${id}`);
  openFromAddress();
}

function startNew() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  openFromAddress();
}

function openFromAddress() {
  const id = location.hash.slice(1);
  if (!id || id !== shown?.id) open(id);
  if (!shown?.isGone) composer.focus();
}

function open(id, numPrompts = MOST_PROMPTS) {
  shown?.leaving.abort();
  const leaving = new AbortController();
  shown = id ? { id, agent: null, log: new ThreadLog(), place: null, numPrompts, leaving, isGone: false } : null;
  runs.clear();
  notice.hide();
  byId("earlier").hidden = true;
  showState();
  if (shown) follow(shown);
}

/** Show what happens in the thread. A hidden page lets go of its stream, and goes on where it was when it is seen. */
async function follow(thread) {
  while (thread === shown) {
    await untilVisible();
    thread.leaving = new AbortController();
    try {
      thread.place ??= await startOf(thread);
      const { signal } = thread.leaving;
      for await (const event of client.thread(thread.id).events({ after: thread.place, children: true, signal })) {
        if (thread !== shown) return;
        thread.place = event.position;
        take(event);
      }
    } catch (error) {
      if (!(error instanceof GreenroomError)) throw error;
      if (thread !== shown) return;
      if (!error.retryable) return lose(error);
      await pause(RETRY_EVERY_MS);
    }
  }
}

/** The position before the first of the latest runs, and whether there are earlier ones. */
async function startOf({ id, numPrompts }) {
  const thread = client.thread(id);
  const asked = { kinds: ["message"], roles: ["user"] };
  const latest = await thread.blocks({ ...asked, limit: numPrompts, latestFirst: true });
  if (latest.length < numPrompts) return "0";
  const [first] = await thread.blocks({ ...asked, runId: latest.at(-1).view.run_id, limit: 1 });
  byId("earlier").hidden = first.view.seq <= FIRST_PROMPT || numPrompts >= 1000;
  return String(Math.max(0, first.view.seq - FIRST_PROMPT)); // with what tells that the run has begun
}

function take(event) {
  const run = shown.log.take(event);
  runs.update(run);
  const block = event.data.block;
  if (block?.kind === "message" && block.role === "user" && !run.parent) titles.note(shown.id, block.parts[0]?.text ?? "");
  announce(event);
  if (event.name.startsWith("run.")) {
    shown.agent ??= event.data.run.agent;
    showState();
  }
}

/** For those who do not see it: what was said at last, asked, or went wrong. */
function announce({ name, data }) {
  const { block, run } = data;
  const text = () => block.parts.map((part) => part.text ?? "").join("\n");
  if (name === "block.completed" && block.kind === "message" && block.role === "assistant") say(`Answer: ${text()}`);
  if (name === "block.created" && block.kind === "ask") say(`Question: ${text()}`);
  if (name === "run.ended" && run.state !== "succeeded") say(`The run has ${run.state === "failed" ? "failed" : "been cancelled"}.`);
}

function say(text) {
  byId("announcer").textContent = text;
}

/** The thread cannot be read any further. */
function lose(error) {
  shown.isGone = GONE.has(error.code);
  showState();
  if (shown.isGone) notice.show("This thread does not exist, or was deleted.", "New thread", startNew);
  else notice.show(error.message);
  refresh();
}

async function send(text) {
  const busy = shown && active() ? { ifBusy: byId("busy").value } : {};
  const options = { ...(shown && { contextId: shown.id }), ...busy };
  const agent = byId("agent").value;
  const signature = JSON.stringify([agent, text, options]);
  const idempotencyKey = unsure?.signature === signature ? unsure.key : randomId();
  const to = shown;
  const isSent = await attempt(async () => {
    const { file } = await client.agent(agent).asyncPrompt(text, { ...options, idempotencyKey });
    titles.note(file.id, text);
    if (to === null && shown === null) show(file.id);
    if (to === null && shown?.id === file.id) shown.agent = agent;
    runs.scrollToEnd();
  });
  unsure = isSent ? null : { signature, key: idempotencyKey };
  if (isSent) await refresh();
  else composer.restore(text);
}

/** Answers whether it was taken. */
function answer(run, askId, given) {
  return attempt(() => client.task(run.id).answer(askId, given));
}

function stop() {
  const run = active();
  return run && attempt(() => client.task(run.id).cancel());
}

/** The run that is worked on, else the next one; null where there is none. */
function active() {
  return shown?.log.running ?? shown?.log.runs.find((run) => !run.parent && run.isActive) ?? null;
}

function save(block, { number, name, mimeType }) {
  return attempt(async () => {
    download(name ?? "file", mimeType, await client.thread(shown.id).bytes(block.view.id, number));
  });
}

/** Go on from here in a thread of its own; this one stays as it is. */
function branch(block) {
  return attempt(async () => {
    const fork = await client.thread(shown.id).fork(block.view.id);
    titles.note(fork.id, titleOfBranch());
    show(fork.id);
    await refresh();
  });
}

function titleOfBranch() {
  return `${byId("title").textContent.replace(/ \(branch\)$/, "")} (branch)`;
}

/** Prompt with this text in the place of what began a run, in a thread of its own; this one stays as it is. */
async function edit(run, text) {
  const agent = byId("agent").value;
  const isSent = await attempt(async () => {
    const fork = await client.thread(shown.id).fork(run.before);
    titles.note(fork.id, run.before ? titleOfBranch() : text);
    show(fork.id);
    await client.agent(agent).asyncPrompt(text, { contextId: fork.id });
  });
  if (!isSent) composer.restore(text);
  await refresh();
}

async function remove(thread) {
  if (!await confirmDelete()) return;
  if (thread.id === shown?.id) startNew();
  if (await attempt(() => client.thread(thread.id).delete())) titles.forget(thread.id);
  await refresh();
}

/** Do it; where it fails, say so. */
async function attempt(action) {
  notice.hide();
  try {
    await action();
    return true;
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    notice.show(error.message);
    return false;
  }
}

async function refresh() {
  try {
    [agents, threads] = await Promise.all([client.agents(), client.threads()]);
    showConnection("open");
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    showConnection("waiting");
  }
  showState();
}

async function keepRefreshing() {
  for (;;) {
    await untilVisible();
    await refresh();
    await pause(REFRESH_EVERY_MS);
  }
}

/** The list, the title and what can be done, from what the server said last. */
function showState() {
  list.show(threads, shown?.id);
  const listed = threads.find((thread) => thread.id === shown?.id);
  const title = shown ? (titles.get(shown.id) ?? (listed ? list.titleOf(listed) : "Thread")) : "New thread";
  byId("title").textContent = title;
  document.title = shown ? `${title} · Greenroom` : "Agents · Greenroom";
  showAgents(listed?.agent ?? shown?.agent);
  const run = active();
  composer.showRunning(Boolean(run));
  byId("busy").hidden = !run;
  const wasHidden = byId("composer").hidden;
  byId("composer").hidden = byId("composer-hint").hidden = Boolean(shown?.isGone) || !byId("agent").value;
  if (wasHidden && document.activeElement === document.body) composer.focus();
  byId("welcome").hidden = Boolean(shown);
}

/** The agents to choose from; of a thread its own. */
function showAgents(own) {
  const field = byId("agent");
  const names = shown ? (own ? [own] : []) : agents.map((agent) => agent.name);
  if (names.join("\n") !== [...field.options].map((option) => option.value).join("\n")) {
    const chosen = field.value;
    field.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    if (names.includes(chosen)) field.value = chosen;
  }
  field.disabled = Boolean(shown);
  field.hidden = !names.length;
  const none = byId("connection").dataset.state === "open" && !agents.length;
  if (none) byId("welcome-text").textContent = "This server has no agents: name some in cluster.yaml, or upload them.";
}

function showConnection(state) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = state === "open" ? "Connected" : "Reconnecting…";
  byId("offline").hidden = state === "open";
}

function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function untilVisible() {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

byId("earlier").addEventListener("click", () => open(shown.id, 1000));
addEventListener("popstate", openFromAddress);
document.addEventListener("visibilitychange", () => document.hidden && shown?.leaving.abort());
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.target.closest(".ask-form, dialog") || list.drawer.isOpen) return;
  if (!document.querySelector("dialog[open]")) stop();
});

openFromAddress();
keepRefreshing();

// The chat page: puts its parts together. The address's fragment names the session that is shown.

import { Client, GreenroomError } from "../client.js";
import { Composer } from "./composer.js";
import { Conversation, GONE_CODE } from "./conversation.js";
import { byId, make } from "./dom.js";
import { Exporter } from "./export.js";
import { Notice } from "./notice.js";
import { confirmDelete, keyAsker, SettingsPanel } from "./panel.js";
import { Room } from "./room.js";
import { Sidebar } from "./sidebar.js";
import { Branches, Keyring, Settings } from "./storage.js";
import { Thread } from "./thread.js";

const REFRESH_EVERY_MS = 15_000;

const keyring = new Keyring();
const settings = new Settings();
const branches = new Branches();
const client = new Client(".", { apiKey: keyring.key, askForKey: keyAsker(keyring), patienceS: Infinity });
const notice = new Notice();
const tabs = new BroadcastChannel("greenroom-sessions");
let sessions = [];
let models = [];

const conversation = new Conversation(client, branches, settings, {
  turnsChanged() {
    thread.show(conversation.turns);
    showState();
  },
  turnChanged(turn) {
    thread.update(turn);
    showState();
  },
  turnStarted(turn) {
    thread.update(turn);
    showState();
    attempt(sessionsChanged);
  },
  turnEnded(turn) {
    thread.update(turn);
    showState();
    announce(turn);
  },
  status: showConnection,
  gone() {
    showConnection("idle");
    offerNewChat();
    attempt(refreshSessions);
  },
  refused(error) {
    notice.show(error.message);
  },
});

const thread = new Thread({
  edit: (turn, text) => attempt(() => branch(turn, text)),
  regenerate: (turn) => attempt(() => branch(turn, turn.question)),
  retry: (turn) => conversation.retry(turn),
  takeBack(turn) {
    conversation.discard(turn);
    composer.restore(turn.question);
  },
  carryOver(turn) {
    carryOver();
    composer.restore(turn.question);
  },
  show: (sessionId) => showSession(sessionId),
  alternatives: (turn) => branches.alternatives(conversation.sessionId, turn.baseLength),
});

const composer = new Composer({
  send: (text) => attempt(() => ask(text), () => composer.restore(text)),
  stop: () => conversation.stop(),
  typing: () => conversation.typing(),
  changed: () => showRoom(),
});

const room = new Room({
  carryOver,
  leaveOut() {
    conversation.carry = null;
    showState();
  },
});

new Exporter(async () => {
  let view = null;
  await attempt(async () => (view = await conversation.session.describe()));
  return view;
});

const sidebar = new Sidebar(branches, { show: (sessionId) => showSession(sessionId), rename, remove, startNew });

new SettingsPanel(settings, keyring, () => {
  client.apiKey = keyring.key;
  conversation.reconnect();
  attempt(refreshAll);
});

async function ask(text) {
  const isNew = !conversation.sessionId;
  notice.hide();
  await conversation.ask(text, byId("model").value || null);
  if (isNew) await nameSession();
}

async function branch(turn, text) {
  await conversation.branch(turn, text);
  composer.focus();
  await nameSession();
}

/** The shown session is a new one: put it in the address and in the list. */
async function nameSession() {
  history.pushState(null, "", `#${conversation.sessionId}`);
  await sessionsChanged();
}

/** The conversation goes on in a new chat, which takes its last turns along with the next message. */
function carryOver() {
  const title = `${titleOf(conversation.sessionId)} (continued)`;
  conversation.carryOver(title);
  showNew();
}

function showSession(sessionId) {
  if (location.hash.slice(1) !== sessionId) history.pushState(null, "", `#${sessionId}`);
  return openFromAddress();
}

async function openFromAddress() {
  const sessionId = decodeURIComponent(location.hash.slice(1));
  notice.hide();
  if (!sessionId) return startNew();
  if (sessionId === conversation.sessionId) return undefined;
  return attempt(async () => {
    if (await conversation.open(sessionId)) sidebar.show(sessions, conversation.sessionId);
    composer.focus();
  }, async (error) => {
    conversation.clear();
    thread.show([]);
    showState();
    if (error.code === GONE_CODE) await refreshSessions();
  });
}

function startNew() {
  conversation.clear();
  showNew();
}

function showNew() {
  if (location.hash) history.pushState(null, "", location.pathname + location.search);
  notice.hide();
  thread.show([]);
  showConnection("idle");
  showState();
  sidebar.show(sessions, null);
  composer.focus();
}

async function remove(sessionIds) {
  if (!await confirmDelete()) return;
  await attempt(async () => {
    for (const id of sessionIds) await client.session(id).close();
    branches.forget(sessionIds);
    if (sessionIds.includes(conversation.sessionId)) startNew();
    await sessionsChanged();
  });
}

async function rename(sessionIds, title) {
  await attempt(async () => {
    for (const id of sessionIds) await client.session(id).rename(title);
    await sessionsChanged();
  });
}

/** This tab has changed something that the lists of all tabs show. */
async function sessionsChanged() {
  tabs.postMessage("changed");
  await refreshSessions();
}

async function refreshSessions() {
  sessions = await client.sessions();
  branches.reload();
  branches.keep(sessions.map((session) => session.id));
  sidebar.show(sessions, conversation.sessionId);
  showTitle();
}

/** The list changes elsewhere as well: in other tabs, which say so, and in other browsers and programs. */
async function followSessions() {
  if (document.hidden) return;
  try {
    await refreshSessions();
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error; // the next time may do better
  }
}

async function refreshModels() {
  models = await client.models();
  const names = models.map((model) => model.name);
  const state = (model) => (model.is_passive ? " (starts when used)" : " (not ready)");
  const label = (model) => (model.num_ready ? model.name : model.name + state(model));
  byId("model").replaceChildren(...models.map((model) => make("option", { value: model.name }, label(model))));
  byId("model").value = names.includes(settings.model) ? settings.model : (names[0] ?? "");
  showState();
}

function refreshAll() {
  return Promise.all([refreshModels(), refreshSessions()]);
}

/** Do it; where it fails, say so in one sentence and offer to do it again. */
async function attempt(action, onFailure) {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    await onFailure?.(error);
    if (error.code === GONE_CODE) return offerNewChat();
    notice.show(error.message, onFailure || !error.retryable ? null : "Try again", () => attempt(action));
  }
}

function offerNewChat() {
  notice.show("This conversation has expired or was deleted.", "New chat", startNew);
}

function showState() {
  const { running, maxContext, length, model } = conversation;
  composer.showRunning(Boolean(running));
  byId("model").disabled = Boolean(model);
  if (model) byId("model").value = model;
  byId("export-open").hidden = !conversation.session || !conversation.turns.length;
  showTitle();
  showRoom();
}

function showRoom() {
  const name = byId("model").value;
  const maxContext = conversation.maxContext ?? models.find((model) => model.name === name)?.max_context ?? 0;
  room.show(conversation, maxContext, composer.text);
}

function showTitle() {
  const title = conversation.sessionId ? titleOf(conversation.sessionId) : "New chat";
  byId("title").textContent = title;
  document.title = conversation.sessionId ? `${title} · Greenroom` : "Greenroom";
}

function titleOf(sessionId) {
  const listed = sessions.find((session) => session.id === sessionId)?.title;
  return listed || conversation.turns[0]?.question.trim().split("\n")[0].slice(0, 60) || "Conversation";
}

function showConnection(state, delayMs = 0) {
  const texts = {
    idle: "Ready",
    connecting: "Connecting…",
    open: "Connected",
    waiting: delayMs < 1000 ? "Reconnecting…" : `Connection lost; trying again in ${Math.round(delayMs / 1000)} s`,
  };
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = texts[state];
  const offline = byId("offline");
  offline.hidden = state === "open" || state === "idle" || (state === "connecting" && offline.hidden);
  if (state === "waiting") offline.textContent = texts.waiting;
}

function announce(turn) {
  byId("announcer").textContent = turn.state === "failed" ? "" : `Answer: ${turn.text}`;
}

byId("model").addEventListener("change", (event) => (settings.model = event.target.value));
byId("starters").addEventListener("click", (event) => {
  const starter = event.target.closest("button");
  if (starter) attempt(() => ask(starter.textContent), () => composer.restore(starter.textContent));
});
tabs.addEventListener("message", followSessions);
document.addEventListener("visibilitychange", followSessions);
setInterval(followSessions, REFRESH_EVERY_MS);
addEventListener("popstate", openFromAddress);
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && conversation.running && !document.querySelector("dialog[open]") && !sidebar.drawer.isOpen) conversation.stop();
});

attempt(refreshAll);
openFromAddress();

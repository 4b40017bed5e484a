// The page for inferlets and topics. The address's fragment names the one that is shown: #inferlet/ID or #topic/NAME.

import { Client, GreenroomError } from "../client.js";
import { Catalogue, rateOf } from "./catalogue.js";
import { Composer } from "./composer.js";
import { byId, count } from "./dom.js";
import { Drawer } from "./drawer.js";
import { InferletFeed, TopicFeed } from "./feed.js";
import { Launcher } from "./launcher.js";
import { Log } from "./log.js";
import { Notice } from "./notice.js";
import { confirmDelete, keyAsker } from "./panel.js";
import { Keyring } from "./storage.js";

const REFRESH_EVERY_MS = 2000;
const OVER = new Set(["completed", "failed", "terminated", "lost"]);

const keyring = new Keyring();
const client = new Client(".", { apiKey: keyring.key, askForKey: keyAsker(keyring), patienceS: Infinity });
const drawer = new Drawer();
const notice = new Notice();
const log = new Log();
const catalogue = new Catalogue({ show });
const composer = new Composer({ send });
new Launcher(client, (instance) => {
  show("inferlet", instance.id);
  refresh();
});
let [inferlets, topics] = [[], []];
let feed = null;

function show(kind, id) {
  drawer.toggle(false, false);
  const fragment = `#${kind}/${encodeURIComponent(id)}`;
  if (location.hash === fragment) return;
  history.pushState(null, "", fragment);
  openFromAddress();
}

function openFromAddress() {
  const [kind, id] = location.hash.slice(1).split("/").map(decodeURIComponent);
  feed?.leave();
  feed = null;
  if (id) feed = kind === "topic" ? new TopicFeed(client, id) : new InferletFeed(client, id);
  notice.hide();
  log.clear();
  byId("welcome").hidden = Boolean(feed);
  showState();
  if (feed) follow(feed);
}

/** Show the feed's entries as they come. A hidden page lets go of its stream, and goes on where it was when it is seen. */
async function follow(followed) {
  for (let place = null; feed === followed && !followed.hasEnded; ) {
    await untilVisible();
    try {
      for await (const [entry, next] of followed.entries(place)) {
        if (feed !== followed) return;
        place = next;
        if (entry) showEntry(entry);
        else showOpen();
        if (document.hidden) break;
      }
    } catch (error) {
      if (!(error instanceof GreenroomError)) throw error;
      if (feed !== followed || ["closed", "inferlet_ended"].includes(error.code)) continue;
      if (!error.retryable) return notice.show(error.message);
      await pause();
    }
  }
}

function showOpen() {
  showState();
  composer.focus();
}

function showEntry(entry) {
  log.add(entry);
  announce(entry);
  if (entry.kind === "end") refresh();
}

function pause() {
  return new Promise((resolve) => setTimeout(resolve, REFRESH_EVERY_MS));
}

function untilVisible() {
  if (!document.hidden) return undefined;
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/** What was written is text, or JSON where the reader says so. */
async function send(text) {
  const to = feed;
  notice.hide();
  try {
    const value = byId("kind").value === "json" ? JSON.parse(text) : text;
    if (to.kind === "topic") return await to.send(value);
    const accepted = to.send(value);
    const item = log.add({ kind: "mine", value });
    log.scrollToEnd();
    item.classList.add("sending");
    accepted.then(() => item.classList.remove("sending"), (error) => refused(item, error));
  } catch (error) {
    if (!(error instanceof GreenroomError || error instanceof SyntaxError)) throw error;
    composer.restore(text);
    notice.show(error instanceof SyntaxError ? `This is not JSON: ${error.message}` : error.message);
  }
}

function refused(item, error) {
  item.classList.replace("sending", "refused");
  notice.show(`The message was not accepted: ${error.message}`);
}

async function terminate() {
  const ending = feed;
  if (!await confirmDelete()) return;
  try {
    await client.terminateInstance(ending.id);
  } catch (error) {
    if (!(error instanceof GreenroomError)) throw error;
    notice.show(error.message);
  }
  await refresh();
}

async function refresh() {
  try {
    [inferlets, topics] = await Promise.all([client.listInstances(), client.topics()]);
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
    await pause();
  }
}

/** The lists, the title and what can be done, from what the server said last. */
function showState() {
  catalogue.show(inferlets, topics, feed);
  const inferlet = feed?.kind === "inferlet" ? inferlets.find((one) => one.id === feed.id) : null;
  const topic = feed?.kind === "topic" ? topics.find((one) => one.name === feed.id) : null;
  const isOver = Boolean(feed?.hasEnded || OVER.has(inferlet?.state));
  const title = feed ? (inferlet?.name ?? feed.id) : "Inferlets";
  byId("title").textContent = title;
  document.title = feed ? `${title} · Greenroom` : "Inferlets · Greenroom";
  byId("facts").textContent = inferlet ? factsOf(inferlet, feed.description) : topic ? topicFacts(topic) : "";
  byId("terminate").hidden = feed?.kind !== "inferlet" || isOver;
  byId("composer").hidden = byId("composer-hint").hidden = !feed?.isOpen || isOver;
  byId("composer-input").placeholder = feed?.kind === "topic" ? "Publish to this topic" : "Message";
}

function factsOf(inferlet, description) {
  const words = description?.arguments ?? [];
  return [inferlet.state, ...(words.length ? [words.join(" ")] : []), inferlet.id].join(" · ");
}

function topicFacts(topic) {
  const facts = [rateOf(topic.rate), count(topic.end, "message"), count(topic.num_subscribers, "reader")];
  return [...facts, ...(topic.is_durable ? ["durable"] : [])].join(" · ");
}

function showConnection(state) {
  byId("connection").dataset.state = state;
  byId("connection-text").textContent = state === "open" ? "Connected" : "Reconnecting…";
  byId("offline").hidden = state === "open";
}

function announce({ kind, value, label }) {
  if (kind === "theirs" && typeof value === "string") byId("announcer").textContent = value;
  if (kind === "end") byId("announcer").textContent = label;
}

byId("terminate").addEventListener("click", terminate);
byId("welcome-launch").addEventListener("click", () => byId("launch-open").click());
addEventListener("popstate", openFromAddress);
document.addEventListener("visibilitychange", () => document.hidden && feed?.leave());

openFromAddress();
keepRefreshing();

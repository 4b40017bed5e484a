// Threads as AG-UI's client and the AI SDK's chat have them; what each of these refuses fails a check.
import { HttpAgent, buildResumeArray } from "@ag-ui/client";
import {
  AbstractChat,
  DefaultChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
  readUIMessageStream,
} from "ai";
import { check, ensure, url } from "./checks.mjs";

const call = (name, input) => `call ${name} ${JSON.stringify(input)}`;
const same = (found, wanted) => ensure(JSON.stringify(found) === JSON.stringify(wanted), JSON.stringify(found));

function aguiAgent(threadId, agent = "helper") {
  return new HttpAgent({ url: `${url}/api/agents/${agent}/agui`, threadId });
}

async function aguiRun(agent, text, parameters = {}) {
  if (text !== null) agent.addMessage({ id: crypto.randomUUID(), role: "user", content: text });
  const events = [];
  await agent.runAgent(parameters, { onEvent: ({ event }) => void events.push(event) });
  return events;
}

const lastText = (agent) => agent.messages.at(-1).content;

await check("agui-text", async () => {
  const agent = aguiAgent("text");
  await aguiRun(agent, "say é😀 hello");
  same(lastText(agent), "é😀 hello");
  await aguiRun(agent, "list");
  same(lastText(agent), "system: Help. | user: say é😀 hello | assistant: é😀 hello | user: list");
});

await check("agui-parallel-calls-one-fails", async () => {
  const agent = aguiAgent("calls");
  await aguiRun(agent, `${call("add", { a: 1, b: 2 })}\n${call("fail", { why: "no" })}`);
  const calls = agent.messages.flatMap((message) => message.toolCalls ?? []);
  same(calls.map((one) => JSON.parse(one.function.arguments)), [{ a: 1, b: 2 }, { why: "no" }]);
  const results = agent.messages.filter((message) => message.role === "tool");
  same(results.map((one) => one.content).sort(), ["3", "Error: ValueError: no"]);
  same(lastText(agent), "told 3, Error: ValueError: no");
});

await check("agui-interrupt-and-resume", async () => {
  const agent = aguiAgent("ask");
  await aguiRun(agent, `${call("pay", { amount: 20 })}\n${call("pay", { amount: 30 })}`);
  same(agent.pendingInterrupts.length, 2);
  const [first, second] = agent.pendingInterrupts;
  const resume = buildResumeArray(agent.pendingInterrupts, {
    [first.id]: { status: "resolved", payload: { approved: true } },
    [second.id]: { status: "cancelled" },
  });
  await aguiRun(agent, null, { resume });
  same(lastText(agent), "told paid 20, Error: cancelled");
  same(agent.pendingInterrupts.length, 0);
});

await check("agui-client-tool", async () => {
  const agent = aguiAgent("tool");
  const events = await aguiRun(agent, call("pick", { kind: "file" }));
  const [id] = events.at(-1).outcome.pendingToolCallIds;
  agent.addMessage({ id: crypto.randomUUID(), role: "tool", toolCallId: id, content: "a.txt" });
  await aguiRun(agent, null);
  same(lastText(agent), "told a.txt");
});

await check("agui-cancel", async () => {
  const agent = aguiAgent("cancelled");
  const running = aguiRun(agent, call("hold", { name: "agui" }));
  const stop = async () => (await fetch(`${url}/api/agents/helper/ui/cancelled/stop`, { method: "POST" })).status;
  while ((await stop()) !== 204 || agent.isRunning) await new Promise((resolve) => setTimeout(resolve, 50));
  same((await running).at(-1)?.outcome, { type: "cancelled" });
});

await check("agui-failure", async () => {
  const agent = aguiAgent("failed", "limited");
  let failure;
  await agent.runAgent({}, { onRunErrorEvent: ({ event }) => void (failure = event) }).catch(() => {});
  agent.addMessage({ id: "u", role: "user", content: Array(3).fill(call("add", { a: 1, b: 2 })).join("\n") });
  await agent.runAgent({}, { onRunErrorEvent: ({ event }) => void (failure = event) }).catch(() => {});
  same(failure?.code, "budget");
});

const transport = () => new DefaultChatTransport({ api: `${url}/api/agents/helper/ui` });

class ChatState {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => void (this.messages = [...this.messages, message]);
  popMessage = () => void (this.messages = this.messages.slice(0, -1));
  replaceMessage = (index, message) => void (this.messages = this.messages.with(index, this.snapshot(message)));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(options) {
    super({ ...options, transport: transport(), state: new ChatState() });
  }
}

const part = (message, kind) => (message?.parts ?? []).filter((one) => one.type === kind);
const textOf = (message) => part(message, "text").map((one) => one.text).join("");

await check("ui-text-and-calls", async () => {
  const stream = await transport().sendMessages({
    chatId: "ui-calls",
    trigger: "submit-message",
    messages: [{ id: "u1", role: "user", parts: [{ type: "text", text: `${call("add", { a: 1, b: 2 })}\n${call("fail", { why: "no" })}` }] }],
  });
  let last;
  for await (const message of readUIMessageStream({ stream, terminateOnError: true })) last = message;
  same(part(last, "tool-add").map((one) => [one.state, one.input, one.output]), [["output-available", { a: 1, b: 2 }, 3]]);
  same(part(last, "tool-fail").map((one) => [one.state, one.errorText]), [["output-error", "ValueError: no"]]);
  same(textOf(last), "told 3, Error: ValueError: no");
});

async function settled(chat, isDone) {
  for (let number = 0; number < 400 && !isDone(); number++) await new Promise((resolve) => setTimeout(resolve, 50));
  ensure(isDone(), `${chat.status}: ${chat.error} ${JSON.stringify(chat.messages)}`);
}

await check("ui-approval-and-client-tool", async () => {
  const chat = new Chat({
    id: "ui-approval",
    sendAutomaticallyWhen: (state) =>
      lastAssistantMessageIsCompleteWithApprovalResponses(state) || lastAssistantMessageIsCompleteWithToolCalls(state),
  });
  await chat.sendMessage({ text: `${call("pay", { amount: 20 })}\n${call("pick", { kind: "x" })}` });
  const [pay] = part(chat.messages.at(-1), "tool-pay");
  const [pick] = part(chat.messages.at(-1), "tool-pick");
  same([pay.state, pick.state], ["approval-requested", "input-available"]);
  await chat.addToolOutput({ tool: "pick", toolCallId: pick.toolCallId, output: "b.txt" });
  await chat.addToolApprovalResponse({ id: pay.approval.id, approved: true });
  await settled(chat, () => textOf(chat.messages.at(-1)) === "told paid 20, b.txt" && chat.status === "ready");
  same(chat.messages.length, 2);
  same(part(chat.messages.at(-1), "tool-pay")[0].output, "paid 20");
});

await check("ui-reconnect", async () => {
  const chat = new Chat({ id: "ui-reconnect" });
  const sending = chat.sendMessage({ text: call("pause", {}) });
  await settled(chat, () => part(chat.messages.at(-1), "tool-pause").some((one) => one.state === "input-available"));
  await chat.stop();
  await sending;
  const again = new Chat({ id: "ui-reconnect", messages: chat.messages.slice(0, 1) });
  again.messages = chat.messages.slice(0, 1);
  await again.resumeStream();
  same(textOf(again.messages.at(-1)), "told rested");
  same(again.messages.length, 2);
  const none = await transport().reconnectToStream({ chatId: "ui-reconnect" });
  same(none, null);
});

await check("ui-stop", async () => {
  const chat = new Chat({ id: "ui-stop" });
  const sending = chat.sendMessage({ text: call("hold", { name: "ui" }) });
  await settled(chat, () => part(chat.messages.at(-1), "tool-hold").some((one) => one.state === "input-available"));
  same((await fetch(`${url}/api/agents/helper/ui/ui-stop/stop`, { method: "POST" })).status, 204);
  await sending;
  same(chat.status, "ready");
});

await check("ui-regenerate-and-edit", async () => {
  const chat = new Chat({ id: "ui-again" });
  await chat.sendMessage({ text: "say one" });
  await chat.sendMessage({ text: "list" });
  const [told, before] = [textOf(chat.messages.at(-1)), chat.messages.at(-1).id];
  await chat.regenerate();
  same([textOf(chat.messages.at(-1)), chat.messages.length], [told, 4]);
  ensure(chat.messages.at(-1).id !== before, "it is another message");
  await chat.sendMessage({ text: "list", messageId: chat.messages[0].id });
  same([textOf(chat.messages.at(-1)), chat.messages.length], ["system: Help. | user: list", 2]);
  await chat.regenerate({ messageId: chat.messages.at(-1).id });
  same([textOf(chat.messages.at(-1)), chat.messages.length], ["system: Help. | user: list", 2]);
});

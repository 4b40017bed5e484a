// openai-node: chats, responses stored and streamed, a call, conversations.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";

import { check, ensure, model, url } from "./checks.mjs";

const client = new OpenAI({ baseURL: url, apiKey: "any", maxRetries: 0, timeout: 120_000 });
const input = "Hello! My name is Ada.";
const messages = [{ role: "user", content: input }];
const parameters = { type: "object", properties: { city: { type: "string", maxLength: 20 } }, required: ["city"] };

await check("models are listed", async () => {
  const found = [];
  for await (const one of client.models.list()) found.push(one.id);
  ensure(found.includes(model), `found ${found}`);
});

await check("chats streamed with usage", async () => {
  const stream = client.chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
  const final = await stream.finalChatCompletion();
  ensure(final.choices[0].message.content && (await stream.totalUsage()).completion_tokens > 0, "no text, or no usage");
});

await check("chats with a function run by the client", async () => {
  const weather = { name: "weather", description: "The weather", parameters, parse: JSON.parse };
  let called;
  const tool = { type: "function", function: { ...weather, function: (given) => ((called = given), "sunny") } };
  const tool_choice = { type: "function", function: { name: "weather" } };
  await client.chat.completions.runTools({ model, messages, tools: [tool], tool_choice }).done();
  ensure(typeof called?.city === "string", `called with ${JSON.stringify(called)}`);
});

await check("typed events of a stream", async () => {
  const kinds = [];
  const stream = client.responses.stream({ model, input });
  for await (const event of stream) kinds.push(event.type);
  ensure((await stream.finalResponse()).output_text, "no text");
  ensure(kinds.at(-1) === "response.completed", `the last of ${kinds}`);
});

await check("a stream read again from a number", async () => {
  const stream = await client.responses.create({ model, input, stream: true, max_output_tokens: 60 });
  let text = "";
  let id;
  let last;
  for await (const event of stream) {
    id ??= event.response?.id;
    last = event.sequence_number;
    if (event.type === "response.output_text.delta") text += event.delta;
    if (text) break;
  }
  for await (const event of await client.responses.retrieve(id, { stream: true, starting_after: last }))
    if (event.type === "response.output_text.delta") text += event.delta;
  ensure((await client.responses.retrieve(id)).output_text === text, `not ${text}`);
});

await check("a response in the background cancelled", async () => {
  const response = await client.responses.create({ model, input, background: true, max_output_tokens: 1900 });
  ensure(["queued", "in_progress"].includes(response.status), response.status);
  ensure((await client.responses.cancel(response.id)).id === response.id, "another response");
});

await check("responses parsed by zod", async () => {
  const format = zodTextFormat(z.object({ name: z.string().max(20) }), "city");
  const parsed = await client.responses.parse({ model, input: "A city?", text: { format } });
  ensure(typeof parsed.output_parsed.name === "string", JSON.stringify(parsed.output_parsed));
});

await check("a conversation and its items", async () => {
  const conversation = await client.conversations.create({ items: messages });
  await client.responses.create({ model, input: "What is my name?", conversation: conversation.id });
  const roles = [];
  for await (const item of client.conversations.items.list(conversation.id, { order: "asc" })) roles.push(item.role);
  ensure(String(roles) === "user,user,assistant", String(roles));
});

// A chat by the AI SDK with a tool, as a stream; its second turn goes on from the response of the first.
import { createOpenAI } from "@ai-sdk/openai";
import { stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const baseURL = process.argv[2] ?? "http://127.0.0.1:8000/v1";
const model = createOpenAI({ baseURL, apiKey: "any" })("pocket");

const weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string().max(20) }),
  execute: async ({ city }) => `It is sunny in ${city}.`,
});

const asked = streamText({
  model,
  prompt: "What is the weather in Rome?",
  temperature: 0,
  tools: { weather },
  stopWhen: stepCountIs(2),
  prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
});
for await (const part of asked.fullStream) {
  if (part.type === "tool-result") console.log(`${part.toolName}: ${part.output}`);
  if (part.type === "text-delta") process.stdout.write(part.text);
}

const { openai } = await asked.providerMetadata;
const next = streamText({
  model,
  prompt: "Thank you!",
  temperature: 0,
  providerOptions: { openai: { previousResponseId: openai.responseId } },
});
console.log();
for await (const text of next.textStream) process.stdout.write(text);

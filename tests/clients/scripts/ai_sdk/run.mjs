// AI SDK with four providers: a loop of tools as a stream, a text, and a typed object.
import { createOpenResponses } from "@ai-sdk/open-responses";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

import { check, ensure, model, url } from "./checks.mjs";

const openai = createOpenAI({ baseURL: url, apiKey: "any" });
const compatible = createOpenAICompatible({
  name: "greenroom",
  baseURL: url,
  apiKey: "any",
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const openResponses = createOpenResponses({ name: "greenroom", url: `${url}/responses`, apiKey: "any" });
const providers = {
  "openai, responses": openai(model),
  "openai, chat": openai.chat(model),
  "openai-compatible": compatible(model),
  "open-responses": openResponses(model),
};
const weather = tool({
  description: "The weather in a city",
  inputSchema: z.object({ city: z.string().max(20) }),
  execute: async ({ city }) => `It is sunny in ${city}.`,
});

for (const [name, provider] of Object.entries(providers)) {
  await check(`${name}: a tool called in a loop, as a stream`, async () => {
    const result = streamText({
      model: provider,
      prompt: "What is the weather in Rome?",
      tools: { weather },
      stopWhen: stepCountIs(2),
      prepareStep: ({ stepNumber }) => ({ toolChoice: stepNumber === 0 ? "required" : "none" }),
      onError: () => {},
    });
    const kinds = [];
    for await (const part of result.fullStream) {
      if (part.type === "error") throw part.error;
      kinds.push(part.type);
    }
    const input = name === "open-responses" ? [] : ["tool-input-start", "tool-input-delta"]; // which it never tells
    const wanted = [...input, "tool-call", "tool-result", "text-delta", "finish"];
    ensure(wanted.every((kind) => kinds.includes(kind)), [...new Set(kinds)].join());
  });

  await check(`${name}: a text`, async () => {
    const { text, usage } = await generateText({ model: provider, prompt: "Hello! My name is Ada." });
    ensure(text && usage.outputTokens > 0, `${text}, ${JSON.stringify(usage)}`);
  });

  await check(`${name}: an object`, async () => {
    const { object } = await generateObject({
      model: provider,
      schema: z.object({ name: z.string().max(20) }),
      prompt: "A city?",
    });
    ensure(typeof object.name === "string", JSON.stringify(object));
  });
}

import assert from "node:assert/strict";
import { test } from "node:test";
import type { EngineDriver } from "../engine-driver.ts";
import { ApiError } from "../errors.ts";
import type { TextWorker } from "../text/index.ts";
import { type ChatRequest, chatRequest } from "../wire.ts";
import { countCalls, PromptWriter } from "./prompt.ts";

const request = chatRequest.parse({
  model: "m",
  messages: [{ role: "user", content: "Weather?" }],
  tools: [{ type: "function", function: { name: "sky" } }],
});

/** Of a model that writes calls in the format. */
function promptWriter(toolCallFormat: TextWorker["toolCallFormat"]): PromptWriter {
  const text: Pick<TextWorker, "toolCallFormat" | "perform"> = {
    toolCallFormat,
    perform: () => Promise.resolve([Uint32Array.of(1)]),
  };
  const engine: Pick<EngineDriver, "maxModelLen" | "limitedBy" | "vocabSize"> = {
    ...{ maxModelLen: 9, limitedBy: "index_topk 9", vocabSize: 9 },
  };
  return new PromptWriter(text as TextWorker, engine as EngineDriver);
}

test("tools are refused by name where nobody knows how the model would call them", async () => {
  const { signal } = new AbortController();
  await assert.rejects(promptWriter(undefined).chat(request, undefined, signal), (error) => {
    return error instanceof ApiError && error.status === 400 && error.param === "tools";
  });
  const untold = { ...request, tool_choice: "none" } as const;
  await promptWriter(undefined).chat(untold, undefined, signal);
  await promptWriter("glm-4.7").chat(request, undefined, signal);
});

test("calls are counted over the whole conversation", () => {
  const call = { function: { name: "sky", arguments: "{}" } };
  const asked: ChatRequest["messages"][number] = { role: "assistant", tool_calls: [call, call] };
  const messages = [...request.messages, asked, ...request.messages, asked];
  assert.equal(countCalls({ ...request, messages }), 4);
  assert.equal(countCalls(request), 0);
});

test("a prompt that is too long is told what ends the context", async () => {
  const { signal } = new AbortController();
  const asked = promptWriter(undefined).completions([1, 2, 3, 4, 5, 6, 7, 8, 8], signal);
  await assert.rejects(asked, /context length is 9 tokens, .* \(index_topk 9\); .* at least 9/);
});

/** What people's clients make of answers. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { tool as langchainTool } from "@langchain/core/tools";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";
import { type ScriptedServer, startScriptedServer } from "../http/scripted-fixtures.ts";

let server: ScriptedServer;
before(async () => (server = await startScriptedServer({ apiKey: "secret" })));
after(() => server.close());

const call =
  '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁sep｜>{"a":1,"b":2}<｜tool▁call▁end｜><｜tool▁calls▁end｜>';
const messages = [{ role: "user" as const, content: "1 + 2?" }];
const anthropic = (apiKey = "secret") =>
  new Anthropic({ baseURL: server.url, apiKey, maxRetries: 0 });
const openai = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "secret", maxRetries: 0 });
const body = { model: "calf", max_tokens: 100, messages };

test("Anthropic's client: thoughts and text, whole and streamed, in the same blocks", async () => {
  const thinking = { type: "enabled" as const, budget_tokens: 1024 };
  server.say("hm</think>3", "hm</think>3");
  const whole = await anthropic().messages.create({ ...body, thinking });
  assert.deepEqual(whole.content, [
    { type: "thinking", thinking: "hm", signature: "" },
    { type: "text", text: "3" },
  ]);
  assert.equal(whole.stop_reason, "end_turn");
  const stream = anthropic().messages.stream({ ...body, thinking });
  const types: string[] = [];
  stream.on("streamEvent", ({ type }) => types.push(type));
  const streamed = await stream.finalMessage();
  assert.deepEqual(streamed.content, whole.content);
  assert.deepEqual(streamed.usage, whole.usage);
  const block = "content_block_start (content_block_delta )+content_block_stop ";
  assert.match(
    `${types.join(" ")} `,
    new RegExp(`^message_start (${block}){2}message_delta message_stop $`),
  );
});

test("Anthropic's client: tools, stop sequences, limits and tokens counted", async () => {
  const tools = [{ name: "add", input_schema: { type: "object" as const } }];
  server.say(call, "one STOP two", "a long answer");
  const called = await anthropic().messages.create({ ...body, tools });
  assert.equal(called.stop_reason, "tool_use");
  assert.ok(called.content[0].type === "tool_use");
  assert.deepEqual(called.content[0].input, { a: 1, b: 2 });
  const stopped = await anthropic().messages.create({ ...body, stop_sequences: ["STOP"] });
  assert.deepEqual([stopped.stop_reason, stopped.stop_sequence], ["stop_sequence", "STOP"]);
  const cut = await anthropic().messages.create({ ...body, max_tokens: 2 });
  assert.equal(cut.stop_reason, "max_tokens");
  const { input_tokens } = await anthropic().messages.countTokens({ model: "calf", messages });
  assert.equal(input_tokens, cut.usage.input_tokens);
});

test("Anthropic's client: words of the assistant's are gone on with", async () => {
  server.say(" 3.");
  const begun = { role: "assistant" as const, content: "It is" };
  await anthropic().messages.create({ ...body, messages: [...messages, begun] });
  assert.match(server.prompts.at(-1) ?? "", /It is$/);
});

test("Anthropic's client: errors are of the kinds it knows", async () => {
  await assert.rejects(
    anthropic("wrong").messages.create(body),
    (error) => error instanceof Anthropic.AuthenticationError,
  );
  await assert.rejects(
    anthropic().messages.create({ ...body, model: "nobody" }),
    (error) => error instanceof Anthropic.NotFoundError && error.type === "not_found_error",
  );
  const forced = { ...body, tool_choice: { type: "any" as const } };
  await assert.rejects(anthropic().messages.create(forced), /tool_choice: expected tools/);
});

test("OpenAI's client: a response, whole and streamed, and one that goes on", async () => {
  server.say("hm</think>3", "hm</think>3", "So it is.");
  const asked = { model: "calf", input: "1 + 2?", reasoning: { effort: "high" as const } };
  const whole = await openai().responses.create(asked);
  assert.equal(whole.output_text, "3");
  const stream = openai().responses.stream(asked);
  const numbers: number[] = [];
  stream.on("event", ({ sequence_number }) => numbers.push(sequence_number));
  const streamed = await stream.finalResponse();
  assert.equal(streamed.output_text, "3");
  assert.deepEqual(
    streamed.output.map(({ type }) => type),
    ["reasoning", "message"],
  );
  assert.deepEqual(numbers, [...numbers.keys()]);
  const next = await openai().responses.create({
    ...{ model: "calf", input: "Sure?", previous_response_id: streamed.id },
  });
  assert.equal(next.output_text, "So it is.");
  assert.match(server.prompts.at(-1) ?? "", /1 \+ 2\?.*3.*Sure\?/);
  await assert.rejects(
    openai().responses.create({ model: "calf", input: "a", previous_response_id: "resp_none" }),
    (error) => error instanceof OpenAI.APIError && error.param === "previous_response_id",
  );
});

const sum = z.object({ a: z.number(), b: z.number() });

test("the AI SDK: text, streams, and tools that it runs", async () => {
  const provider = createOpenAICompatible({
    ...{ name: "daysix", baseURL: `${server.url}/v1`, apiKey: "secret" },
  });
  const model = provider("calf");
  server.say("3", "3", call, "It is 3.");
  assert.equal((await generateText({ model, prompt: "1 + 2?" })).text, "3");
  assert.equal(await streamText({ model, prompt: "1 + 2?" }).text, "3");
  const { text, steps } = await generateText({
    ...{ model, prompt: "1 + 2?", stopWhen: stepCountIs(2) },
    tools: { add: tool({ inputSchema: sum, execute: async ({ a, b }) => a + b }) },
  });
  assert.equal(text, "It is 3.");
  assert.equal(steps[0].toolResults[0]?.output, 3);
});

test("LangChain: text, streams, and tools that are bound", async () => {
  const model = new ChatOpenAI({
    ...{ model: "calf", apiKey: "secret", configuration: { baseURL: `${server.url}/v1` } },
  });
  server.say("3", "3", call);
  assert.equal((await model.invoke("1 + 2?")).content, "3");
  let streamed = "";
  for await (const chunk of await model.stream("1 + 2?")) streamed += chunk.text;
  assert.equal(streamed, "3");
  const add = langchainTool(({ a, b }) => String(a + b), {
    ...{ name: "add", description: "Adds", schema: sum },
  });
  const { tool_calls } = await model.bindTools([add]).invoke("1 + 2?");
  assert.deepEqual(
    tool_calls?.map(({ name, args }) => [name, args]),
    [["add", { a: 1, b: 2 }]],
  );
});

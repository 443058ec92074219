/** Calls that an answer has to have, of a model that says anything, as each API asks for them. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic from "@anthropic-ai/sdk";
import { ChatOpenAI } from "@langchain/openai";
import { generateObject } from "ai";
import OpenAI from "openai";
import { z } from "zod";
import { startTinyServer, type TinyServer } from "../http/fixtures.ts";

let server: TinyServer;
before(async () => (server = await startTinyServer({}, 4096)));
after(() => server.close());

const openai = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any", maxRetries: 0 });
const seat = z.strictObject({
  city: z.enum(["Oslo", "Rome"]),
  seats: z.int().min(1).max(12),
  note: z.string().max(6).optional(),
});
const parameters = z.toJSONSchema(seat);
const named = (name: string, strict = true) => ({
  type: "function" as const,
  function: { name, parameters, strict },
});
const tools = [named("book"), named("cancel")];
const messages = [{ role: "user" as const, content: "hello" }];
const hot = { model: "calf", messages, tools, temperature: 1.5, max_tokens: 200 };

/** Of an answer that may be cut, those that are complete. */
const whole = (calls: Called[] | undefined, reason: string) =>
  reason === "length" ? (calls ?? []).slice(0, -1) : (calls ?? []);

interface Called {
  readonly function: { readonly name: string; readonly arguments: string };
}

test("chat: calls of any tool, of a named one, of allowed ones, and one at a time", async () => {
  const asked: [object, RegExp, number][] = [
    [{ tool_choice: "required" }, /^(book|cancel)$/, 99],
    [{ tool_choice: "required", parallel_tool_calls: false }, /^(book|cancel)$/, 1],
    [{ tool_choice: { type: "function", function: { name: "cancel" } } }, /^cancel$/, 1],
    [
      {
        tool_choice: {
          type: "allowed_tools",
          allowed_tools: {
            mode: "required",
            tools: [{ type: "function", function: { name: "book" } }],
          },
        },
      },
      /^book$/,
      99,
    ],
  ];
  for (const [fields, name, most] of asked) {
    const { choices } = await server.post("/v1/chat/completions", { ...hot, ...fields });
    for (const { message, finish_reason } of choices) {
      const complete = whole(message.tool_calls, finish_reason);
      assert.ok(complete.length > 0);
      assert.ok(complete.length <= most);
      // A call that was cut before it had a whole name is no call yet: what there is of it is not lost.
      if (message.content !== null) {
        assert.equal(finish_reason, "length");
        assert.match(message.content, /^<｜tool▁call▁begin｜>[^{}]*$/);
      }
      for (const { function: called } of complete) {
        assert.match(called.name, name);
        seat.parse(JSON.parse(called.arguments));
      }
    }
  }
});

test("chat: a strict tool's arguments are as its schema has them, whenever the model calls it", async () => {
  const { choices } = await server.post("/v1/chat/completions", { ...hot, n: 2 });
  for (const { message, finish_reason } of choices) {
    for (const { function: called } of whole(message.tool_calls, finish_reason)) {
      seat.parse(JSON.parse(called.arguments));
    }
  }
});

test("chat: with a format beside tools the answer is calls, or has the format", async () => {
  const response_format = {
    type: "json_schema",
    json_schema: { name: "a", schema: { enum: ["yes", "no"] } },
  };
  const { choices } = await server.post("/v1/chat/completions", { ...hot, response_format, n: 2 });
  for (const { message, finish_reason } of choices) {
    if (finish_reason === "tool_calls") assert.ok(message.tool_calls.length > 0);
    else if (finish_reason === "stop") assert.match(message.content, /^\s*"(yes|no)"$/);
  }
});

test("Messages: any tool, and one by its name", async () => {
  const anthropic = new Anthropic({ baseURL: server.url, apiKey: "any", maxRetries: 0 });
  const own = ["book", "cancel"].map((name) => ({
    ...{ name, input_schema: parameters as Anthropic.Tool.InputSchema },
  }));
  for (const tool_choice of [{ type: "any" }, { type: "tool", name: "book" }] as const) {
    const { content, stop_reason } = await anthropic.messages.create({
      ...{ model: "calf", max_tokens: 1500, messages, tools: own, temperature: 1 },
      tool_choice: { ...tool_choice, disable_parallel_tool_use: true },
    });
    assert.equal(stop_reason, "tool_use");
    assert.equal(content.length, 1);
    assert.ok(content[0].type === "tool_use");
    if (tool_choice.type === "tool") assert.equal(content[0].name, "book");
    seat.parse(content[0].input);
  }
});

test("Responses: required, and one by its name", async () => {
  const own = tools.map(({ type, function: rest }) => ({ type, ...rest }));
  for (const tool_choice of ["required", { type: "function", name: "cancel" }] as const) {
    const { output } = await openai().responses.create({
      ...{ model: "calf", input: "hello", tools: own, tool_choice, temperature: 1.5 },
      parallel_tool_calls: false,
    });
    assert.equal(output.length, 1);
    assert.ok(output[0].type === "function_call");
    if (typeof tool_choice === "object") assert.equal(output[0].name, "cancel");
    seat.parse(JSON.parse(output[0].arguments));
  }
});

test("the AI SDK's objects and LangChain's structured output, of a model that says anything", async () => {
  const provider = createOpenAICompatible({
    ...{ name: "daysix", baseURL: `${server.url}/v1`, supportsStructuredOutputs: true },
  });
  const { object } = await generateObject({
    ...{ model: provider("calf"), schema: seat, prompt: "hello", temperature: 1.5 },
  });
  seat.parse(object);
  const model = new ChatOpenAI({
    ...{ model: "calf", apiKey: "any", temperature: 1.5, maxRetries: 0 },
    configuration: { baseURL: `${server.url}/v1` },
  });
  for (const method of ["functionCalling", "jsonSchema"] as const) {
    seat.parse(await model.withStructuredOutput(seat, { method, name: "seat" }).invoke("hello"));
  }
});

test("a choice of what is not there, and a strict tool that cannot be followed, are refused by name", async () => {
  const unique = { type: "object", properties: { a: { uniqueItems: true } } };
  const odd = { type: "function", function: { name: "odd", parameters: unique, strict: true } };
  const refused: [object, string, RegExp][] = [
    [{ tools: [], tool_choice: "required" }, "tool_choice", /expected tools/],
    [{ tool_choice: { type: "function", function: { name: "x" } } }, "tool_choice", /got "x"$/],
    [{ tool_choice: { type: "function" } }, "tool_choice", /their names$/],
    [{ tool_choice: { type: "custom" } }, "tool_choice", /got type custom$/],
    [{ tools: [odd] }, "tools", /odd's parameters: #\/properties\/a\/uniqueItems: is not/],
    [{ tool_choice: "required", ignore_eos: true }, "ignore_eos", /not supported beside tools/],
  ];
  for (const [fields, param, message] of refused) {
    const response = await server.fetch("/v1/chat/completions", { ...hot, ...fields });
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    assert.equal(response.status, 400);
    assert.equal(error.param, param);
    assert.match(error.message, message);
  }
});

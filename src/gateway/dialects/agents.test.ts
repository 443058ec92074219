/** Agents, as the clients of each API make them, before a model that says what a script tells it. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { type ScriptedServer, startScriptedServer } from "../http/scripted-fixtures.ts";

let server: ScriptedServer;
before(async () => (server = await startScriptedServer()));
after(() => server.close());

const call = (name: string, city: string) =>
  `<｜tool▁call▁begin｜>${name}<｜tool▁sep｜>{"city":"${city}"}<｜tool▁call▁end｜>`;
const calls = (...each: string[]) => `<｜tool▁calls▁begin｜>${each.join("")}<｜tool▁calls▁end｜>`;

/** Five calls in three turns: two of them side by side, one of a tool that fails. */
const script = [
  `Both.${calls(call("weather", "Oslo"), call("weather", "Rome"))}`,
  calls(call("weather", "Atlantis")),
  `Once more.${calls(call("weather", "Paris"), call("weather", "Bern"))}`,
  "Bern is the warmest.",
];
const steps = [["Oslo", "Rome"], ["Atlantis"], ["Paris", "Bern"]];
const schema = { type: "object" as const, properties: { city: { type: "string" } } };
const question = "Where is it warm?";

/** What the tool says, or why it fails. */
function weather(city: string): { readonly text: string; readonly failed: boolean } {
  if (city === "Atlantis") return { text: "Error: no such city", failed: true };
  return { text: `${city}: ${city.length} degrees`, failed: false };
}

/** The prompt of the last turn says everything that happened, in its order. */
function assertTold(): void {
  const prompt = server.prompts.at(-1) ?? "";
  let at = prompt.indexOf(question);
  for (const cities of steps) {
    const said = [
      ...cities.map((city) => `{"city":"${city}"}`),
      ...cities.map((city) => `<｜tool▁output▁begin｜>${weather(city).text}<｜tool▁output▁end｜>`),
    ];
    for (const words of said) {
      const next = prompt.indexOf(words, at);
      assert.ok(next > at, `${words} is not told after ${prompt.slice(at, at + 40)}`);
      at = next;
    }
  }
}

const openai = () => new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any", maxRetries: 0 });
const anthropic = () => new Anthropic({ baseURL: server.url, apiKey: "any", maxRetries: 0 });

test("an agent of the Messages API calls its tools to the end", async () => {
  for (const streamed of [false, true]) {
    server.say(...script);
    const messages: Anthropic.MessageParam[] = [{ role: "user", content: question }];
    const tools = [{ name: "weather", description: "Tells it", input_schema: schema }];
    const kinds: string[] = [];
    for (;;) {
      const body = { model: "calf", max_tokens: 500, messages, tools };
      const { content, stop_reason } = await (streamed
        ? anthropic().messages.stream(body).finalMessage()
        : anthropic().messages.create(body));
      messages.push({ role: "assistant", content });
      kinds.push(content.map(({ type }) => type).join(" "));
      if (stop_reason !== "tool_use") break;
      const results = content.flatMap((block) => {
        if (block.type !== "tool_use") return [];
        const { text, failed } = weather((block.input as { city: string }).city);
        return [
          { type: "tool_result" as const, tool_use_id: block.id, content: text, is_error: failed },
        ];
      });
      // In any order: a result names its call.
      messages.push({ role: "user", content: results.toReversed() });
    }
    assert.deepEqual(kinds, [
      "text tool_use tool_use",
      "tool_use",
      "text tool_use tool_use",
      "text",
    ]);
    assertTold();
  }
});

test("an agent of the Responses API calls its tools to the end, with its history sent or kept", async () => {
  const tools = [{ type: "function" as const, name: "weather", parameters: schema, strict: false }];
  for (const kept of [false, true]) {
    server.say(...script);
    let input: OpenAI.Responses.ResponseInputItem[] = [{ role: "user", content: question }];
    let previous: string | undefined;
    const kinds: string[] = [];
    for (;;) {
      const { id, output } = await openai().responses.create({
        ...{ model: "calf", input, tools },
        ...(previous === undefined ? {} : { previous_response_id: previous }),
      });
      kinds.push(output.map(({ type }) => type).join(" "));
      const results = output.flatMap((item) => {
        if (item.type !== "function_call") return [];
        const { city } = JSON.parse(item.arguments) as { city: string };
        const { call_id } = item;
        return [{ type: "function_call_output" as const, call_id, output: weather(city).text }];
      });
      if (results.length === 0) break;
      const said = output as OpenAI.Responses.ResponseInputItem[];
      input = kept ? results : [...input, ...said, ...results];
      if (kept) previous = id;
    }
    assert.deepEqual(kinds, [
      "message function_call function_call",
      "function_call",
      "message function_call function_call",
      "message",
    ]);
    assertTold();
  }
});

test("an agent of chat completions calls its tools to the end", async () => {
  server.say(...script);
  const runner = openai().chat.completions.runTools({
    model: "calf",
    messages: [{ role: "user", content: question }],
    tools: [
      {
        type: "function",
        function: {
          name: "weather",
          description: "Tells it",
          parameters: schema,
          parse: (text: string) => JSON.parse(text) as { city: string },
          function: ({ city }: { city: string }) => weather(city).text,
        },
      },
    ],
  });
  assert.equal(await runner.finalContent(), "Bern is the warmest.");
  assert.deepEqual(
    runner.messages.map(({ role }) => role).join(" "),
    "user assistant tool tool assistant tool assistant tool tool assistant",
  );
  assertTold();
});

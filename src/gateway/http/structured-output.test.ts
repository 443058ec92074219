import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

let server: TinyServer;
let client: OpenAI;

before(async () => {
  server = await startTinyServer();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "any", maxRetries: 0 });
});
after(() => server.close());

const person = z.object({
  name: z.string().max(6),
  age: z.int().min(0).max(120),
  kind: z.enum(["cat", "dog"]),
});
const messages = [{ role: "user" as const, content: "hello" }];
const hot = { model: "calf", messages, temperature: 1.5, max_tokens: 400 };
const format = {
  type: "json_schema" as const,
  json_schema: {
    name: "person",
    strict: true,
    schema: {
      ...{ type: "object", additionalProperties: false, required: ["name", "age", "kind"] },
      properties: {
        name: { type: "string", maxLength: 6 },
        age: { type: "integer", minimum: 0, maximum: 120 },
        kind: { enum: ["cat", "dog"] },
      },
    },
  },
};

test("OpenAI's parse() gets what its schema says, of a model that says anything", async () => {
  const answer = await client.chat.completions.parse({
    ...hot,
    n: 4,
    seed: 3,
    response_format: zodResponseFormat(person, "person"),
  });
  for (const { finish_reason, message } of answer.choices) {
    assert.equal(finish_reason, "stop");
    person.parse(message.parsed);
  }
});

test("streamed or whole, with thoughts or without, the same seed says the same", async () => {
  for (const thinking of [false, true]) {
    const asked = {
      ...{ model: "calf", messages, response_format: format },
      ...{ temperature: 1, seed: 11, max_tokens: 300, chat_template_kwargs: { thinking } },
    };
    const whole = await server.post("/v1/chat/completions", asked);
    const stream = await server.fetch("/v1/chat/completions", { ...asked, stream: true });
    const chunks = (await stream.text())
      .split("\n\n")
      .filter((line) => line.startsWith("data: {"))
      .map((line) => JSON.parse(line.slice(6)).choices[0].delta);
    const said = (field: string) => chunks.map((delta) => delta[field] ?? "").join("");
    const [{ message, finish_reason }] = whole.choices;
    assert.equal(said("content"), message.content ?? "");
    assert.equal(said("reasoning_content"), message.reasoning_content ?? "");
    // Thoughts of a model that says anything may have no end.
    if (finish_reason === "stop") person.parse(JSON.parse(message.content));
    else assert.ok(thinking);
  }
});

test("vLLM's fields constrain chats and completions", async () => {
  const asked: [object, RegExp][] = [
    [{ structured_outputs: { choice: ["yes", "no"] } }, /^(yes|no)$/],
    [{ guided_choice: ["left", "right"] }, /^(left|right)$/],
    [{ guided_regex: "[a-f]{2}-\\d{3}" }, /^[a-f]{2}-\d{3}$/],
    [{ guided_json: { type: "integer", minimum: 10, maximum: 12 } }, /^\s{0,2}1[012](\.0+)?$/],
    [{ guided_grammar: 'root ::= ("a" | "b")+ "."' }, /^[ab]+\.$/],
    [{ guided_json: '{"const":"a"}' }, /^\s{0,2}"a"$/],
    [{ grammar: 'root ::= [x-z]{2} | "w"  # llama-server' }, /^([xyz]{2}|w)$/],
    [{ json_schema: { enum: [1, 2] } }, /^\s{0,2}[12](\.0+)?$/],
    [{ regex: "[ab]", grammar: "", guided_json_object: false }, /^[ab]$/],
    [{ ebnf: 'root ::= "a"' }, /^a$/],
    [{ response_format: { type: "json_object" }, max_tokens: 1 }, /^[ \n{]/],
  ];
  for (const [fields, form] of asked) {
    const sampling = { model: "calf", temperature: 1.5, max_tokens: 200 };
    const chat = await server.post("/v1/chat/completions", { ...sampling, messages, ...fields });
    assert.match(chat.choices[0].message.content, form);
    const raw = await server.post("/v1/completions", { ...sampling, prompt: "a", ...fields });
    assert.match(raw.choices[0].text, form);
  }
});

test("constrained and free answers share steps, and the free ones stay as they were", async () => {
  const free = { model: "calf", messages, seed: 5, temperature: 1, max_tokens: 60, logprobs: true };
  const alone = await server.post("/v1/chat/completions", free);
  const together = await Promise.all([
    server.post("/v1/chat/completions", free),
    server.post("/v1/chat/completions", { ...hot, response_format: format }),
    server.post("/v1/chat/completions", free),
    server.post("/v1/chat/completions", { ...hot, guided_choice: ["yes", "no"] }),
  ]);
  for (const answer of [together[0], together[2]]) {
    assert.deepEqual(answer.choices, alone.choices);
  }
});

test("what cannot be followed is refused by its field, and by its place in a schema", async () => {
  const schema = (value: unknown) => ({
    response_format: { type: "json_schema", json_schema: { name: "a", schema: value } },
  });
  const param = "response_format.json_schema.schema";
  const unique = { properties: { a: { uniqueItems: true } } };
  const refused: [object, string, RegExp][] = [
    [schema(unique), param, /: #\/properties\/a\/uniqueItems: is not supported$/],
    [schema(3), param, /expected a JSON schema$/],
    [{ response_format: { type: "grammar" } }, "response_format", /got grammar$/],
    [{ guided_regex: "(a" }, "guided_regex", /a \( that is not closed/],
    [{ guided_regex: "a$b" }, "guided_regex", /\$ anywhere but at the end is not supported/],
    [{ guided_regex: "a", ignore_eos: true }, "ignore_eos", /not supported beside guided_regex/],
    [{ guided_choice: ["a"], min_tokens: 2 }, "min_tokens", /not supported beside guided_choice/],
    [{ guided_choice: [] }, "guided_choice", /expected texts/],
    [{ structured_outputs: { lark: "x" } }, "structured_outputs.lark", /expected one of json, /],
    [{ guided_regex: "a", guided_choice: ["a"] }, "guided_choice", /guided_regex is another$/],
  ];
  for (const [fields, name, message] of refused) {
    const response = await server.fetch("/v1/chat/completions", { ...hot, ...fields });
    const { error } = (await response.json()) as { error: { param: string; message: string } };
    assert.equal(response.status, 400);
    assert.equal(error.param, name);
    assert.match(error.message, message);
  }
});

test("a schema that is sent as text may hold no more than one that is sent as JSON", async () => {
  const nested = (levels: number) => `${'{"not":'.repeat(levels)}{}${"}".repeat(levels)}`;
  const wide = `{"enum":[${'"a",'.repeat(4096)}"a"]}`;
  const refused: [schema: string, message: RegExp][] = [
    // One that could still be read and not be sent to who follows it; one that could not be counted.
    [nested(3400), /the schema is nested deeper than 128 levels$/],
    [nested(100_000), /the schema is nested deeper than 128 levels$/],
    [wide, /expected at most 4096 elements, got more$/],
  ];
  const schemaOf = (schema: string) => ({
    response_format: { type: "json_schema", json_schema: { name: "a", schema } },
  });
  for (const [schema, message] of refused) {
    const asked: [fields: object, param: string][] = [
      [{ guided_json: schema }, "guided_json"],
      [{ json_schema: schema }, "json_schema"],
      [{ structured_outputs: { json: schema } }, "structured_outputs.json"],
      [schemaOf(schema), "response_format.json_schema.schema"],
    ];
    for (const [fields, param] of asked) {
      const response = await server.fetch("/v1/chat/completions", { ...hot, ...fields });
      const { error } = (await response.json()) as { error: { param: string; message: string } };
      assert.equal(response.status, 400);
      assert.equal(error.param, param);
      assert.match(error.message, message);
    }
  }
});

test("who leaves a constrained answer leaves nothing behind", async () => {
  const leaving = new AbortController();
  const asked = { ...hot, max_tokens: 500, response_format: { type: "json_object" as const } };
  const stream = await client.chat.completions.create(
    { ...asked, stream: true },
    { signal: leaving.signal },
  );
  for await (const _ of stream) break;
  leaving.abort();
  await server.untilIdle();
  const next = await server.post("/v1/chat/completions", { ...hot, guided_choice: ["a"] });
  assert.equal(next.choices[0].message.content, "a");
});

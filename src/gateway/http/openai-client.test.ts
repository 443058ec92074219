import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import OpenAI from "openai";
import { startTinyServer, type TinyServer } from "./fixtures.ts";

let server: TinyServer;
let client: OpenAI;

before(async () => {
  server = await startTinyServer({ apiKey: "secret" });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "secret", maxRetries: 0 });
});
after(() => server.close());

const messages = [{ role: "user" as const, content: "tell me something" }];
/** Enough to be the same again. */
const fixed = { model: "calf", messages, seed: 7, temperature: 1, max_tokens: 24 };

test("a chat is answered, and its bill adds up", async () => {
  const answer = await client.chat.completions.create(fixed);
  assert.equal(answer.object, "chat.completion");
  assert.equal(answer.model, "calf");
  const [choice] = answer.choices;
  assert.equal(choice.message.role, "assistant");
  assert.ok(["stop", "length"].includes(choice.finish_reason));
  const usage = answer.usage as OpenAI.CompletionUsage & Record<string, number>;
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.equal(usage.prompt_cache_hit_tokens + usage.prompt_cache_miss_tokens, usage.prompt_tokens);
  assert.equal(usage.prompt_tokens_details?.cached_tokens, usage.prompt_cache_hit_tokens);
});

test("a stream says what the whole answer says", async () => {
  const whole = await client.chat.completions.create({ ...fixed, n: 3, logprobs: true });
  const stream = await client.chat.completions.create({
    ...fixed,
    n: 3,
    logprobs: true,
    stream: true,
    stream_options: { include_usage: true },
  });
  const text = ["", "", ""];
  const finish: (string | null)[] = [null, null, null];
  const tokens: string[][] = [[], [], []];
  const ids = new Set<string>();
  const roles = new Set<number>();
  let usage: OpenAI.CompletionUsage | undefined;
  for await (const chunk of stream) {
    ids.add(chunk.id);
    assert.ok(!usage, "nothing follows the usage chunk");
    if (chunk.choices.length === 0) usage = chunk.usage ?? undefined;
    else assert.equal(chunk.usage, null);
    for (const { index, delta, finish_reason, logprobs } of chunk.choices) {
      assert.equal(finish[index], null, "nothing follows a finish reason");
      if (delta.role) roles.add(index);
      else assert.ok(roles.has(index), "the first delta carries the role");
      text[index] += delta.content ?? "";
      tokens[index].push(...(logprobs?.content ?? []).map(({ token }) => token));
      finish[index] = finish_reason;
    }
  }
  assert.equal(ids.size, 1);
  assert.equal(roles.size, 3);
  for (const { index, message, finish_reason, logprobs } of whole.choices) {
    assert.equal(text[index], message.content ?? "");
    assert.equal(finish[index], finish_reason);
    assert.deepEqual(
      tokens[index],
      logprobs?.content?.map(({ token }) => token),
    );
  }
  assert.equal(usage?.prompt_tokens, whole.usage?.prompt_tokens);
  assert.equal(usage?.completion_tokens, whole.usage?.completion_tokens);
});

test("logprobs name the tokens the content is made of", async () => {
  const answer = await client.chat.completions.create({
    ...fixed,
    logprobs: true,
    top_logprobs: 5,
  });
  const [{ message, logprobs }] = answer.choices;
  const content = logprobs?.content ?? [];
  assert.ok(content.length > 0);
  const bytes = Buffer.from(content.flatMap((entry) => entry.bytes ?? []));
  assert.equal(bytes.toString(), message.content);
  for (const { logprob, top_logprobs } of content) {
    assert.ok(logprob <= 0);
    assert.equal(top_logprobs.length, 5);
    for (let i = 1; i < 5; i++) {
      assert.ok(top_logprobs[i - 1].logprob >= top_logprobs[i].logprob);
    }
  }
});

test("completions take text, texts, tokens and lists of tokens", async () => {
  const ask = (prompt: string | string[] | number[] | number[][]) =>
    client.completions.create({ ...fixed, prompt, logprobs: 2, n: 2 });
  const { tokens } = await server.post("/tokenize", { prompt: "Once" });
  const asText = await ask("Once");
  assert.equal(asText.object, "text_completion");
  assert.deepEqual((await ask(["Once"])).choices, asText.choices);
  assert.deepEqual((await ask(tokens)).choices, asText.choices);
  const two = await ask([tokens, tokens]);
  assert.deepEqual(
    two.choices.map(({ index }) => index),
    [0, 1, 2, 3],
  );
  assert.equal(two.choices[2].text, asText.choices[0].text);
  assert.equal(two.choices[3].text, asText.choices[1].text);
  assert.notEqual(two.choices[0].text, two.choices[1].text);
  assert.equal(two.usage?.prompt_tokens, 2 * tokens.length, "n choices pay for one prompt");

  const [{ text, logprobs }] = asText.choices;
  const { tokens: names = [], text_offset: offsets = [], top_logprobs: tops = [] } = logprobs ?? {};
  assert.equal(offsets.length, names.length);
  assert.equal(tops?.length, names.length);
  for (const [i, name] of names.entries()) {
    if (name.startsWith("bytes:")) continue;
    // Bytes that make no character stand before it.
    const from = text.slice(offsets[i]).replace(/^\uFFFD+/, "");
    assert.ok(from.startsWith(name), `${name} is not at ${offsets[i]}`);
  }

  const stream = await client.completions.create({ ...fixed, prompt: "Once", n: 2, stream: true });
  const streamed = ["", ""];
  for await (const { choices } of stream) for (const c of choices) streamed[c.index] += c.text;
  assert.deepEqual(
    streamed,
    asText.choices.map((choice) => choice.text),
  );
});

test("models are listed and found by name", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.deepEqual(names, ["deepseek-v3", "deepseek-reasoner", "calf", "org/calf"]);
  assert.equal((await client.models.retrieve("org/calf")).id, "org/calf");
  await assert.rejects(client.models.retrieve("gpt-5"), { status: 404, code: "model_not_found" });
});

test("the client's errors carry status, code and field", async () => {
  const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.models.list(), { status: 401, code: "invalid_api_key" });
  await assert.rejects(client.chat.completions.create({ ...fixed, model: "gpt-5" }), {
    status: 404,
    code: "model_not_found",
    param: "model",
  });
  await assert.rejects(client.chat.completions.create({ ...fixed, temperature: 3 }), {
    status: 400,
    param: "temperature",
  });
  await assert.rejects(client.embeddings.create({ model: "calf", input: "hi" }), {
    status: 404,
    code: "unsupported_endpoint",
  });
});

test("an answer that is left unread is given up", async () => {
  const stream = await client.chat.completions.create({ ...fixed, max_tokens: 200, stream: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    break;
  }
  await server.untilIdle();
});

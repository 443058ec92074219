import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startTinyServer, type TinyServer } from "./fixtures.ts";
import { type ScriptedServer, startScriptedServer } from "./scripted-fixtures.ts";

let server: TinyServer;
let scripted: ScriptedServer;
before(async () => {
  server = await startTinyServer();
  scripted = await startScriptedServer({ keepAliveMs: 20 });
});
after(() => Promise.all([server.close(), scripted.close()]));

const raw = { model: "calf", prompt: "a", max_tokens: 12, temperature: 1, seed: 1 };
const CHAT = "/v1/chat/completions";

async function complete(change: object) {
  const { choices, usage } = await server.post("/v1/completions", { ...raw, ...change });
  const [{ text, finish_reason }] = choices;
  return { text, finish_reason, tokens: usage.completion_tokens };
}

/** The token that the model is made to choose. */
const certain = (token: number) => ({ logit_bias: { [token]: 100 } });

test("the end of an answer can be forbidden, for good or for a while", async () => {
  const [eos] = server.engine.eosTokens;
  assert.deepEqual(await complete(certain(eos)), { text: "", finish_reason: "stop", tokens: 1 });
  const ignored = await complete({ ...certain(eos), ignore_eos: true });
  assert.deepEqual([ignored.finish_reason, ignored.tokens], ["length", 12]);
  const late = await complete({ ...certain(eos), min_tokens: 5 });
  assert.deepEqual([late.finish_reason, late.tokens], ["stop", 6]);
});

test("a stop token ends the answer like an end token, and is told if that is asked for", async () => {
  const { tokens } = await server.post("/tokenize", { prompt: "x", add_special_tokens: false });
  const [x] = tokens;
  const stop = { ...certain(x), stop_token_ids: [x] };
  assert.deepEqual(await complete(stop), { text: "", finish_reason: "stop", tokens: 1 });
  const told = await complete({ ...stop, include_stop_str_in_output: true });
  assert.deepEqual(told, { text: "x", finish_reason: "stop", tokens: 1 });
  const late = await complete({ ...stop, min_tokens: 3, include_stop_str_in_output: true });
  assert.equal(late.tokens, 4);
});

test("a stop string is told if that is asked for, of as many as sixteen", async () => {
  const { text } = await complete({});
  const stop = [...Array.from({ length: 15 }, (_, i) => `never ${i}`), text.slice(2, 4)];
  assert.equal((await complete({ stop })).text, text.slice(0, text.indexOf(stop[15])));
  const told = await complete({ stop, include_stop_str_in_output: true });
  assert.equal(told.text, text.slice(0, text.indexOf(stop[15]) + stop[15].length));
});

test("a raw prompt is echoed before its answers, streamed or not, from text or tokens", async () => {
  const answers = async (body: object) =>
    (await server.post("/v1/completions", { ...raw, ...body })).choices.map(
      (choice: { text: string }) => choice.text,
    ) as string[];
  for (const prompt of ["the hello", ["the", "hello"], [5, 6, 7]]) {
    const plain = await answers({ prompt, n: 2 });
    const texts =
      typeof prompt === "string" ? [prompt] : prompt.filter((each) => typeof each === "string");
    const [tokens] = [(await server.post("/detokenize", { tokens: [5, 6, 7] })).prompt];
    const begun = (texts.length > 0 ? texts : [tokens]).flatMap((text) => [text, text]);
    assert.deepEqual(
      await answers({ prompt, n: 2, echo: true }),
      plain.map((text, index) => begun[index] + text),
    );
  }
  const body = { ...raw, prompt: "the hello", echo: true, stream: true };
  const streamed = await (await server.fetch("/v1/completions", body)).text();
  assert.match(streamed, /^data: \{[^\n]*"text":"the hello"/);
});

const call = (argument: number) =>
  `<｜tool▁call▁begin｜>f<｜tool▁sep｜>{"a":${argument}}<｜tool▁call▁end｜>`;
const calls = `Both.<｜tool▁calls▁begin｜>${call(1)}${call(2)}<｜tool▁calls▁end｜>`;
const tools = [{ type: "function", function: { name: "f" } }];
const chat = { model: "calf", messages: [{ role: "user", content: "hi" }], tools };

const ask = (body: object) =>
  fetch(scripted.url + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...chat, ...body }),
  });

test("an answer without parallel calls ends after its first", async () => {
  for (const [change, expected] of [
    [{}, 2],
    [{ parallel_tool_calls: true }, 2],
    [{ parallel_tool_calls: false }, 1],
  ] as const) {
    scripted.say(calls);
    const { choices } = (await (await ask(change)).json()) as {
      choices: { finish_reason: string; message: { content: string; tool_calls: object[] } }[];
    };
    assert.equal(choices[0].finish_reason, "tool_calls");
    assert.equal(choices[0].message.content, "Both.");
    assert.equal(choices[0].message.tool_calls.length, expected);
  }
  scripted.say(calls);
  const streamed = await (await ask({ parallel_tool_calls: false, stream: true })).text();
  assert.doesNotMatch(streamed, /"index":1/);
  assert.match(streamed, /"finish_reason":"tool_calls"/);
});

test("while a whole answer is not there, blank lines keep its connection", async () => {
  scripted.say(undefined);
  const leave = new AbortController();
  const response = await fetch(scripted.url + CHAT, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(chat),
    signal: leave.signal,
  });
  assert.equal(response.status, 200);
  assert.match(response.headers.get("content-type") ?? "", /^application\/json/);
  let text = "";
  for await (const bytes of response.body ?? []) {
    text += Buffer.from(bytes as Uint8Array).toString();
    if (text.length >= 3) break;
  }
  assert.match(text, /^\n+$/);
  leave.abort();
});

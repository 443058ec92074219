import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { untilFirstFault } from "../../model/index.ts";
import { Bodies, type IncomingBody } from "./bodies.ts";
import { readJson } from "./body.ts";
import { clientLimits } from "./client-limits.ts";
import { ApiError } from "../errors.ts";
import { chatRequest, completionRequest } from "../wire.ts";

const LIMIT = 2 ** 20;
const bodies = new Bodies({ ...clientLimits, bodyBytes: LIMIT });

function post(
  body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null,
  headers: Record<string, string> = {},
): IncomingBody {
  const pieces =
    body instanceof ReadableStream ? body : new Blob(body === null ? [] : [body]).stream();
  return { headers: new Headers({ "content-type": "application/json", ...headers }), pieces };
}

async function refusal(request: IncomingBody, schema: z.ZodType) {
  try {
    await readJson<unknown>(request, schema, bodies);
  } catch (error) {
    assert.ok(error instanceof ApiError, String(error));
    return error;
  }
  return assert.fail("expected a refusal");
}

test("a body that is not JSON in UTF-8 is refused for what it is", async () => {
  const cases: [request: IncomingBody, status: number, code: string][] = [
    [post("{"), 400, "invalid_json"],
    [post(""), 400, "invalid_json"],
    [post(null), 400, "invalid_json"],
    [post(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d])), 400, "invalid_utf8"],
    [post("{}", { "content-type": "text/plain" }), 415, "unsupported_media_type"],
    [post("{}", { "content-encoding": "gzip" }), 415, "unsupported_media_type"],
    [post("x".repeat(LIMIT + 1)), 413, "body_too_large"],
    [post("{}", { "content-length": `${LIMIT + 1}` }), 413, "body_too_large"],
  ];
  for (const [request, status, code] of cases) {
    const error = await refusal(request, chatRequest);
    assert.deepEqual([error.status, error.code], [status, code]);
  }
});

test("a field that a strict form does not know is refused by its path, wherever it is", async () => {
  const inner = z.strictObject({ a: z.int().exactOptional() });
  const form = z.strictObject({ a: z.int().exactOptional(), list: z.array(inner).optional() });
  for (const [body, param] of [
    [{ b: 1 }, "b"],
    [{ a: 1, list: [{ a: 1 }, { c: 1 }] }, "list[1].c"],
  ] as const) {
    const error = await refusal(post(JSON.stringify(body)), form);
    assert.deepEqual([error.param, error.message], [param, `${param}: unknown field`]);
  }
});

test("a body without a length is read no further than the limit", async () => {
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled += LIMIT / 4;
      controller.enqueue(new Uint8Array(LIMIT / 4));
    },
  });
  assert.equal((await refusal(post(endless), chatRequest)).status, 413);
  assert.ok(pulled <= 2 * LIMIT, `${pulled} bytes were read`);
});

test("a wrong field is named by its path", async () => {
  const chat = { model: "calf", messages: [{ role: "user", content: "hi" }] };
  const user = (content: unknown) => ({ ...chat, messages: [{ role: "user", content }] });
  const assistant = (message: object) => ({
    ...chat,
    messages: [{ role: "assistant", ...message }],
  });
  const cases: [body: unknown, param: string][] = [
    [[], ""],
    [null, ""],
    ["text", ""],
    [{ messages: chat.messages }, "model"],
    [{ ...chat, model: 7 }, "model"],
    [{ model: "calf" }, "messages"],
    [{ ...chat, messages: [] }, "messages"],
    [{ ...chat, messages: {} }, "messages"],
    [{ ...chat, messages: ["hi"] }, "messages[0]"],
    [{ ...chat, messages: [{ role: "robot", content: "hi" }] }, "messages[0].role"],
    [{ ...chat, messages: [chat.messages[0], { content: "hi" }] }, "messages[1].role"],
    [user(7), "messages[0].content"],
    [user(null), "messages[0].content"],
    [user([{ type: "text" }]), "messages[0].content[0].text"],
    [user([{ type: "text", text: "a" }, { type: "image_url" }]), "messages[0].content[1].type"],
    [assistant({ tool_calls: [{}] }), "messages[0].tool_calls[0].function"],
    [assistant({ content: null, tool_calls: "x" }), "messages[0].tool_calls"],
    [{ ...chat, n: 0 }, "n"],
    [{ ...chat, n: 17 }, "n"],
    [{ ...chat, n: 1.5 }, "n"],
    [{ ...chat, max_tokens: 0 }, "max_tokens"],
    [{ ...chat, max_completion_tokens: "9" }, "max_completion_tokens"],
    [{ ...chat, temperature: 2.1 }, "temperature"],
    [{ ...chat, temperature: "hot" }, "temperature"],
    [{ ...chat, top_p: 0 }, "top_p"],
    [{ ...chat, top_p: 1.1 }, "top_p"],
    [{ ...chat, top_logprobs: 21 }, "top_logprobs"],
    [{ ...chat, presence_penalty: -3 }, "presence_penalty"],
    [{ ...chat, repetition_penalty: 0 }, "repetition_penalty"],
    [{ ...chat, logit_bias: { 5: 200 } }, "logit_bias.5"],
    [{ ...chat, logit_bias: { word: 1 } }, "logit_bias.word"],
    [{ ...chat, seed: 0.5 }, "seed"],
    [{ ...chat, stop: "" }, "stop"],
    [{ ...chat, stop: Array(17).fill("a") }, "stop"],
    [{ ...chat, stop: ["a", 1] }, "stop[1]"],
    [{ ...chat, stream: "yes" }, "stream"],
    [{ ...chat, stream_options: { include_usage: 1 } }, "stream_options.include_usage"],
    [{ ...chat, tools: [{ type: "function", function: {} }] }, "tools[0].function.name"],
    [{ ...chat, thinking: { type: "maybe" } }, "thinking.type"],
    [{ ...chat, reasoning_effort: "extreme" }, "reasoning_effort"],
    [{ ...chat, chat_template_kwargs: { thinking: "yes" } }, "chat_template_kwargs.thinking"],
  ];
  for (const [body, param] of cases) {
    const error = await refusal(post(JSON.stringify(body)), chatRequest);
    assert.equal(error.status, 400);
    assert.equal(error.param, param, `${JSON.stringify(body)}: ${error.message}`);
    assert.ok(error.message.startsWith(param), error.message);
  }
  const prompts: [prompt: unknown, param: string][] = [
    [undefined, "prompt"],
    [5, "prompt"],
    [[1, -1], "prompt[1]"],
    [["a", 1], "prompt[1]"],
    [[[1], [2, "x"]], "prompt[1][1]"],
  ];
  for (const [prompt, param] of prompts) {
    const error = await refusal(post(JSON.stringify({ model: "calf", prompt })), completionRequest);
    assert.equal(error.param, param, `${JSON.stringify(prompt)}: ${error.message}`);
  }
});

test("null means absent and unknown fields are ignored", async () => {
  const optional = Object.keys(chatRequest.shape).filter(
    (field) => field !== "model" && field !== "messages",
  );
  const { data: request } = await readJson(
    post(
      JSON.stringify({
        ...Object.fromEntries(optional.map((field) => [field, null])),
        model: "calf",
        messages: [
          {
            role: "assistant",
            content: null,
            tool_calls: null,
            reasoning_content: null,
            name: "x",
          },
        ],
        user: "u",
        metadata: { a: "b" },
        store: true,
        service_tier: "auto",
        parallel_tool_calls: true,
      }),
    ),
    chatRequest,
    bodies,
  );
  assert.equal(request.temperature ?? "absent", "absent");
  assert.ok(!("metadata" in request));
});

test("lengths are bounded, and told with the field's name and both numbers", async () => {
  const chat = { model: "calf", messages: [{ role: "user", content: "hi" }] };
  const many = <Value>(count: number, value: Value) => Array<Value>(count).fill(value);
  const tool = { type: "function", function: { name: "f" } };
  const call = { function: { name: "f", arguments: "" } };
  const keys = (count: number) => Object.fromEntries(many(count, 0).map((_, key) => [key, 0]));
  const cases: [body: object, message: string][] = [
    [{ ...chat, messages: many(4100, chat.messages[0]) }, "messages: expected at most 4096"],
    [
      { ...chat, messages: [{ role: "user", content: many(1025, {}) }] },
      "messages[0].content: expected at most 1024 parts, got 1025",
    ],
    [
      { ...chat, messages: [{ role: "assistant", tool_calls: many(129, call) }] },
      "messages[0].tool_calls: expected at most 128 calls, got 129",
    ],
    [{ ...chat, tools: many(513, tool) }, "tools: expected at most 512 tools, got 513"],
    [{ ...chat, stop: many(17, "a") }, "stop: expected at most 16 strings, got 17"],
    [{ ...chat, stop: "a".repeat(1025) }, "stop: expected at most 1024 characters, got 1025"],
    [
      { ...chat, modalities: many(17, "text") },
      "modalities: expected at most 16 modalities, got 17",
    ],
    [{ ...chat, logit_bias: keys(4097) }, "logit_bias: expected at most 4096 keys"],
    [{ ...chat, chat_template_kwargs: keys(4097) }, "chat_template_kwargs: expected at most 4096"],
    [{ ...chat, other: { deep: many(4097, "") } }, "other.deep: expected at most 4096 elements"],
  ];
  for (const [body, message] of cases) {
    const error = await refusal(post(JSON.stringify(body)), chatRequest);
    assert.equal(error.status, 400);
    assert.ok(error.message.startsWith(message), error.message);
    assert.equal(error.param, message.split(":")[0]);
  }
  const prompts: [prompt: unknown[], message: string][] = [
    [many(1025, "a"), "prompt: expected at most 1024 prompts, got 1025"],
    [many(1025, [1]), "prompt: expected at most 1024 prompts, got 1025"],
    [many(4097, "a"), "prompt: expected at most 4096 elements, got more"],
  ];
  for (const [prompt, message] of prompts) {
    const body = JSON.stringify({ model: "calf", prompt });
    assert.equal((await refusal(post(body), completionRequest)).message, message);
  }
  const tokens = JSON.stringify({ model: "calf", prompt: many(200_000, 7) });
  await readJson<unknown>(post(tokens), completionRequest, bodies);
});

test("of a list of wrong elements the first is told and no other looked at", () => {
  const wrong = Array.from({ length: 1000 }, () => ({}));
  const wrongBodies = [
    chatRequest.safeParse({ model: "calf", messages: wrong }, untilFirstFault),
    completionRequest.safeParse({ model: "calf", prompt: wrong }, untilFirstFault),
    completionRequest.safeParse({ model: "calf", prompt: [[-1, -1], [-1]] }, untilFirstFault),
    chatRequest.safeParse(
      { model: "calf", messages: [{ role: "user", content: wrong }] },
      untilFirstFault,
    ),
  ];
  for (const { error } of wrongBodies) assert.ok(JSON.stringify(error?.issues).length < 2000);
});
